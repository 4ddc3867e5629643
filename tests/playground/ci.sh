#!/usr/bin/env bash
# The page of `dev` in a real browser: Chromium (Debian's package), driven by playwright-core; axe-core looks at what it shows. And the pictures of
# docs/playground.md are those of this page: they are drawn by PICTURES=docs, which leaves the hash of what they were drawn from beside them.
#
#   OPERATOR=target/debug/telegram-connector-operator tests/playground/ci.sh
#   PICTURES=docs OPERATOR=… tests/playground/ci.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for command in node npm chromium; do
  command -v "$command" >/dev/null || { echo "playground: no $command here: install Debian's packages nodejs, npm and chromium; nothing was checked" >&2; exit 1; }
done
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator}
PLAYWRIGHT=1.65.1 AXE=4.14.1
work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT

drawn_from=$(cat crates/playground/assets/playground.* crates/playground/src/view/*.rs | sha256sum | cut -d' ' -f1)
if [ -z "${PICTURES:-}" ] && [ "$drawn_from" != "$(cat docs/playground.sha256)" ]; then
  echo "playground: docs/playground-light.png and -dark.png are older than the page: PICTURES=docs tests/playground/ci.sh draws them anew" >&2
  exit 1
fi

npm install --prefix "$work" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts "playwright-core@$PLAYWRIGHT" "axe-core@$AXE" >"$work/npm" 2>&1 ||
  { cat "$work/npm" >&2; echo "playground: npm cannot install playwright-core and axe-core" >&2; exit 1; }
cp tests/playground/manifests/connector.yaml "$work/connector.yaml"
"$OPERATOR" dev --log-level warn "$work/connector.yaml" </dev/null >"$work/dev" 2>&1 & started+=($!)
for _ in $(seq 300); do
  grep -q "tgc -A" "$work/dev" && break
  kill -0 "${started[0]}" 2>/dev/null || { cat "$work/dev" >&2; exit 1; }
  sleep 0.1
done
PAGE=$(grep -o 'Open http://[^ ]*' "$work/dev" | cut -d' ' -f2)
CONTROL=$(sed -n 's/^ *Telegram  *//p' "$work/dev")control
ASSISTANT=$(sed -n 's/^ *assistant  *//p' "$work/dev")
export PAGE CONTROL ASSISTANT MANIFEST=$work/connector.yaml MODULES=$work
node tests/playground/browser.mjs || { echo "playground: what dev said:" >&2; tail -20 "$work/dev" >&2; exit 1; }
if [ -n "${PICTURES:-}" ]; then
  echo "$drawn_from" >"$PICTURES/playground.sha256"
  ls -l "$PICTURES"/playground-*.png
fi
