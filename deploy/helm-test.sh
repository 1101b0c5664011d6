#!/usr/bin/env bash
# Checks the files of deploy/ that other programs read: the Helm chart by lint
# and by what it renders, the alerts by promtool. Needs helm on the PATH; takes
# promtool from there, or from Debian's package without installing it.
set -euo pipefail
cd "$(dirname "$0")/.."

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
chart=deploy/helm/wabridge

render() { helm template shop "$chart" --kube-version 1.31.0 "$@" 2>/dev/null; }
want() { grep -qE -- "$1" "$2" || { echo "missing in what is rendered: $1"; exit 1; }; }

echo "the chart's own alerts: a chart reads no file outside its folder"
cmp deploy/prometheus/alerts.yml "$chart/files/alerts.yml" || { echo "cp deploy/prometheus/alerts.yml $chart/files/"; exit 1; }

echo "lint"
helm lint --strict "$chart"
helm lint --strict "$chart" -f deploy/helm/test-values.yaml

echo "what the defaults render"
render >"$dir/plain"
for line in 'kind: StatefulSet' 'kind: PodDisruptionBudget' 'kind: NetworkPolicy' 'enableServiceLinks: false' \
  'automountServiceAccountToken: false' 'runAsNonRoot: true' 'readOnlyRootFilesystem: true' 'allowPrivilegeEscalation: false' \
  'drop: \[ALL\]' 'type: RuntimeDefault' 'path: /livez' 'path: /readyz' 'fieldPath: metadata.name' 'replicas: 2' \
  'terminationGracePeriodSeconds: 40' 'WABRIDGE_SHUTDOWN_TIMEOUT, value: "25s"'; do
  want "$line" "$dir/plain"
done
! grep -qE 'kind: (Secret|HorizontalPodAutoscaler|ServiceMonitor)' "$dir/plain" || { echo "more than was asked for"; exit 1; }

echo "what everything renders"
render -f deploy/helm/test-values.yaml >"$dir/full"
for line in 'kind: HorizontalPodAutoscaler' 'kind: ServiceMonitor' 'kind: PrometheusRule' 'alert: WabridgeCommandsWait' \
  'terminationGracePeriodSeconds: 75' 'WABRIDGE_SHUTDOWN_TIMEOUT, value: "60s"' 'WABRIDGE_SESSIONS, value: "my-shop,support"' \
  'WABRIDGE_SESSION_MY_SHOP_TOKEN_FILE, value: "/run/secrets/sessions/my-shop/token"' 'secretName: "shop-whatsapp"' \
  'WABRIDGE_NATS_URL_FILE, value: "/run/secrets/nats/url"' 'wabridge@sha256:0000' 'port: webhook'; do
  want "$line" "$dir/full"
done
! grep -qE 'kind: Secret$|^  replicas:' "$dir/full" || { echo "a secret, or a number of replicas beside the autoscaler"; exit 1; }

echo "every variable is one that wabridge knows"
go run ./cmd/wabridge help config >"$dir/known"
grep -ohE 'name: WABRIDGE_[A-Z_]+' "$dir/full" "$dir/plain" | sed -E 's/^name: //; s/^WABRIDGE_SESSION_(MY_SHOP|SUPPORT)_/…_/' | sort -u >"$dir/used"
while read -r name; do
  grep -qE "(^|[^A-Z])${name#…}( |\$)" "$dir/known" || { echo "wabridge knows no $name"; exit 1; }
done <"$dir/used"

echo "bad values are refused"
for bad in replicas=many nats.urll=x shutdownTimeoutSeconds=0 image.digest=abc 'sessions[0].id=a b' \
  'sessions[0].platform=chatapi,sessions[0].id=x,sessions[0].existingSecret=s' 'autoscaling.enabled=true,autoscaling.maxReplicas=1' nats.url=; do
  if render --set "$bad" >/dev/null; then
    echo "accepted: $bad"
    exit 1
  fi
done

echo "alerts"
promtool=$(command -v promtool) || {
  (cd "$dir" && apt-get download -q prometheus >/dev/null 2>&1 && dpkg-deb -x prometheus_*.deb package)
  promtool=$dir/package/usr/bin/promtool
}
"$promtool" check config deploy/prometheus/prometheus.yml
echo "chart and alerts are well"
