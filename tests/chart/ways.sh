#!/usr/bin/env bash
# The chart in the ways in which people use it, without a cluster: as a subchart with alias and condition, through kustomize, twice under one name in
# two namespaces, and with the values of the release before (`helm upgrade --reuse-values`), whose chart is in previous/.
#   ways.sh HELM CHART RENDERED    RENDERED is a folder with a file of each value set, as `helm template` printed it
set -euo pipefail
helm=$1 chart=$2 rendered=$3 here=$(dirname "${BASH_SOURCE[0]}") failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; failed=1; }

mkdir -p "$work/parent/charts" "$work/parent/templates"
cp -r "$chart" "$work/parent/charts/"
cat >"$work/parent/Chart.yaml" <<'CHART'
apiVersion: v2
name: platform
version: 1.0.0
icon: https://acme.example/icon.png
dependencies:
  - {name: telegram-connector-operator, version: 0.1.0, alias: bots, condition: bots.enabled}
CHART
cat >"$work/parent/values.yaml" <<'VALUES'
global: {imagePullSecrets: [shared], nodeSelector: {pool: bots}, tracing: true}
x-labels: &labels {team: platform}
bots:
  enabled: true
  commonLabels: *labels
  podSecurityContext: {runAsUser: null}
  log: {level: null}
  resources: null
VALUES
"$helm" lint --strict --quiet --with-subcharts "$work/parent" >"$work/out" 2>&1 || { fail "lint of the chart as a subchart"; cat "$work/out" >&2; }
"$helm" template operator "$work/parent" -n platform >"$work/enabled" 2>"$work/err" || { fail "the chart as a subchart"; cat "$work/err" >&2; }
for text in 'name: operator-bots' 'name: shared' 'pool: bots' 'team: platform' '--log-level=info'; do
  grep -qF -- "$text" "$work/enabled" || fail "as a subchart it has no $text"
done
! grep -qE 'runAsUser|memory: 512Mi' "$work/enabled" || fail "null in the parent's values takes nothing out"
"$helm" template operator "$work/parent" -n platform --set bots.enabled=false >"$work/disabled"
! grep -q '^kind:' "$work/disabled" || fail "the condition does not switch the subchart off"
echo "chart: linted and rendered as a subchart with alias and condition"

kubectl=${KUBECTL_NEW:-$(command -v kubectl || true)}
if [ -n "$kubectl" ]; then
  sets=0
  for file in "$rendered"/*.yaml; do
    mkdir -p "$work/kustomize"
    cp "$file" "$work/kustomize/all.yaml"
    printf '%s\n' 'resources: [all.yaml]' 'labels: [{pairs: {example.com/owner: platform}}]' 'commonAnnotations: {example.com/rendered-by: kustomize}' >"$work/kustomize/kustomization.yaml"
    "$kubectl" kustomize "$work/kustomize" >"$work/out" 2>"$work/err" || { fail "kustomize refuses $(basename "$file")"; head -3 "$work/err" >&2; }
    [ "$(grep -c '^kind:' "$work/out")" = "$(grep -c '^kind:' "$file")" ] || fail "kustomize loses objects of $(basename "$file")"
    sets=$((sets + 1))
  done
  echo "chart: $sets value sets rendered by kustomize"
else
  fail "no kubectl: nothing went through kustomize"
fi

named() { # namespace: the objects that are not in it, as kind/namespace/name
  "$helm" template operator "$chart" -n "$1" "${@:2}" | python3 "$here/documents.py" names | grep -v "/$1/" | grep -v ^CustomResourceDefinition/ | sort
}
for watched in '[]' '["acme"]'; do
  named one --set-json "watchNamespaces=$watched" >"$work/one"
  named two --set-json "watchNamespaces=$watched" >"$work/two"
  [ -s "$work/one" ] || fail "nothing outside of the release's namespace to compare"
  twice=$(comm -12 "$work/one" "$work/two")
  [ -z "$twice" ] || fail "two releases of one name have the same objects (watchNamespaces $watched): $twice"
done
echo "chart: two releases of one name in two namespaces share no object"

# What --reuse-values makes of the values: those of the previous chart, and the user's.
cp -r "$chart" "$work/reused"
cp "$here/previous/values.yaml" "$work/reused/values.yaml"
sets=0
for values in "$here"/values/*.yaml; do
  "$helm" template operator "$work/reused" -n telegram-connectors --values "$values" >"$work/out" 2>"$work/err" || { fail "the previous chart's values with $(basename "$values")"; cat "$work/err" >&2; }
  ! grep -qE '<no value>|<nil>' "$work/out" || fail "the previous chart's values leave something out of $(basename "$values")"
  sets=$((sets + 1))
done
echo "chart: $sets value sets rendered with the previous chart's values"
exit "$failed"
