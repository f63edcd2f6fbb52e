# One Kubernetes node in namespaces of its own, started by the harness (tests/harness/cluster/node.rs): containerd, kubelet and
# kube-proxy, beside an API server that runs already on the same network. Whoever ends the first process ends all of it.
#   NODE_DIR       holds containerd.toml, kubelet.yaml, proxy.yaml, cni/, hosts; logs and all state go there, too
#   NODE_CGROUP    what its cgroups are called
#   NODE_PROGRAMS  the directory of the programs
#   NODE_IP        the node's address
set -euo pipefail

# The v1 hierarchies of this machine as MOUNTPOINT OPTIONS, options as mount(8) wants them.
hierarchies() {
    awk '$3 == "cgroup" {
        options = ""
        split($4, given, ",")
        for (i in given) if (given[i] !~ /^(rw|relatime|nosuid|nodev|noexec|xattr|release_agent=.*|clone_children)$/)
            options = options "," given[i]
        print $2, (options ~ /name=/ ? "none" : "") substr(options, options ~ /name=/ ? 1 : 2)
    }' /proc/mounts
}

if [ "${1:-}" != inside ]; then
    hierarchies >"$NODE_DIR/hierarchies"
    while read -r path options; do
        own=$path/$NODE_CGROUP
        mkdir -p "$own"
        # A cpuset without processors and memory takes no process.
        for file in cpuset.cpus cpuset.mems; do
            [ ! -e "$own/$file" ] || cat "$path/$file" >"$own/$file"
        done
        echo $$ >"$own/cgroup.procs"
    done <"$NODE_DIR/hierarchies"
    # From here on these cgroups are the roots of their hierarchies.
    exec unshare --mount --uts --ipc --cgroup --pid --fork --mount-proc --kill-child -- bash "$0" inside
fi

mount --make-rshared /
hostname node-1
mount -t sysfs sysfs /sys
mount -t tmpfs cgroup /sys/fs/cgroup
while read -r path options; do
    mkdir -p "$path"
    mount -t cgroup -o "$options" cgroup "$path"
done <"$NODE_DIR/hierarchies"
mount -t tmpfs run /run
mkdir /run/programs
mount --bind "$NODE_PROGRAMS" /run/programs
export PATH="/run/programs:$PATH"
# All programs keep what they have where they would on any machine, and none of it is there.
for path in /var/lib /var/log /opt; do
    mkdir -p "$NODE_DIR$path"
    mount --bind "$NODE_DIR$path" "$path"
done
mount --bind "$NODE_DIR/hosts" /etc/hosts

# The kubelet wants these settings of the whole machine so, and is shown them so.
mkdir -p /run/settings
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    shown=/run/settings/$(tr / _ <<<"${setting%=*}")
    echo "${setting#*=}" >"$shown"
    mount --bind "$shown" "/proc/sys/${setting%=*}"
done
echo 1 >/proc/sys/net/ipv4/ip_forward

containerd --config "$NODE_DIR/containerd.toml" >"$NODE_DIR/log/containerd" 2>&1 &
containerd=$!
until ctr version >/dev/null 2>&1; do
    kill -0 "$containerd" 2>/dev/null || { cat "$NODE_DIR/log/containerd"; exit 1; }
    sleep 0.1
done
for image in "$NODE_DIR"/images/*.tar; do
    ctr --namespace k8s.io images import "$image" >/dev/null
done
kubelet --config "$NODE_DIR/kubelet.yaml" --kubeconfig "$NODE_DIR/kubeconfig" --hostname-override node-1 --node-ip "$NODE_IP" \
    --node-labels "topology.kubernetes.io/zone=zone-1,topology.kubernetes.io/region=region-1" --cert-dir /run/kubelet >"$NODE_DIR/log/kubelet" 2>&1 &
kube-proxy --config "$NODE_DIR/proxy.yaml" --hostname-override node-1 >"$NODE_DIR/log/kube-proxy" 2>&1 &
echo "the node's programs have been started"
# One that ends takes the others with it: half a node would only confuse.
wait -n
echo "one of the node's programs has ended"
