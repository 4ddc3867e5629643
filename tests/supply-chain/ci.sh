#!/usr/bin/env bash
# What the image is made of: every crate has a licence that is allowed, and the SBOM and the licence texts can be written.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
python3 tests/supply-chain/test_sbom.py
python3 tests/supply-chain/sbom.py "$out"
