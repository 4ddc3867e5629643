#!/usr/bin/env bash
# Builds, pushes and signs everything of a release, and leaves what can be downloaded in a folder. The same for every forge.
#   .ci/release/publish.sh FOLDER
# FOLDER has what tests/supply-chain/sbom.py writes. Needs docker (logged in), helm, cosign, git, python3, and:
#   REGISTRY    where the image goes (REGISTRY/telegram-connector-operator) and the chart (REGISTRY/charts/telegram-connector-operator)
#   DOWNLOADS   the URL below which FOLDER's files are going to be
#   SOURCE_URL  the project's page
# Prints image=, image_digest=, chart= and chart_digest= on standard output; everything else goes to standard error.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=$1
: "${REGISTRY:?}" "${DOWNLOADS:?}" "${SOURCE_URL:?}"
registry=${REGISTRY,,}
version=$("$here/version.py")
image=$registry/telegram-connector-operator chart=$registry/charts/telegram-connector-operator
step() { echo "==== $*" >&2; }
export SOURCE_URL

step "image $image:$version"
image_digest=$("$here/image.sh" "$image:$version")
step "binaries and CRDs"
"$here/binaries.sh" "$image@$image_digest" "$folder" >&2
for crd in "$here"/../../crds/*.yaml; do
  echo "---"
  cat "$crd"
done >"$folder/crds.yaml"
step "chart oci://$chart $version"
"$here/chart.py" "$registry" "$folder" >&2
chart_digest=$("$here/push-chart.sh" "$folder/telegram-connector-operator-$version.tgz" "$registry/charts")
step "plugin manifest and checksums"
"$here/krew.py" "$folder" "$DOWNLOADS"
(cd "$folder" && sha256sum crds.yaml sbom.cdx.json tgc.yaml third-party-licences.txt ./*.tar.gz ./*.tgz | sed 's| \./| |' >SHA256SUMS)
step "signatures"
"$here/sign.sh" "$image@$image_digest" "$chart@$chart_digest" "$folder" >&2
printf '%s\n' "image=$image" "image_digest=$image_digest" "chart=$chart" "chart_digest=$chart_digest"
