#!/usr/bin/env bash
# Signs what is published, without a key: cosign takes the workflow's own identity (GitHub's or GitLab's), and the signature is in the public log.
#   .ci/release/sign.sh IMAGE@DIGEST CHART@DIGEST FOLDER
# FOLDER has sbom.cdx.json and SHA256SUMS, which gets SHA256SUMS.sigstore.json beside it.
set -euo pipefail
image=$1 chart=$2 folder=$3
# By digest: a tag could have moved. The index is signed, and with it the images of both architectures and BuildKit's attestations.
cosign sign --yes --recursive "$image"
cosign attest --yes --type cyclonedx --predicate "$folder/sbom.cdx.json" "$image"
cosign sign --yes "$chart"
cosign sign-blob --yes --bundle "$folder/SHA256SUMS.sigstore.json" "$folder/SHA256SUMS"
