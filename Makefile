# The commands a developer or a user needs. Each installs what it is missing (and says so), so that a fresh Debian 12
# machine with Rust is enough. They make network namespaces and iptables rules, hence root.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/sbin:/sbin

# Which store the demo runs on: embedded (a file, no server) or etcd (three nodes on loopback).
STORE ?= embedded
# KEEP=1: the demo leaves the mesh up until Ctrl-C.
KEEP ?=
# What property tests draw their cases from: the same each time, so that a change is judged by what it changes. Another
# number tries others.
PROPTEST_RNG_SEED ?= 1
export PROPTEST_RNG_SEED

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
BINARIES := weft-proxy weft-discovery weftctl weft-shop weft-demo

NEED_BUILD := cc:gcc,libc6-dev:"to link Rust programs" protoc:protobuf-compiler,libprotobuf-dev:"compiles what etcd speaks, for its client"
NEED_PODS := ip:iproute2:"pods are network namespaces" iptables:iptables:"the sidecar redirects traffic with it" \
	ps:procps:"to see which processes run"
NEED_PAGE := node:nodejs:"builds the page of weftctl dashboard" npm:npm:"fetches the libraries of that page"
NEED_BROWSER := chromium:chromium:"a real browser, to test that page in"
NEED_REDIS := redis-server:redis-server:"the shop's cache is a real Redis"
NEED_ETCD := etcd:etcd-server:"a real etcd as the store"
NEED_CLIENTS := curl:curl:"a real HTTP client" nghttp:nghttp2-client:"a real HTTP/2 client" \
	redis-cli:redis-tools:"a real Redis client" openssl:openssl:"a real TLS client" \
	dig:bind9-dnsutils:"a real DNS client" python3:python3:"plain sockets, as applications use them" \
	tmux:tmux:"a real terminal" faketime:faketime:"machines whose clocks are wrong"
NEED_PROMETHEUS := prometheus:prometheus:"a real Prometheus asks what the dashboards ask"
NEED_NODE := runc:runc:"runs the containers of a Kubernetes node" \
	/usr/lib/cni/ptp:containernetworking-plugins:"connects the pods of a Kubernetes node"
NEED_BENCH := wrk:wrk:"loads HTTP/1.1" h2load:nghttp2-client:"loads HTTP/2" \
	haproxy:haproxy:"to compare with" nginx:nginx:"to compare with" python3:python3:"Envoy comes from PyPI" \
	dig:bind9-dnsutils:"asks for the service's address, as a client does"

.PHONY: help
help: ## Shows this list (the default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## The mesh on one machine: a shop under load, shown working. STORE=etcd on real etcd, KEEP=1 leaves it up
	@scripts/need $(NEED_BUILD) $(NEED_PODS) $(NEED_REDIS) $(if $(filter etcd,$(STORE)),$(NEED_ETCD))
	@scripts/need $(NEED_PAGE) || echo "demo: without npm, weftctl has no dashboard" >&2
	cargo build --release $(addprefix --bin ,$(BINARIES))
	@WEFT_BIN_DIR=$(TARGET)/release $(TARGET)/release/weft-demo --store $(STORE) $(if $(KEEP),--keep)

# Programs are built with the features that the tests ask for, lest their dependencies are built twice.
.PHONY: test
test: ## Every test: units, conformance on real etcd, end-to-end suites in network namespaces, a real Kubernetes node
	@scripts/need $(NEED_BUILD) $(NEED_PODS) $(NEED_REDIS) $(NEED_ETCD) $(NEED_CLIENTS) $(NEED_PROMETHEUS)
	@scripts/need $(NEED_PAGE) || echo "test: without npm, weftctl has no dashboard, and its tests are left out" >&2
	@scripts/need $(NEED_BROWSER) || echo "test: without Chromium, tests in the browser are left out" >&2
	@scripts/collector >/dev/null || echo "test: without a collector, the suites 'traces' and 'otlp' are left out" >&2
	@scripts/need $(NEED_NODE) || echo "test: without runc and network plugins, tests on a whole Kubernetes node are left out" >&2
	cargo build --workspace --bins --tests
	@WEFT_BIN_DIR=$(TARGET)/debug WEFT_TEST_KUBERNETES=$$(scripts/kubernetes --node || true) \
		WEFT_TEST_HELM=$$(scripts/helm || true) scripts/test $(TARGET)/test.log

# Programs that run in an empty image: static, which with glibc needs a target named, lest build scripts are made so as well.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

.PHONY: images
images: ## Container images without Docker, as archives in target/images: static programs and nothing else. TAG=... (default: the chart's version)
	@scripts/need $(NEED_BUILD) python3:python3:"packs the images" ldd:libc-bin:"says which libraries a program needs" \
		iptables:iptables:"goes into the sidecar's image"
	@scripts/kubernetes >/dev/null
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --target $(HOST) \
		--bin weft-proxy --bin weft-discovery --bin weft-injector --bin weft-shop
	@scripts/images --programs $(TARGET)/$(HOST)/release --out $(TARGET)/images $(if $(TAG),--tag $(TAG))

.PHONY: cluster
cluster: images ## A whole Kubernetes cluster of one node with the project's images and Redis, until Ctrl-C; says how to reach it
	@scripts/need $(NEED_NODE) $(NEED_PODS) $(NEED_REDIS) redis-cli:redis-tools:"goes into an image"
	@scripts/images --programs $(TARGET)/$(HOST)/release --out $(TARGET)/images redis
	cargo build --release --bin weft-test-cluster
	@WEFT_TEST_KUBERNETES=$$(scripts/kubernetes --node) $(TARGET)/release/weft-test-cluster $(TARGET)/images/*.tar

.PHONY: test-conformance
test-conformance: ## The Gateway API's public conformance suite against the mesh on a whole Kubernetes node; its report goes to docs/conformance
	@scripts/need $(NEED_BUILD) $(NEED_PODS) $(NEED_NODE) openssl:openssl:"a certificate for the suite's application" \
		python3:python3:"packs images"
	cargo build --workspace --bins --test conformance
	@programs=$$(scripts/kubernetes --node); helm=$$(scripts/helm); suite=$$(scripts/conformance); \
		WEFT_BIN_DIR=$(TARGET)/debug WEFT_TEST_KUBERNETES=$$programs WEFT_TEST_HELM=$$helm WEFT_TEST_CONFORMANCE=$$suite \
		WEFT_CONFORMANCE_REPORT=$(CURDIR)/docs/conformance/report.yaml cargo test --workspace --test conformance

.PHONY: lint
lint: ## Formatting, clippy, documentation and layout, all without a single warning
	@scripts/need $(NEED_BUILD)
	@scripts/need $(NEED_PAGE) || echo "lint: without npm, weftctl has no dashboard" >&2
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

.PHONY: bench
bench: ## A pair of proxies beside Envoy's, HAProxy's, one nginx and none at all, and what features cost. QUICK=1 (5 minutes), ROUNDS=n, SCENARIO=a,b, CONTENDERS=a,b, DOCS=1 (figures into the docs)
	@scripts/need $(NEED_BUILD) $(NEED_PODS) $(NEED_BENCH)
	@scripts/collector >/dev/null || echo "bench: without a collector, what tracing costs is left out" >&2
	cargo build --release --bin weft-proxy --bin weft-discovery --bin weftctl --bin weft-bench
	@WEFT_BIN_DIR=$(TARGET)/release WEFT_BENCH_ENVOY=$$(scripts/envoy $(TARGET)/bench) \
		$(TARGET)/release/weft-bench --out $(TARGET)/bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) \
		$(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(CONTENDERS),--contenders $(CONTENDERS)) $(if $(DOCS),--docs docs)

.PHONY: bench-discovery
bench-discovery: ## The control plane with 1,000 services, 1,000 subscribed proxies and 100 changes/s, on both stores. QUICK=1 (2 minutes), DOCS=1
	@scripts/need $(NEED_BUILD) $(NEED_PODS) $(NEED_ETCD)
	cargo build --release --bin weft-discovery --bin weftctl --bin weft-bench
	@WEFT_BIN_DIR=$(TARGET)/release $(TARGET)/release/weft-bench discovery --out $(TARGET)/bench $(if $(QUICK),--quick) $(if $(DOCS),--docs docs)

.PHONY: balance-lab
balance-lab: ## Every balancer in the same scenarios, in simulated time; figures and a plot in target/balance-lab. DOCS=1: in the docs too; CHECK=1: fails if the docs show others
	@scripts/need $(NEED_BUILD)
	cargo build --release --quiet --bin weft-balance-lab
	@$(TARGET)/release/weft-balance-lab --out $(TARGET)/balance-lab $(if $(DOCS),--docs docs,$(if $(CHECK),--check docs))
