"""examples/alertmanager/receiver.py as it runs in its Pod: notifications as Alertmanager 0.25 sent them (alertmanager.json), and an API server over TLS that
answers as it is told."""
import http.server, json, os, pathlib, socket, ssl, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

ROOT = pathlib.Path(__file__).parents[2]
FIRING, RESOLVED = json.loads((ROOT / "tests/examples/alertmanager.json").read_text())
asked, answers = [], []


class ApiServer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(answers.pop(0))
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def post(port, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", body)
    for _ in range(100):
        try:
            return urllib.request.urlopen(request, timeout=10).status
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError:
            time.sleep(0.1)
    sys.exit("the receiver does not answer")


def main():
    with tempfile.TemporaryDirectory() as account:
        certificate, key = f"{account}/ca.crt", f"{account}/key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        pathlib.Path(f"{account}/token").write_text("made-up-token\n")
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = free_port()
        environment = {**os.environ, "SERVICE_ACCOUNT": account, "KUBERNETES_API": f"https://localhost:{server.server_port}", "NAMESPACE": "acme",
                       "CONNECTOR": "support", "CHAT": "-1001234567890", "PORT": str(port)}
        receiver = subprocess.Popen([sys.executable, ROOT / "examples/alertmanager/receiver.py"], env=environment,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            check(lambda notification: post(port, notification))
        finally:
            receiver.kill()
            receiver.wait()


def check(send):
    firing, resolved = json.dumps(FIRING).encode(), json.dumps(RESOLVED).encode()
    # What is answered so, is tried again by Alertmanager (5xx), or not.
    for answer, expected in [(201, 201), (503, 503), (429, 503), (422, 400), (403, 400)]:
        answers.append(answer)
        status = send(firing)
        assert status == expected, f"{answer} becomes {status}"
    assert send(b"{}") == 400 and send(b"no JSON") == 400
    answers.append(201)
    assert send(resolved) == 201
    path, authorization, message = asked[0]
    assert path == "/apis/data.connectors.pupau.ai/v1alpha1/namespaces/acme/outgoingmessages", path
    assert authorization == "Bearer made-up-token", authorization
    spec = message["spec"]
    assert spec["connector"] == "support" and spec["to"] == {"chat": -1001234567890}, spec
    assert spec["text"] == "**FIRING** HighLatency (2)\n- 🔥 p99 is 3 s at pod a\n- 🔥 HighLatency", spec
    keys = {body["spec"]["idempotencyKey"] for _, _, body in asked[:-1]}
    last = asked[-1][2]["spec"]
    assert len(keys) == 1 and last["idempotencyKey"] not in keys and last["silent"], asked
    print("alertmanager/receiver.py: each notification is one message, whatever the API server answers")


main()
