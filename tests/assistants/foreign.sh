#!/bin/sh
# Runs the assistant clients against servers that are not ours, from PyPI: agents on a2a-sdk 1.x and 0.3, LiteLLM's proxy, llama.cpp's
# server (xllamacpp), the reference library of Standard Webhooks; and against the example server. Needs python3 with venv, and PyPI or a mirror of it.
# The virtual environments are kept in target/foreign. Set FOREIGN_PYTHON for another interpreter.
set -eu
cd "$(dirname "$0")/../.."
tests=24
home=${CARGO_TARGET_DIR:-target}/foreign
python=${FOREIGN_PYTHON:-python3}
peers=tests/assistants/peers
pids=

stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap stop EXIT
trap 'exit 1' INT TERM

venv() { # NAME PACKAGE...: a virtual environment with these packages
    name=$1
    shift
    if [ ! -e "$home/$name/installed" ]; then
        echo "installing $*"
        "$python" -m venv "$home/$name"
        "$home/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
        touch "$home/$name/installed"
    fi
}

free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

serve() { # LOG COMMAND...: starts a server; its pid is kept
    log=$home/$1.log
    shift
    "$@" >"$log" 2>&1 &
    echo $! >"${log%.log}.pid"
    pids="$pids $!"
}

await() { # PORT LOG: until the server listens there
    for _ in $(seq 240); do
        "$python" -c "import socket; socket.create_connection(('127.0.0.1', $1), 1)" 2>/dev/null && return
        kill -0 "$(cat "$home/$2.pid")" 2>/dev/null || break
        sleep 0.5
    done
    echo "nobody listens on port $1:" >&2
    tail -n 20 "$home/$2.log" >&2
    exit 1
}

mkdir -p "$home"
venv a2a-1 'a2a-sdk[http-server]>=1.3,<2' uvicorn standardwebhooks
venv a2a-0.3 'a2a-sdk[http-server]>=0.3.26,<0.4' uvicorn
venv litellm 'litellm[proxy]'
venv llama-cpp xllamacpp gguf

p1=$(free_port)
p2=$(free_port)
p3=$(free_port)
p4=$(free_port)
p5=$(free_port)
p6=$(free_port)
p7=$(free_port)
p8=$(free_port)
p9=$(free_port)
serve a2a-1-streaming "$home/a2a-1/bin/python" $peers/a2a_agent.py "$p1" streaming
serve a2a-1-waiting "$home/a2a-1/bin/python" $peers/a2a_agent.py "$p2" waiting
serve a2a-0.3-streaming "$home/a2a-0.3/bin/python" $peers/a2a_agent.py "$p3" streaming
serve a2a-0.3-waiting "$home/a2a-0.3/bin/python" $peers/a2a_agent.py "$p4" waiting
serve standardwebhooks "$home/a2a-1/bin/python" $peers/webhook_receiver.py "$p5" whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
WEBHOOK_KEY=example-key serve example "$python" examples/webhook-assistant/server.py "$p6"
litellm_key=sk-$("$python" -c 'import secrets; print(secrets.token_hex(32))')
EARS=http://127.0.0.1:$p9/v1 LITELLM_MASTER_KEY=$litellm_key LITELLM_LOCAL_MODEL_COST_MAP=True serve litellm \
    "$home/litellm/bin/litellm" --config $peers/litellm.yaml --host 127.0.0.1 --port "$p7"

serve llama-cpp "$home/llama-cpp/bin/python" $peers/llama_cpp.py "$p8" "$home" llama-key

binary=$(cargo rustc --quiet --test assistants --message-format=json -- --cfg foreign_peers |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)

await "$p1" a2a-1-streaming
await "$p2" a2a-1-waiting
await "$p3" a2a-0.3-streaming
await "$p4" a2a-0.3-waiting
await "$p5" standardwebhooks
await "$p6" example
await "$p7" litellm
await "$p8" llama-cpp
# LiteLLM's way on from a recording.
serve ears "$(dirname "$binary")/../telegram-connector-operator" dev assistant --listen "127.0.0.1:$p9"
await "$p9" ears

A2A_1_STREAMING=http://127.0.0.1:$p1 A2A_1_WAITING=http://127.0.0.1:$p2 \
    A2A_03_STREAMING=http://127.0.0.1:$p3 A2A_03_WAITING=http://127.0.0.1:$p4 \
    STANDARD_WEBHOOKS=http://127.0.0.1:$p5 EXAMPLE_SERVER=http://127.0.0.1:$p6 LITELLM=http://127.0.0.1:$p7/v1 LITELLM_KEY=$litellm_key \
    LLAMA_CPP=http://127.0.0.1:$p8/v1 RUST_BACKTRACE=0 "$binary" foreign:: 2>&1 | tee "$home/result"
grep -q "^test result: ok. $tests passed; 0 failed; 0 ignored" "$home/result" || {
    echo "not all $tests tests against foreign servers ran and passed" >&2
    exit 1
}
echo "against: $("$home/a2a-1/bin/pip" list 2>/dev/null | grep -E '^(a2a-sdk|standardwebhooks)' | tr -s ' ' | tr '\n' ',') $("$home/a2a-0.3/bin/pip" list 2>/dev/null | grep -E '^a2a-sdk' | tr -s ' '), $("$home/litellm/bin/pip" list 2>/dev/null | grep -E '^litellm ' | tr -s ' '), $("$home/llama-cpp/bin/pip" list 2>/dev/null | grep -E '^xllamacpp ' | tr -s ' ')"
