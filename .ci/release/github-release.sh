#!/usr/bin/env bash
# Makes the release of the tag on GitHub with every file of a folder: .ci/release/github-release.sh vX.Y.Z FOLDER
# Needs gh with GH_TOKEN, and the history.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tag=$1 folder=$2
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
"$here/notes.sh" "$tag" >"$notes"
flags=()
[[ $tag != *-* ]] || flags+=(--prerelease)
gh release create "$tag" "$folder"/* --verify-tag --title "$tag" --notes-file "$notes" "${flags[@]}"
