{{- define "wabridge.name" -}}
{{- if contains "wabridge" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-wabridge" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "wabridge.selector" -}}
app.kubernetes.io/name: wabridge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wabridge.labels" -}}
{{ include "wabridge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "wabridge.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The prefix of a session's variables: "my-shop" has WABRIDGE_SESSION_MY_SHOP. */}}
{{- define "wabridge.session" -}}
WABRIDGE_SESSION_{{ .id | upper | replace "-" "_" }}
{{- end }}
