#!/usr/bin/env bash
# Sign-in at identity providers that are not ours, on loopback: oidc-provider from the npm registry, twice (groups in the ID token, and from userinfo), and Authlib's
# server from PyPI. People sign in there as with a browser: first through the operator (OPERATOR names the binary), then the client alone. Takes three
# minutes, two of which wait for the next time that keys may be read.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
for command in node npm python3; do
  command -v "$command" >/dev/null || { echo "identity_provider: no $command here; nothing was checked" >&2; exit 1; }
done
OIDC_PROVIDER=9.13.3 tests=11 peers=tests/identity_provider/peers
work=$(mktemp -d)
started=()
cleanup() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  rm -rf "$work"
}
trap cleanup EXIT
export PYTHONDONTWRITEBYTECODE=1
OPERATOR=${OPERATOR:-target/debug/telegram-connector-operator}

npm install --prefix "$work" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts "oidc-provider@$OIDC_PROVIDER" >"$work/npm" 2>&1 ||
  { cat "$work/npm" >&2; echo "identity_provider: npm cannot install oidc-provider" >&2; exit 1; }
python3 -m venv "$work/venv"
# The list is complete.
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$peers/requirements.txt"

read -r token token_control userinfo userinfo_control authlib < <(python3 -c "import socket
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range(5)]
print(*(s.getsockname()[1] for s in sockets))")
serve() { # NAME PORT COMMAND...: until it listens
  "${@:3}" >"$work/$1.log" 2>&1 & started+=($!)
  for _ in $(seq 300); do
    python3 -c "import socket; socket.create_connection(('127.0.0.1', $2), 1)" 2>/dev/null && return
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.1
  done
  cat "$work/$1.log" >&2; echo "identity_provider: nobody listens for $1" >&2; exit 1
}
export MODULES=$work
serve token "$token_control" node "$peers/oidc_provider.mjs" "$token" "$token_control" token
serve userinfo "$userinfo_control" node "$peers/oidc_provider.mjs" "$userinfo" "$userinfo_control" userinfo
AUTHLIB_INSECURE_TRANSPORT=1 serve authlib "$authlib" "$work/venv/bin/python" "$peers/authlib_provider.py" "$authlib"
export OIDC_PROVIDER_TOKEN=http://127.0.0.1:$token OIDC_PROVIDER_TOKEN_CONTROL=http://127.0.0.1:$token_control
export OIDC_PROVIDER_USERINFO=http://127.0.0.1:$userinfo OIDC_PROVIDER_USERINFO_CONTROL=http://127.0.0.1:$userinfo_control
export AUTHLIB=http://127.0.0.1:$authlib/realms/acme AUTHLIB_CONTROL=http://127.0.0.1:$authlib/control

python3 tests/identity_provider/whole_way.py "$OPERATOR" "$OIDC_PROVIDER_TOKEN" "$OIDC_PROVIDER_TOKEN_CONTROL"

binary=$(cargo rustc --quiet --test identity_provider --message-format=json -- --cfg foreign_peers | sed -n 's/.*"executable":"\([^"]*\/identity_provider-[^"]*\)".*/\1/p' | tail -n 1)
[ -n "$binary" ] || { echo "identity_provider: the tests do not compile" >&2; exit 1; }
# They share the providers, whose clocks and keys they change.
"$binary" --test-threads 1 2>&1 | tee "$work/result"
grep -q "^test result: ok. $tests passed; 0 failed; 0 ignored" "$work/result" || {
  tail -n 20 "$work"/*.log >&2
  echo "identity_provider: not all $tests tests ran and passed" >&2
  exit 1
}
