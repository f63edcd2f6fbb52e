{{/* What the templates share. Each takes the root context, or a dict with `root` and the part's name. */}}

{{- define "weft.selector" -}}
app.kubernetes.io/name: {{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{- define "weft.labels" -}}
{{ include "weft.selector" . }}
app.kubernetes.io/part-of: weft
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "weft.image" -}}
{{ .root.Values.images.registry }}{{ .part }}:{{ .root.Values.images.tag | default .root.Chart.AppVersion }}
{{- end }}

{{- define "weft.trustSecret" -}}
{{ .Values.trust.existingSecret | default "weft-trust" }}
{{- end }}

{{/* Nobody needs to be root, write to the image, or gain anything. */}}
{{- define "weft.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "weft.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* Replicas on different nodes where there are several, and in different zones. */}}
{{- define "weft.spread" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{- include "weft.selector" . | nindent 12 }}
    - weight: 50
      podAffinityTerm:
        topologyKey: topology.kubernetes.io/zone
        labelSelector:
          matchLabels: {{- include "weft.selector" . | nindent 12 }}
{{- end }}

{{- define "weft.scraped" -}}
{{- if .root.Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- end }}

{{/* Figures are told apart by namespace and pod, as the dashboards have it. */}}
{{- define "weft.instance" -}}
{ sourceLabels: [__meta_kubernetes_namespace, __meta_kubernetes_pod_name], separator: /, targetLabel: instance }
{{- end }}

{{- define "weft.probes" -}}
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* Whether the members of etcd that are run here speak TLS: `true`, or nothing. Their addresses cannot change while they run, hence `auto`. */}}
{{- define "weft.membersTLS" -}}
{{- if not .Values.etcd.endpoints }}
{{- if eq .Values.etcd.tls.members "enabled" -}}
true
{{- else if eq .Values.etcd.tls.members "auto" }}
{{- $there := lookup "apps/v1" "StatefulSet" .Release.Namespace "weft-etcd" }}
{{- if not (and $there (contains "--listen-client-urls=http://" ($there | toJson))) -}}
true
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret by which discovery speaks TLS to etcd; none: it does not. */}}
{{- define "weft.storeSecret" -}}
{{- if include "weft.membersTLS" . -}}
weft-etcd-client
{{- else -}}
{{ .Values.etcd.tls.existingSecret }}
{{- end }}
{{- end }}

{{- define "weft.store" -}}
{{- if .Values.etcd.endpoints -}}
etcd:{{ join "," .Values.etcd.endpoints }}
{{- else -}}
{{- $members := list -}}
{{- $scheme := ternary "https" "http" (eq (include "weft.membersTLS" .) "true") -}}
{{- range $i := until 3 -}}
{{- $members = append $members (printf "%s://weft-etcd-%d.weft-etcd.%s.svc.%s:2379" $scheme $i $.Release.Namespace $.Values.clusterDomain) -}}
{{- end -}}
etcd:{{ join "," $members }}
{{- end -}}
{{- end }}
