#!/usr/bin/env bash
# The documentation as a searchable site in target/book: built by mdBook without a warning, every link and anchor in it leads somewhere.
# Gets mdBook from PyPI (or a mirror of it) into target/mdbook where it lacks; needs python3 with venv. MDBOOK names another mdbook.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT

if [ -z "${MDBOOK:-}" ]; then
  MDBOOK=target/mdbook/bin/mdbook
  if ! cmp -s tests/docs/requirements.txt target/mdbook/requirements.txt; then
    rm -rf target/mdbook
    mkdir -p target
    python3 -m venv target/mdbook
    target/mdbook/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r tests/docs/requirements.txt
    cp tests/docs/requirements.txt target/mdbook
  fi
fi

rm -rf target/book
"$MDBOOK" build docs >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
if grep -E '^ *(WARN|ERROR)' "$log" >&2; then
  echo "docs: mdBook warns (a bare <word> is an HTML tag: write \\<word> or put it into backticks)" >&2
  exit 1
fi
python3 tests/docs/links.py target/book
