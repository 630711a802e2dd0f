{{- define "speechmodel-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* <release>-<chart>, or the name of the release alone if it contains the chart's name. */}}
{{- define "speechmodel-operator.fullname" -}}
{{- $name := include "speechmodel-operator.name" . }}
{{- $full := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- default $full .Values.fullnameOverride | trunc 58 | trimSuffix "-" }}
{{- end }}

{{- define "speechmodel-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "speechmodel-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "speechmodel-operator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "speechmodel-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "speechmodel-operator.serviceAccountName" -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- fail "serviceAccount.name: name the ServiceAccount that exists, since serviceAccount.create is false" }}
{{- end }}
{{- default (include "speechmodel-operator.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{/* The full name of an image. Arguments: the root, and the image's key in .Values.images. */}}
{{- define "speechmodel-operator.image" -}}
{{- $root := index . 0 }}
{{- $images := $root.Values.images }}
{{- $image := index $images (index . 1) }}
{{- $name := printf "%s/%s" (coalesce $root.Values.global.imageRegistry $image.registry $images.registry) $image.repository }}
{{- if and $image.digest $image.tag }}
{{- fail (printf "images.%s.tag: images.%s.digest is set too; remove the tag, or set the digest to \"\"" (index . 1) (index . 1)) }}
{{- end }}
{{- if $image.digest }}
{{- printf "%s@%s" $name $image.digest }}
{{- else }}
{{- printf "%s:%s" $name (coalesce $image.tag $images.tag $root.Chart.AppVersion) }}
{{- end }}
{{- end }}

{{/* Security context of all containers of the chart: the "restricted" Pod Security Standard and a read-only root. */}}
{{- define "speechmodel-operator.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- define "speechmodel-operator.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Ports of the API server, and of the proxies that extraEnv gives by value, as a list in JSON. */}}
{{- define "speechmodel-operator.apiServerPorts" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.apiServerPorts }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (has (upper .name) (list "HTTPS_PROXY" "HTTP_PROXY")) .value }}
{{- $given := regexFind ":[0-9]+/*$" .value | trimAll ":/" }}
{{- $ports = append $ports (int (default (ternary 443 80 (hasPrefix "https://" .value)) $given)) }}
{{- end }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* Port of tracing.endpoint and those of the collector's pods, as a list in JSON. */}}
{{- define "speechmodel-operator.collectorPorts" -}}
{{- $ports := list }}
{{- with .Values.tracing.endpoint }}
{{- $url := urlParse . }}
{{- $given := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- $ports = append $ports (int (default (ternary 443 80 (eq $url.scheme "https")) $given)) }}
{{- range $.Values.networkPolicy.collectorPorts }}
{{- $ports = append $ports (int .) }}
{{- end }}
{{- end }}
{{- uniq $ports | toJson }}
{{- end }}

{{/* The operator's setting about the NetworkPolicies that it writes, as JSON; empty if it writes none. */}}
{{- define "speechmodel-operator.networkPolicies" -}}
{{- if .Values.networkPolicy.enabled }}
{{- $name := include "speechmodel-operator.fullname" . }}
{{- $found := dict "name" $name "namespace" .Release.Namespace }}
{{- $_ := set $found "operatorLabels" (include "speechmodel-operator.selectorLabels" . | fromYaml) }}
{{- range $key := list "serverFrom" "metricsFrom" "wyomingFrom" }}
{{- $_ := set $found $key (default list (index $.Values.networkPolicy $key)) }}
{{- end }}
{{- $_ := set $found "collectorPorts" (include "speechmodel-operator.collectorPorts" . | fromJsonArray) }}
{{- if .Values.rbac.create }}
{{- $_ := set $found "owner" (dict "kind" (ternary "Role" "ClusterRole" (not (empty .Values.watchNamespaces))) "name" (printf "%s-net" $name)) }}
{{- end }}
{{- toJson $found }}
{{- end }}
{{- end }}

{{/* Permissions for these NetworkPolicies in every namespace that the operator manages. */}}
{{- define "speechmodel-operator.policyRules" -}}
{{- if .Values.networkPolicy.enabled }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [list, create, patch]
{{- end }}
{{- end }}

{{/* Permissions of the operator in every namespace that it manages. Secrets and pods/exec are not among them. */}}
{{- define "speechmodel-operator.rules" -}}
- apiGroups: [speechops.dev]
  resources: [speechmodels]
  verbs: [get, list, watch, patch]
- apiGroups: [speechops.dev]
  resources: [speechmodels/status]
  verbs: [patch]
# For owner references, if the admission plugin OwnerReferencesPermissionEnforcement is enabled.
- apiGroups: [speechops.dev]
  resources: [speechmodels/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, create, patch, delete]
{{- if .Values.exposure.ingress }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, create, patch, delete]
{{- end }}
{{- if .Values.exposure.gatewayAPI }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, create, patch, delete]
{{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [list, create]
{{- if include "speechmodel-operator.namespaceSelector" . }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
{{- end }}

{{/* The label selector of watchNamespaceSelector, as in `kubectl get -l`; empty if it is not set. */}}
{{- define "speechmodel-operator.namespaceSelector" -}}
{{- if and .Values.watchNamespaces .Values.watchNamespaceSelector }}
{{- fail "watchNamespaceSelector: watchNamespaces is set too; set one of them" }}
{{- end }}
{{- $terms := list }}
{{- $selector := default dict .Values.watchNamespaceSelector }}
{{- range $key, $value := $selector.matchLabels }}
{{- $terms = append $terms (printf "%s=%s" $key $value) }}
{{- end }}
{{- range $selector.matchExpressions }}
{{- if eq .operator "Exists" }}
{{- $terms = append $terms .key }}
{{- else if eq .operator "DoesNotExist" }}
{{- $terms = append $terms (printf "!%s" .key) }}
{{- else }}
{{- $terms = append $terms (printf "%s %s (%s)" .key (lower .operator) (join "," .values)) }}
{{- end }}
{{- end }}
{{- join "," $terms }}
{{- end }}

{{/* Names of the Secrets of global.imagePullSecrets, which are strings or `name: ...`, as a list in JSON. */}}
{{- define "speechmodel-operator.globalPullSecrets" -}}
{{- $names := list }}
{{- range .Values.global.imagePullSecrets }}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "string" . | ternary dict .) "name")) }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* Scheduling and pull secrets of all pods of the chart; empty if none of these values is set. */}}
{{- define "speechmodel-operator.scheduling" -}}
{{- $fields := dict }}
{{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
{{- with index $.Values $key }}
{{- $_ := set $fields $key . }}
{{- end }}
{{- end }}
{{- range include "speechmodel-operator.globalPullSecrets" . | fromJsonArray }}
{{- $_ := set $fields "imagePullSecrets" (append (default list $fields.imagePullSecrets) (dict "name" .) | uniq) }}
{{- end }}
{{- with $fields }}
{{- toYaml . }}
{{- end }}
{{- end }}
