#!/usr/bin/env bash
# The release notes of a tag, as Markdown: what to do before an upgrade, and the commits since the tag before, by area.
#   .ci/release/notes.sh vX.Y.Z
# Needs the history: a clone that is not shallow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tag=$1
previous=$(git describe --tags --abbrev=0 --match 'v[0-9]*' "$tag^" 2>/dev/null || true)
if [ -z "$previous" ]; then
  echo "The first release. docs/install.md says how to install it, docs/release.md how to verify it."
  exit 0
fi
changed() { ! git diff --quiet "$previous" "$tag" -- "$@"; }
if changed src/store/sqlite/migrations src/store/postgres/migrations; then
  printf '**The schema of the store changes**: take a backup before the upgrade (docs/backup.md); %s refuses a store that this version has opened.\n\n' "$previous"
fi
if changed crds; then
  printf '**The CRDs change**: the chart upgrades them; whoever applies them apart takes `crds.yaml` of this release first.\n\n'
fi
printf '## Changes since %s\n\n' "$previous"
git log --no-merges --format='- %s' "$previous..$tag" | sort -f
printf '\ndocs/upgrade.md says how to upgrade, docs/release.md how to verify what is downloaded.\n'
