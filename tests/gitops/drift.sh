#!/usr/bin/env bash
# No drift: the chart with dataApi.enabled is applied as Argo CD does it (rendered without the cluster, `kubectl apply`, and server-side), and as Flux does
# (Helm's own upgrade, drift detection by a server-side dry run), on a real API server. In between the operator, with exactly the chart's rights, fills the
# Secret and the caBundle. What is applied again must find nothing to change, and must leave both as they are.
# This server (1.20) cannot apply an APIService server-side: that one goes client-side there, and tests/kubernetes tries it on the embedded control plane.
# OPERATOR names the binary, HELM the helm, KUBECTL_NEW a kubectl that is newer than the server, to try both.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator} HELM=${HELM:-../shared/tools/helm} failed=0
if [ ! -x ../shared/envtest/up ] || ! command -v kubectl >/dev/null; then
  echo "gitops: NOT TRIED: no real API server here, so no drift was looked for"
  exit 0
fi
work=$(mktemp -d)
operator=
cleanup() {
  [ -z "$operator" ] || kill "$operator" 2>/dev/null || true
  ../shared/envtest/down "$work/api" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: gitops: $*" >&2; failed=1; }
within() { # seconds, command...: polls until it succeeds
  local end=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do [ "$SECONDS" -lt "$end" ] || return 1; sleep 0.2; done
}
namespace=telegram-connectors account=operator-telegram-connector-operator
secret=$account-data-api-certificate service=v1alpha1.data.connectors.pupau.ai
KUBECONFIG=$(../shared/envtest/up "$work/api")
export KUBECONFIG
kubectl apply --validate=false -f crds >/dev/null
# This server is older than the chart allows and has no CEL, so the copy's kubeVersion goes, and the CRDs are there already.
cp -r charts/telegram-connector-operator "$work/chart"
sed -i /^kubeVersion/d "$work/chart/Chart.yaml"
values=(-n "$namespace" --set dataApi.enabled=true --set crds.install=false)
rendered() { "$HELM" template operator "$work/chart" "${values[@]}"; }

# The data API itself is not reached here, which every newer kubectl complains of.
quiet() { kubectl "$@" 2>/dev/null; }
account_token() {
  local name
  name=$(quiet -n "$namespace" get sa "$account" -o 'jsonpath={.secrets[0].name}') && [ -n "$name" ] || return 1
  quiet -n "$namespace" get secret "$name" -o 'jsonpath={.data.token}' | base64 -d
}
operate() { # the operator with the ServiceAccount of the release, until both objects are written
  within 20 account_token || { fail "the ServiceAccount has no token"; return 1; }
  local token
  token=$(account_token)
  kubectl config view --raw -o json | python3 -c 'import json,sys; c=json.load(sys.stdin); c["users"][0]["user"]={"token":sys.argv[1]}; print(json.dumps(c))' "$token" >"$work/account"
  KUBECONFIG=$work/account "$OPERATOR" run --store "sqlite:$work/db" --admin-listen 127.0.0.1:0 --telegram-api-url http://127.0.0.1:1 \
    --data-api-listen 127.0.0.1:0 --data-api-certificate-secret "$secret" --data-api-service "$account-data-api" --lease-namespace $namespace \
    --log-format text >"$work/log" 2>&1 &
  operator=$!
  within 30 written || { fail "the operator has not written its certificates"; tail -20 "$work/log" >&2; }
}
written() {
  [ -n "$(quiet -n "$namespace" get secret "$secret" -o 'jsonpath={.data.ca\.crt}')" ] &&
    [ "$(quiet get apiservice "$service" -o 'jsonpath={.spec.caBundle}')" = "$(quiet -n "$namespace" get secret "$secret" -o 'jsonpath={.data.ca\.crt}')" ]
}
stop_operating() {
  kill "$operator"; wait "$operator" || true
  operator=
  ! grep -i forbidden "$work/log" >&2 || fail "the operator was forbidden something"
}
held() { quiet -n "$namespace" get secret "$secret" -o 'jsonpath={.data}{.metadata.resourceVersion}'; quiet get apiservice "$service" -o 'jsonpath={.spec}'; }
unmoved() { # what was done, what both objects held before
  [ "$(held)" = "$2" ] || fail "$1 changed the Secret or the APIService"
}

each() { # kubectl, its command, flags of a way, file: the way for all objects but the APIService; what was said is in $work/out
  python3 - "$4" "$work" <<'PYTHON'
import pathlib, sys
documents = pathlib.Path(sys.argv[1]).read_text().split("\n---\n")
for name, wanted in [("aggregated", True), ("others", False)]:
    chosen = [document for document in documents if ("kind: APIService\n" in document) == wanted]
    pathlib.Path(sys.argv[2], f"{name}.yaml").write_text("\n---\n".join(chosen))
PYTHON
  # shellcheck disable=SC2086 # lists of words
  "$1" $2 $3 -f "$work/others.yaml" >"$work/out" 2>&1 && "$1" $2 -f "$work/aggregated.yaml" >>"$work/out" 2>&1
}
apply() { each "$1" "apply --validate=false" "$2" "$3"; }
difference() { each "$1" diff "$2" "$3"; }

kubectls=(kubectl)
[ -z "${KUBECTL_NEW:-}" ] || kubectls+=("$KUBECTL_NEW")
for k in "${kubectls[@]}"; do
  for way in "" "--server-side --field-manager=argocd-controller"; do
    kubectl create namespace $namespace >/dev/null
    rendered >"$work/first.yaml"
    apply "$k" "$way" "$work/first.yaml" || { fail "the first apply $way"; cat "$work/out" >&2; }
    operate
    before=$(held)
    rendered >"$work/second.yaml"
    cmp -s "$work/first.yaml" "$work/second.yaml" || fail "the chart renders differently the second time"
    difference "$k" "$way" "$work/second.yaml" || { fail "a difference is seen, $way"; cat "$work/out" >&2; }
    apply "$k" "$way" "$work/second.yaml" || { fail "the second apply $way"; cat "$work/out" >&2; }
    [ -n "$way" ] || ! grep -E ' (configured|created)$' "$work/out" >&2 || fail "the second apply changes something"
    unmoved "the second apply $way" "$before"
    stop_operating
    kubectl delete --wait=false -f "$work/second.yaml" >/dev/null 2>&1 || true
    kubectl delete namespace $namespace >/dev/null
  done
done
echo "gitops: applied twice as Argo CD does, client-side and server-side (${#kubectls[@]} kubectl): no difference, certificates kept"

# Flux's helm-controller is Helm's library: an upgrade with the same values, and a server-side dry run of the manifest that looks for drift.
kubectl create namespace $namespace >/dev/null
helm() { "$HELM" "$@" >"$work/out" 2>&1 || { fail "helm $*"; cat "$work/out" >&2; }; }
helm install operator "$work/chart" "${values[@]}" --server-side=false --disable-openapi-validation
operate
before=$(held)
for round in 2 3; do
  helm upgrade operator "$work/chart" "${values[@]}" --server-side=false --disable-openapi-validation
  unmoved "upgrade $round" "$before"
done
"$HELM" get manifest operator -n $namespace >"$work/manifest.yaml"
# What the server would make of the manifest, against what is there.
difference "${kubectls[-1]}" "--server-side --field-manager=helm-controller --force-conflicts" "$work/manifest.yaml" ||
  { fail "drift detection sees a difference"; cat "$work/out" >&2; }
helm rollback operator 1 -n $namespace --server-side=false
unmoved "a rollback" "$before"
stop_operating
helm uninstall operator -n $namespace
[ -z "$(quiet get apiservice "$service" -o name)" ] || fail "uninstall left the APIService behind"
kubectl delete namespace $namespace >/dev/null
echo "gitops: installed, upgraded twice and rolled back as Flux does: certificates kept, no drift"
exit "$failed"
