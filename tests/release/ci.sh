#!/usr/bin/env bash
# What releases are made with: linted, the linters tried on planted faults, and a release made on this machine as far as that goes. OPERATOR names
# the binary, HELM the helm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator}
if [ -z "${HELM:-}" ]; then
  bin=$(.ci/release/helm --bin-dir)
  export HELM=$bin/helm KUBECTL_NEW=$bin/kubectl
fi
tools=$(tests/release/tools.sh)
failed=0
tests/release/lint.sh "$tools" || failed=1
tests/release/faults.sh "$tools" || failed=1
PYTHONDONTWRITEBYTECODE=1 "$tools/bin/python" tests/release/dry_run.py "$tools" || failed=1
echo "release: NOT TRIED here: the workflows themselves, docker buildx, cosign, a forge's API, krew (docs/release.md)"
exit "$failed"
