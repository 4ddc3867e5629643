#!/usr/bin/env bash
# Every linter finds a fault that is planted for it in a copy of the repository: faults.sh TOOLS
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$1 failed=0 planted=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
copy=$work/copy
mkdir "$copy"
git -C "$here/../.." ls-files -z | (cd "$here/../.." && xargs -0 cp --parents -t "$copy" 2>/dev/null || true)

plant() { # linter, what it says, file, sed expression
  local linter=$1 says=$2 file=$3 expression=$4
  planted=$((planted + 1))
  cp -p "$copy/$file" "$work/before"
  sed -E -i "$expression" "$copy/$file"
  if cmp -s "$copy/$file" "$work/before"; then
    echo "FAILED: nothing in $file to plant a fault for $linter in" >&2; failed=1
  elif "$here/lint.sh" "$tools" "$copy" "$linter" >"$work/out" 2>&1; then
    echo "FAILED: $linter does not find in $file: $expression" >&2; failed=1
  elif ! grep -qF -- "$says" "$work/out"; then
    echo "FAILED: $linter does not say: $says" >&2; cat "$work/out" >&2; failed=1
  fi
  cp -p "$work/before" "$copy/$file"
}

release=.github/workflows/release.yml chart=charts/telegram-connector-operator/Chart.yaml
plant versions 'Chart.yaml:5: says 9.0.0' "$chart" 's/^version: .*/version: 9.0.0/'
plant versions 'Chart.yaml:6: says 9.0.0' "$chart" 's/^appVersion: .*/appVersion: 9.0.0/'
plant versions 'but Cargo.toml says 9.0.0' Cargo.toml '/^\[workspace.package\]/,/^version/s/^version = .*/version = "9.0.0"/'
plant versions 'docs/image.md' docs/image.md 's/(telegram-connector-operator:)[0-9.]+/\19.0.0/'
plant actionlint 'needs job "elsewhere"' "$release" 's/needs: publish/needs: elsewhere/'
plant actionlint 'property "nothing" is not defined' "$release" 's/steps\.publish\.outputs\.image /steps.nothing.outputs.image /'
plant zizmor 'template-injection' "$release" 's/check "\$GITHUB_REF_NAME"/check "${{ github.ref_name }}"/'
plant zizmor 'unpinned-uses' "$release" 's/checkout@[0-9a-f]{40}/checkout@v7/'
plant zizmor 'excessive-permissions' "$release" 's/^permissions: \{\}/permissions: write-all/'
plant zizmor 'dangerous-triggers' .github/workflows/ci.yml 's/^  pull_request:/  pull_request_target:/'
plant github_schema 'release.yml' "$release" 's/runs-on:/run-on:/'
plant gitlab_schema '.gitlab-ci.yml' .gitlab-ci.yml 's/^  services: \[/  services: 5 #/'
plant hadolint 'DL3020' Dockerfile 's/^COPY src src/ADD src src/'
plant yaml 'duplication of key' .gitlab-ci.yml 's/^(  stage: release)$/\1\n\1/'
plant shell 'SC2154' .ci/release/sign.sh 's/"\$image"/"$picture"/'
plant shell 'SC2086' .gitlab-ci.yml 's/notes\.sh "\$CI_COMMIT_TAG"/notes.sh $CI_COMMIT_TAG/'
plant artifacthub 'telegramuserlists' "$chart" 's/name: telegramuserlists/name: telegramlists/'
plant artifacthub 'category' "$chart" 's/category: .*/category: bots/'
[ "$failed" = 1 ] || echo "release: each of $planted planted faults is found by its linter"
exit "$failed"
