#!/usr/bin/env bash
# Takes the binaries out of the image, so that what is downloaded is what runs in clusters, and packs each.
#   .ci/release/binaries.sh IMAGE@DIGEST FOLDER
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
image=$1 folder=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for arch in amd64 arm64; do
  # A container that is made and never started: no emulator is needed.
  container=$(docker create --quiet --pull always --platform "linux/$arch" "$image")
  docker cp --quiet "$container:/usr/local/bin/telegram-connector-operator" "$work/$arch"
  docker rm "$container" >/dev/null
  "$here/pack.py" "$work/$arch" "$arch" "$folder"
done
