#!/usr/bin/env bash
# The chart, with real Helm: generated files, lint, templates against reviewed snapshots, wrong values, and every rendered object as a
# server-side dry run on a real API server. HELM names the helm to use; UPDATE=1 writes the snapshots anew for review with git.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
chart=charts/telegram-connector-operator here=tests/chart failed=0
if [ -z "${HELM:-}" ]; then
  HELM=$(command -v helm || true)
  [ -z "$HELM" ] && [ -x ../shared/tools/helm ] && HELM=../shared/tools/helm
fi
[ -n "$HELM" ] || { echo "no helm: set HELM" >&2; exit 1; }
work=$(mktemp -d)
state=
cleanup() {
  [ -z "$state" ] || ../shared/envtest/down "$state" >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap cleanup EXIT
fail() { echo "FAILED: $*" >&2; failed=1; }

python3 "$here/generate.py" --check || failed=1

render() { # values file; the random values are replaced
  "$HELM" template operator "$chart" --namespace telegram-connectors --values "$1" |
    sed -E 's/^(  webhook-key: )[A-Za-z0-9+/=]{64}$/\1R0VORVJBVEVE/; s/^(  sign-in-key: )[A-Za-z0-9+/=]{60}$/\1R0VORVJBVEVE/'
}
sets=0
for values in "$here"/values/*.yaml; do
  name=$(basename "$values" .yaml) sets=$((sets + 1))
  "$HELM" lint --strict --quiet "$chart" --values "$values" >"$work/lint" 2>&1 || { fail "lint of $name"; cat "$work/lint" >&2; }
  render "$values" >"$work/$name.yaml" || { fail "template of $name"; continue; }
  # What a CRD says is compared above.
  python3 "$here/documents.py" short CustomResourceDefinition <"$work/$name.yaml" >"$work/$name.short"
  [ -z "${UPDATE:-}" ] || cp "$work/$name.short" "$here/snapshots/$name.yaml"
  "$HELM" install operator "$chart" --dry-run=client -n telegram-connectors --values "$values" 2>&1 | sed -n '/^NOTES:/,$p' >"$work/notes"
  grep -q 'exec deploy/.*operator' "$work/notes" && ! grep -qF '<no value>' "$work/notes" || { fail "NOTES of $name"; cat "$work/notes" >&2; }
  diff -u "$here/snapshots/$name.yaml" "$work/$name.short" >"$work/diff" || { fail "$name differs from its snapshot (UPDATE=1 $here/ci.sh writes it anew)"; head -60 "$work/diff" >&2; }
done
echo "chart: $sets value sets linted and compared with their snapshots"

python3 "$here/nulls.py" "$HELM" "$chart" || failed=1
bash "$here/ways.sh" "$HELM" "$chart" "$work" || failed=1

wrong=0
for values in "$here"/wrong/*.yaml; do
  wrong=$((wrong + 1))
  says=$(sed -n '1s/^# says: //p' "$values")
  if "$HELM" template operator "$chart" --values "$values" >"$work/out" 2>"$work/err"; then
    fail "$(basename "$values") is accepted"
  elif ! tr '\n' ' ' <"$work/err" | grep -qF -- "$says"; then
    fail "$(basename "$values") does not say: $says"; cat "$work/err" >&2
  fi
done
echo "chart: $wrong wrong value files rejected with a sentence"

if [ -x ../shared/envtest/up ] && command -v kubectl >/dev/null; then
  state=$work/api
  KUBECONFIG=$(../shared/envtest/up "$state")
  export KUBECONFIG
  for namespace in telegram-connectors acme beta bots monitoring; do kubectl create namespace "$namespace" >/dev/null; done
  accepted=0 unknown=
  for rendered in "$work"/*.yaml; do
    python3 "$here/documents.py" split "$work/documents" <"$rendered"
    for document in "$work"/documents/*.yaml; do
      if kubectl apply --dry-run=server --validate=false -f "$document" >"$work/out" 2>&1; then
        accepted=$((accepted + 1))
      elif grep -q 'no matches for kind' "$work/out"; then
        unknown+="$(sed -n 's/.*no matches for kind "\([A-Za-z]*\)".*/\1/p' "$work/out") "
      else
        fail "the API server refuses a document of $(basename "$rendered")"; cat "$work/out" >&2
      fi
    done
  done
  echo "chart: $accepted objects accepted by Kubernetes $(kubectl version -o json 2>/dev/null | sed -n "/serverVersion/,/}/s/.*gitVersion\": \"\(.*\)\".*/\1/p") as a dry run; kinds it does not know: $(tr ' ' '\n' <<<"$unknown" | sort -u | xargs)"

  # The life of a release. The API server here is older than the chart allows and has no CEL, so the copy's kubeVersion goes, and Helm is told
  # not to look at schemas and not to apply server-side.
  cp -r "$chart" "$work/chart"
  sed -i /^kubeVersion/d "$work/chart/Chart.yaml"
  helm() { "$HELM" "$@" >"$work/out" 2>&1 || { fail "helm $*"; cat "$work/out" >&2; }; }
  old=(--server-side=false)
  webhook=(--set connection.mode=webhook --set connection.publicUrl=https://bots.acme.example --disable-openapi-validation)
  release() { helm "$1" operator "$work/chart" -n telegram-connectors "${old[@]}" "${webhook[@]}" --set signIn.enabled=true "${@:2}"; }
  sign_in() { kubectl -n telegram-connectors get secret operator-telegram-connector-operator-sign-in-key -o 'jsonpath={.data.sign-in-key}'; }
  key() { kubectl -n telegram-connectors get secret operator-telegram-connector-operator-webhook-key -o 'jsonpath={.data.webhook-key}'; }
  described() { kubectl get crd telegramconnectors.connectors.pupau.ai -o 'jsonpath={.spec.versions[0].schema.openAPIV3Schema.description}'; }
  release install
  made=$(key)
  [ "${#made}" = 64 ] || fail "install made no webhook key of 48 characters"
  sealing=$(sign_in)
  [ "$(base64 -d <<<"$sealing" | base64 -d | wc -c)" = 32 ] || fail "install made no sign-in key of 32 bytes"
  sed -i 's/A Telegram bot, the assistant/A bot of Telegram, the assistant/' "$work"/chart/files/crds/*connectors.yaml
  release upgrade --set log.level=debug
  [ "$(key)" = "$made" ] || fail "an upgrade changed the webhook key"
  [ "$(sign_in)" = "$sealing" ] || fail "an upgrade changed the sign-in key"
  [[ $(described) == "A bot of Telegram"* ]] || fail "an upgrade did not upgrade the CRD"
  helm rollback operator 1 -n telegram-connectors "${old[@]}"
  [ "$(key)" = "$made" ] || fail "a rollback changed the webhook key"
  [[ $(described) == "A Telegram bot"* ]] || fail "a rollback did not roll the CRD back"
  helm uninstall operator -n telegram-connectors
  [ "$(kubectl get crd -o name | wc -l)" = 3 ] || fail "uninstall did not keep the CRDs"
  [ "$(kubectl -n telegram-connectors get pvc -o name | wc -l)" = 1 ] || fail "uninstall did not keep the volume"
  [ "$(sign_in)" = "$sealing" ] || fail "uninstall did not keep the sign-in key"
  [ -z "$(kubectl get clusterrole,clusterrolebinding -o name | grep operator-telegram || true)" ] || fail "uninstall left roles behind"
  release install --set crds.keep=false --set store.sqlite.keep=false
  helm uninstall operator -n telegram-connectors --wait
  [ -z "$(kubectl get crd -o name)" ] || fail "uninstall kept the CRDs although crds.keep is false"

  # Server-side, as Helm 4 does unless told otherwise; and CRDs that somebody applied before there was a release are taken over.
  kubectl apply --validate=false -f crds >/dev/null
  release install --take-ownership
  [ "$(kubectl get crd telegramconnectors.connectors.pupau.ai -o 'jsonpath={.metadata.annotations.meta\.helm\.sh/release-name}')" = operator ] || fail "the CRDs were not taken over"
  helm uninstall operator -n telegram-connectors
  # Without the CRDs, since this server refuses to apply rules that it does not know.
  ssa() { helm "$1" operator "$work/chart" -n telegram-connectors --server-side=true --set crds.install=false "${webhook[@]}" "${@:2}"; }
  ssa install
  made=$(key)
  kubectl -n telegram-connectors scale deployment/operator-telegram-connector-operator --replicas=0 >/dev/null
  kubectl -n telegram-connectors scale deployment/operator-telegram-connector-operator --replicas=1 >/dev/null
  ssa upgrade --set log.level=debug
  kubectl -n telegram-connectors get deployment operator-telegram-connector-operator -o yaml | grep -q -- --log-level=debug || fail "a server-side upgrade changed nothing"
  helm rollback operator 1 -n telegram-connectors --server-side=true
  [ "$(key)" = "$made" ] || fail "a server-side upgrade or rollback changed the webhook key"
  helm uninstall operator -n telegram-connectors
  echo "chart: installed, upgraded, rolled back and uninstalled, client-side and server-side"

  # From the release before, with both ways to keep its values; and another release of the name beside it.
  log() { kubectl -n "$1" get deployment operator-telegram-connector-operator -o 'jsonpath={.spec.template.spec.containers[0].args}' | grep -qF -- "--log-level=$2"; }
  for way in --reuse-values --reset-then-reuse-values; do
    helm install operator "$here/previous" -n telegram-connectors "${old[@]}" --set log.level=debug --set crds.install=false
    helm upgrade operator "$work/chart" -n telegram-connectors "${old[@]}" "$way"
    log telegram-connectors debug || fail "an upgrade with $way lost a value"
    helm install operator "$work/chart" -n beta "${old[@]}" --set crds.install=false
    helm uninstall operator -n beta
    helm uninstall operator -n telegram-connectors
    kubectl -n telegram-connectors delete pvc --all --wait=false >/dev/null
  done

  # A namespace's admin, after what docs/install.md tells the cluster's admin to do once. (This server wants --validate=false and no server-side apply.)
  "$HELM" template telegram-connector-operator "$work/chart" -n telegram-connectors -s templates/crds.yaml -s templates/aggregated-roles.yaml | kubectl apply --validate=false -f - >/dev/null
  kubectl -n acme create rolebinding ann --clusterrole=admin --user=ann >/dev/null
  for _ in $(seq 100); do
    [ "$(kubectl -n acme auth can-i patch telegramuserlists/status --as ann 2>/dev/null)" = yes ] && break
    sleep 0.2
  done
  own=(--set crds.install=false --set rbac.aggregateRoles=false --set 'watchNamespaces={acme}' --set store.type=postgres --set store.postgres.existingSecret=operator-postgres)
  helm install operator "$work/chart" -n acme "${old[@]}" "${own[@]}" --kube-as-user ann --kube-as-group system:authenticated
  kubectl -n acme get rolebinding acme-operator-telegram-connector-operator >/dev/null || fail "a namespace's admin cannot install for the own namespace"
  helm uninstall operator -n acme
  echo "chart: upgraded from the previous release, installed twice, and by a namespace's admin"
  ../shared/envtest/down "$state" >/dev/null 2>&1 || true

  state=$work/crds-api
  python3 "$here/crds.py" "$(../shared/envtest/up --crd "$state")" "$work/default.yaml" || fail "the CRDs on a new API server"
else
  echo "chart: no real API server here: no dry run"
fi
exit "$failed"
