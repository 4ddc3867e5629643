{{/* Takes every null out of a map and the maps in it: Helm leaves those whose key the chart's own values do not have. */}}
{{- define "tco.dropNulls" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}
{{- include "tco.dropNulls" $value -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
Puts the default where a value is missing or null, so that any value may be null and `helm upgrade --reuse-values` works from a release whose
chart did not know the value. files/defaults.json follows from values.yaml (tests/chart/generate.py). Each template begins with it.
Maps that are given to Kubernetes as they are (resources, security contexts) are not in it: null takes them, or a field of them, out.
*/}}
{{- define "tco.defaults" -}}
{{- include "tco.dropNulls" .Values -}}
{{- range $path, $default := .Files.Get "files/defaults.json" | fromJson -}}
{{- $node := $.Values -}}
{{- $keys := splitList "." $path -}}
{{- range initial $keys -}}
{{- if not (kindIs "map" (index $node .)) -}}
{{- $_ := set $node . dict -}}
{{- end -}}
{{- $node = index $node . -}}
{{- end -}}
{{- if kindIs "invalid" (index $node (last $keys)) -}}
{{- $_ := set $node (last $keys) $default -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tco.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The base of every object's name: 48 characters at most, so that suffixes fit. */}}
{{- define "tco.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "tco.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "tco.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* The name of what another release of the same name in another namespace has as well: cluster-wide objects, and Roles in namespaces that are served. */}}
{{- define "tco.clusterName" -}}
{{- printf "%s-%s" (include "tco.namespace" .) (include "tco.fullname" .) -}}
{{- end -}}

{{- define "tco.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tco.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels as one map: those of the list `more` win over commonLabels and the chart's, and those by which Pods are selected win over all. */}}
{{- define "tco.labelsWith" -}}
{{- $root := .root -}}
{{- $labels := dict -}}
{{- $_ := set $labels "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $labels "app.kubernetes.io/version" (toString $root.Chart.AppVersion) -}}
{{- $_ := set $labels "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- range concat (list $root.Values.commonLabels) .more (list (include "tco.selectorLabels" $root | fromYaml)) -}}
{{- range $key, $value := . -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $labels $key $value -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{- define "tco.labels" -}}
{{- include "tco.labelsWith" (dict "root" . "more" list) -}}
{{- end -}}

{{/* imagePullSecrets, those of all charts (names or maps) behind the chart's own. */}}
{{- define "tco.imagePullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.imagePullSecrets (default list (default dict .Values.global).imagePullSecrets) -}}
{{- $secrets = append $secrets (ternary (dict "name" .) . (kindIs "string" .)) -}}
{{- end -}}
{{- with uniq $secrets }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* nodeSelector, whose keys win over those of all charts. */}}
{{- define "tco.nodeSelector" -}}
{{- with merge (dict) .Values.nodeSelector (default dict (default dict .Values.global).nodeSelector) }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* ipFamilyPolicy and ipFamilies of a Service's values. */}}
{{- define "tco.ipFamilies" -}}
{{- with .ipFamilyPolicy }}
ipFamilyPolicy: {{ . }}
{{- end }}
{{- with .ipFamilies }}
ipFamilies: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How Prometheus scrapes, for an endpoint of a ServiceMonitor or PodMonitor: its values. */}}
{{- define "tco.scrape" -}}
path: /metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- if .honorLabels }}
honorLabels: true
{{- end }}
{{- with .relabelings }}
relabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tco.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tco.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tco.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "tco.webhook" -}}
{{- if eq .Values.connection.mode "webhook" }}true{{ end -}}
{{- end -}}

{{- define "tco.webhookKeySecret" -}}
{{- default (printf "%s-webhook-key" (include "tco.fullname" .)) .Values.webhookKey.existingSecret -}}
{{- end -}}

{{- define "tco.publicHost" -}}
{{- (urlParse .Values.connection.publicUrl).host | splitList ":" | first -}}
{{- end -}}

{{/* Where the webhook server is below the public URL: Telegram's requests go to <publicUrl>/telegram/<uid>. */}}
{{- define "tco.publicPath" -}}
{{- printf "%s/telegram/" ((urlParse .Values.connection.publicUrl).path | trimSuffix "/") -}}
{{- end -}}

{{/* The name of what belongs to the data API in the release's namespace. */}}
{{- define "tco.dataApi" -}}
{{- printf "%s-data-api" (include "tco.fullname" .) -}}
{{- end -}}

{{/* The Secret with the data API's certificate. */}}
{{- define "tco.dataApiSecret" -}}
{{- if eq .Values.dataApi.certificate "existingSecret" -}}
{{- .Values.dataApi.existingSecret -}}
{{- else -}}
{{- printf "%s-certificate" (include "tco.dataApi" .) -}}
{{- end -}}
{{- end -}}

{{/* Combinations of the data API's values that cannot work. */}}
{{- define "tco.validateDataApi" -}}
{{- with .Values.dataApi -}}
{{- if and (eq .certificate "existingSecret") (not .existingSecret) -}}
{{- fail "dataApi.certificate existingSecret needs dataApi.existingSecret: name the kubernetes.io/tls Secret, or set the certificate to operator" -}}
{{- end -}}
{{- if and (eq .certificate "existingSecret") (not .caBundle) -}}
{{- fail "dataApi.certificate existingSecret needs dataApi.caBundle: without the authority no API server trusts the certificate" -}}
{{- end -}}
{{- if and (ne .certificate "existingSecret") (or .existingSecret .caBundle) -}}
{{- fail (printf "dataApi.existingSecret and dataApi.caBundle are for dataApi.certificate existingSecret, but it is %s: set it, or leave them empty" .certificate) -}}
{{- end -}}
{{- if and .certManager.issuerRef.name (ne .certificate "certManager") -}}
{{- fail (printf "dataApi.certManager.issuerRef is for dataApi.certificate certManager, but it is %s: set it, or leave the name empty" .certificate) -}}
{{- end -}}
{{- if and (ne .certManager.issuerRef.kind "Issuer") (not .certManager.issuerRef.name) -}}
{{- fail (printf "dataApi.certManager.issuerRef has the kind %s, but no name: name the issuer, or leave its kind at Issuer" .certManager.issuerRef.kind) -}}
{{- end -}}
{{- if has (int .port) (list 8080 8443) -}}
{{- fail (printf "dataApi.port %d is that of another server of the Pod (8080: metrics, 8443: webhook): choose another one" (int .port)) -}}
{{- end -}}
{{- end -}}
{{- if eq (int .Values.replicas) 0 -}}
{{- fail "dataApi.enabled with replicas 0 would hold up the deletion of every namespace of the cluster, since nobody serves the data API: set dataApi.enabled to false, or replicas to 1" -}}
{{- end -}}
{{- end -}}

{{/* Combinations that cannot work, each with what to set. */}}
{{- define "tco.assistantCa" -}}
{{- if or .Values.assistants.caBundle.configMap .Values.assistants.caBundle.secret -}}true{{- end -}}
{{- end -}}

{{- define "tco.signInCa" -}}
{{- if and .Values.signIn.enabled (or .Values.signIn.caBundle.configMap .Values.signIn.caBundle.secret) -}}true{{- end -}}
{{- end -}}

{{- define "tco.signInSecret" -}}
{{- default (printf "%s-sign-in-key" (include "tco.fullname" .)) .Values.signIn.existingSecret -}}
{{- end -}}

{{- define "tco.validate" -}}
{{- if .Values.dataApi.enabled -}}
{{- include "tco.validateDataApi" . -}}
{{- end -}}
{{- if and (gt (int .Values.replicas) 1) (eq .Values.store.type "sqlite") -}}
{{- fail (printf "replicas is %d, but store.type sqlite serves one replica only: set replicas to 1, or store.type to postgres with store.postgres.existingSecret" (int .Values.replicas)) -}}
{{- end -}}
{{- if and (eq .Values.store.type "postgres") (not .Values.store.postgres.existingSecret) -}}
{{- fail "store.type postgres needs store.postgres.existingSecret: name the Secret that holds the URL" -}}
{{- end -}}
{{- if and (include "tco.webhook" .) (not .Values.connection.publicUrl) -}}
{{- fail "connection.mode webhook needs connection.publicUrl: set the https URL at which Telegram reaches the webhook server, or set connection.mode to polling" -}}
{{- end -}}
{{- $port := (urlParse .Values.connection.publicUrl).host | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- if and (include "tco.webhook" .) $port (eq .Values.telegram.apiUrl "https://api.telegram.org") (not (has $port (list "443" "80" "88" "8443"))) -}}
{{- fail (printf "connection.publicUrl has the port %s, but Telegram delivers to 443, 80, 88 and 8443 only: use one of these there (the Service's own port may be another), or a Bot API server of yours as telegram.apiUrl" $port) -}}
{{- end -}}
{{- if not (include "tco.webhook" .) -}}
{{- if .Values.ingress.enabled -}}
{{- fail "ingress.enabled is for connection.mode webhook: set the mode to webhook, or ingress.enabled to false" -}}
{{- end -}}
{{- if .Values.httpRoute.enabled -}}
{{- fail "httpRoute.enabled is for connection.mode webhook: set the mode to webhook, or httpRoute.enabled to false" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.ingress.enabled (ne (trimSuffix "/" (urlParse .Values.connection.publicUrl).path) "") -}}
{{- fail "ingress.enabled wants a connection.publicUrl without a path, since no Ingress can take the path off again in a way that all controllers know: use a host of its own, httpRoute, or an Ingress of yours" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs: name the Gateway that the route belongs to" -}}
{{- end -}}
{{- if and .Values.webhookTls.uploadCertificate (not .Values.webhookTls.existingSecret) -}}
{{- fail "webhookTls.uploadCertificate needs webhookTls.existingSecret: there is no certificate to upload" -}}
{{- end -}}
{{- if and .Values.webhookKey.previousKey (not .Values.webhookKey.existingSecret) -}}
{{- fail "webhookKey.previousKey needs webhookKey.existingSecret: the chart's own Secret holds one key only" -}}
{{- end -}}
{{- if and .Values.signIn.caBundle.configMap .Values.signIn.caBundle.secret -}}
{{- fail "signIn.caBundle names a ConfigMap and a Secret: name one of them" -}}
{{- end -}}
{{- if and .Values.assistants.caBundle.configMap .Values.assistants.caBundle.secret -}}
{{- fail "assistants.caBundle names a ConfigMap and a Secret: name one of them" -}}
{{- end -}}
{{- if and (eq .Values.store.type "sqlite") (ne (default "Recreate" .Values.strategy.type) "Recreate") -}}
{{- fail (printf "strategy.type is %s, but store.type sqlite allows one Pod at a time on its volume: leave strategy empty (Recreate), or use store.type postgres" .Values.strategy.type) -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled: every sample would be counted twice; enable one of them" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled: a ServiceMonitor selects the Service" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) .Values.rbac.create -}}
{{- fail "serviceAccount.create is false and serviceAccount.name empty: rbac.create would give the operator's rights to every Pod that uses the ServiceAccount \"default\"; name a ServiceAccount" -}}
{{- end -}}
{{- end -}}
