#!/usr/bin/env bash
# The examples as their readers use them: `check`, `kubectl apply --dry-run=server` of every file on a real API server, the kustomize
# overlays built, the Helm values beside them rendered. OPERATOR names the binary, HELM the helm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator} HELM=${HELM:-../shared/tools/helm}
kustomize=${KUBECTL_NEW:-kubectl} failed=0 state=
work=$(mktemp -d)
cleanup() {
  [ -z "$state" ] || ../shared/envtest/down "$state" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; failed=1; }

"$OPERATOR" check examples >"$work/check" || { fail "check examples"; cat "$work/check" >&2; }
tail -1 "$work/check"

for overlay in examples/kustomize/overlays/*/; do
  name=$(basename "$overlay")
  "$kustomize" kustomize "$overlay" >"$work/$name.yaml" || fail "kustomize of $overlay"
  "$OPERATOR" check "$work/$name.yaml" >"$work/check" || { fail "check of the overlay $name"; cat "$work/check" >&2; }
  "$HELM" template operator charts/telegram-connector-operator --values "$overlay/operator-values.yaml" >/dev/null || fail "operator-values.yaml of $name"
done
grep -q 'level: Specific' "$work/development.yaml" && grep -q 'saveDeniedConversations: true' "$work/production.yaml" || fail "the overlays do not change what they say"
echo "examples: kustomize overlays built: $(basename -a examples/kustomize/overlays/*/ | xargs)"

while IFS= read -r script; do
  python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$script" || fail "$script"
done < <(find examples -name '*.py')
python3 tests/examples/alert_receiver.py || fail "the receiver of examples/alertmanager"

if [ -x ../shared/envtest/up ] && command -v kubectl >/dev/null; then
  state=$work/api
  KUBECONFIG=$(../shared/envtest/up "$state")
  export KUBECONFIG
  # A server without CEL, and a kubectl of its age: its own validation does not know our kinds.
  kubectl apply --validate=false -f crds >/dev/null
  mapfile -t files < <(find examples -name '*.yaml' -path '*' ! -path '*/overlays/*' ! -path '*/kustomize/base/*' ! -path '*/pull-request-check/*' | sort)
  files+=("$work/development.yaml" "$work/production.yaml")
  while IFS= read -r namespace; do
    kubectl create namespace "$namespace" >/dev/null </dev/null
  done < <(sed -n 's/^  *namespace: *//p; s/.*[{ ]namespace: \([a-z0-9-]*\)}.*/\1/p' "${files[@]}" | sort -u)
  accepted=0 unknown=
  for file in "${files[@]}"; do
    python3 tests/chart/documents.py split "$work/documents" <"$file"
    for document in "$work"/documents/*.yaml; do
      if kubectl apply --dry-run=server --validate=false -f "$document" >"$work/out" 2>&1; then
        accepted=$((accepted + 1))
      elif grep -q 'no matches for kind' "$work/out"; then
        unknown+="$(sed -n 's/.*no matches for kind "\([A-Za-z]*\)".*/\1/p' "$work/out") "
      else
        fail "the API server refuses a document of $file"; cat "$work/out" >&2
      fi
    done
  done
  [ "$accepted" -ge 30 ] || fail "only $accepted objects of the examples were tried"
  echo "examples: $accepted objects of ${#files[@]} files accepted by $(kubectl version -o json 2>/dev/null | sed -n "/serverVersion/,/}/s/.*gitVersion\": \"\(.*\)\".*/\1/p") as a dry run; kinds of others, not known there: $(tr ' ' '\n' <<<"$unknown" | sort -u | xargs)"
else
  echo "examples: no real API server here: no dry run"
fi
exit "$failed"
