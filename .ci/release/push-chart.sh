#!/usr/bin/env bash
# Pushes a packaged chart and prints its digest: .ci/release/push-chart.sh CHART.tgz REGISTRY/charts
# HELM names the helm; HELM_PUSH_FLAGS is for a registry without TLS.
set -euo pipefail
read -ra flags <<<"${HELM_PUSH_FLAGS:-}"
said=$("${HELM:-helm}" push "$1" "oci://$2" "${flags[@]}" 2>&1) || { echo "$said" >&2; exit 1; }
echo "$said" >&2
digest=$(sed -n 's/^Digest: \(sha256:[0-9a-f]\{64\}\)$/\1/p' <<<"$said")
[ -n "$digest" ] || { echo "helm push did not say which digest the chart has" >&2; exit 1; }
echo "$digest"
