#!/usr/bin/env bash
# Builds the image for amd64 and arm64, with BuildKit's bill of materials and provenance, pushes it, and prints its digest.
#   .ci/release/image.sh REGISTRY/telegram-connector-operator:VERSION
# Needs docker with buildx, logged in to the registry, and SOURCE_URL for the image's label.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
image=$1
work=$(mktemp -d)
builder=release-$$
trap 'docker buildx rm "$builder" >/dev/null 2>&1 || true; rm -rf "$work"' EXIT

endpoint=()
if [ -n "${DOCKER_TLS_VERIFY:-}" ]; then
  # buildx takes an engine behind TLS, as GitLab's docker-in-docker is, from a context only.
  docker context create "$builder" >&2
  endpoint=("$builder")
fi
docker buildx create --name "$builder" --driver docker-container "${endpoint[@]}" >&2
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
docker buildx build --builder "$builder" --platform linux/amd64,linux/arm64 \
  --sbom=true --provenance=mode=max \
  --label "org.opencontainers.image.source=$SOURCE_URL" \
  --label "org.opencontainers.image.version=${image##*:}" \
  --label "org.opencontainers.image.revision=$(git rev-parse HEAD)" \
  --metadata-file "$work/metadata.json" --tag "$image" --push . >&2
python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["containerimage.digest"])' "$work/metadata.json"
