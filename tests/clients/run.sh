#!/usr/bin/env bash
# Lets bots written in other frameworks (aiogram and python-telegram-bot, from PyPI) run against the Bot API simulator: they poll, get
# messages and taps, answer, and send files. Needs the internet for the package; a temporary folder takes everything. Ends with another status than 0 on failure.
#
# TELEGRAM_BINARY: the operator's binary; absent: built by cargo.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
work=$(mktemp -d)
simulator=""
finish() {
  [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

binary=${TELEGRAM_BINARY:-}
if [ -z "$binary" ]; then
  cargo build --quiet --bin telegram-connector-operator
  binary=${CARGO_TARGET_DIR:-target}/debug/telegram-connector-operator
fi

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$binary" dev telegram --listen "127.0.0.1:$port" >"$work/simulator.log" 2>&1 &
simulator=$!
for _ in $(seq 100); do
  curl --silent --fail --noproxy '*' "http://127.0.0.1:$port/control" >/dev/null && break
  kill -0 "$simulator" 2>/dev/null || { cat "$work/simulator.log" >&2; exit 1; }
  sleep 0.1
done

for bot in aiogram_bot python_telegram_bot; do
  timeout 120 "$work/venv/bin/python" "$here/$bot.py" "http://127.0.0.1:$port"
done
