#!/usr/bin/env bash
# The operator's binary with exactly the chart's cluster-wide rights on a real API server, in all namespaces: everything works and nothing is
# forbidden. That every right is used, and missed when it is taken away, is shown by the Kubernetes tests (tests/kubernetes/operator/permissions.rs).
# OPERATOR names the binary (with the feature dev), HELM the helm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator} HELM=${HELM:-../shared/tools/helm}
work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  ../shared/envtest/down "$work/api" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
KUBECONFIG=$(../shared/envtest/up "$work/api")
export KUBECONFIG
account="operator-telegram-connector-operator"
certificate=$account-data-api-certificate api=v1alpha1.data.connectors.pupau.ai
k() { kubectl "$@" 2>/dev/null; }
within() { # seconds, command...: polls until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.2; done
}
filled() { [ -n "$(k -n "$1" get "$2" -o "jsonpath=$3")" ]; }

k apply --validate=false -f crds >/dev/null
k create namespace telegram-connectors >/dev/null; k create namespace acme >/dev/null
"$HELM" template operator charts/telegram-connector-operator -n telegram-connectors --set store.type=postgres,store.postgres.existingSecret=x,dataApi.enabled=true \
  -s templates/rbac.yaml -s templates/serviceaccount.yaml -s templates/data-api.yaml -s templates/data-api-rbac.yaml >"$work/rbac.yaml"
k apply -f "$work/rbac.yaml" >/dev/null
within 20 filled telegram-connectors "sa/$account" '{.secrets[0].name}'
secret=$(k -n telegram-connectors get sa $account -o 'jsonpath={.secrets[0].name}')
token=$(k -n telegram-connectors get secret "$secret" -o 'jsonpath={.data.token}' | base64 -d)
k config view --raw -o json | python3 -c 'import json,sys; c=json.load(sys.stdin); c["users"][0]["user"]={"token":sys.argv[1]}; print(json.dumps(c))' "$token" >"$work/account.kubeconfig"

"$OPERATOR" dev telegram >"$work/telegram" 2>&1 & started+=($!)
"$OPERATOR" dev assistant >"$work/assistant" 2>&1 & started+=($!)
within 20 grep -q http "$work/telegram"; within 20 grep -q http "$work/assistant"
telegram=$(grep -o 'http://127[^ ]*' "$work/telegram" | head -1) assistant=$(grep -o 'http://127[^ ]*' "$work/assistant" | head -1)
curl -sf -XPOST "$telegram/control/bots" -H 'content-type: application/json' -d '{"token":"7000001:quickstart-not-a-real-token"}' >/dev/null
for file in examples/quickstart/*.yaml; do echo ---; sed "s#http://127.0.0.1:8081/v1#$assistant#" "$file"; done >"$work/quickstart.yaml"

certified() { # the operator has filled its Secret, and published the authority
  local authority; authority=$(k -n telegram-connectors get secret "$certificate" -o 'jsonpath={.data.ca\.crt}')
  [ -n "$authority" ] && [ "$(k get apiservice $api -o 'jsonpath={.spec.caBundle}')" = "$authority" ]
}
life() { # seconds of patience: one life of a connector; prints what worked, and what was forbidden
  rm -f "$work"/db*
  k -n acme delete events.events.k8s.io --all >/dev/null || true
  k -n telegram-connectors delete lease --all >/dev/null || true
  KUBECONFIG=$work/account.kubeconfig "$OPERATOR" run --store "sqlite:$work/db" --admin-listen 127.0.0.1:0 --telegram-api-url "$telegram" \
    --connection-mode webhook --public-url https://127.0.0.1:8443 --webhook-listen 127.0.0.1:0 --webhook-key "not a real key, only 32 characters" \
    --data-api-listen 127.0.0.1:0 --data-api-certificate-secret "$certificate" --data-api-service "$account-data-api" \
    --leader-election true --lease-namespace telegram-connectors --allow-assistant-address 127.0.0.1 --log-format text >"$work/log" 2>&1 &
  local operator=$! said=
  k apply --validate=false -f "$work/quickstart.yaml" >/dev/null
  if k -n acme wait --for=condition=Ready tgc/support --timeout="${1}s" >/dev/null; then said+=" ready"; fi
  if within 2 filled acme tgul/acme-staff '{.status.conditions}'; then said+=" list-status"; fi
  if within 8 filled telegram-connectors lease '{.items[0].spec.renewTime}'; then
    local renewed; renewed=$(k -n telegram-connectors get lease -o 'jsonpath={.items[0].spec.renewTime}')
    if within 8 bash -c "[ \"\$(kubectl -n telegram-connectors get lease -o 'jsonpath={.items[0].spec.renewTime}')\" != '$renewed' ]"; then said+=" lease-renewed"; fi
  fi
  if within "$1" certified; then said+=" certificate"; fi
  k -n acme delete secret support-bot >/dev/null || true
  if k -n acme wait --for=condition=Ready=False tgc/support --timeout="${1}s" >/dev/null; then said+=" secret-seen"; fi
  if within 3 filled acme events.events.k8s.io '{.items[0].reason}'; then said+=" event"; fi
  k -n acme delete tgc support --timeout=8s >/dev/null && said+=" gone" || true
  kill $operator; wait $operator || true
  k -n acme patch tgc support --type=merge -p '{"metadata":{"finalizers":[]}}' >/dev/null || true
  k -n acme delete tgul acme-staff >/dev/null || true
  echo "${said# }; forbidden: $(grep -ci forbidden "$work/log" || true)"
}

whole="ready list-status lease-renewed certificate secret-seen event gone; forbidden: 0"
found=$(life 15)
echo "with the chart's rights: $found"
[ "$found" = "$whole" ] || { echo "FAILED: wanted $whole" >&2; tail -5 "$work/log" >&2; exit 1; }
