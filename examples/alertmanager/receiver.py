"""Alertmanager's webhook receiver: each notification becomes one OutgoingMessage. Only Python's standard library."""
import hashlib, http.server, json, os, ssl, urllib.error, urllib.request

ACCOUNT = os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")
API = os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
NAMESPACE, CONNECTOR, CHAT = os.environ["NAMESPACE"], os.environ["CONNECTOR"], int(os.environ["CHAT"])
URL = f"{API}/apis/data.connectors.pupau.ai/v1alpha1/namespaces/{NAMESPACE}/outgoingmessages"
TLS = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt")

def message(notification):
    alerts = notification["alerts"]
    lines = [f"**{notification['status'].upper()}** {notification['groupLabels'].get('alertname', '')} ({len(alerts)})"]
    for alert in alerts[:20]:
        words = alert["annotations"].get("summary") or alert["annotations"].get("description") or alert["labels"].get("alertname", "")
        lines.append(f"- {'🔥' if alert['status'] == 'firing' else '✅'} {words[:500]}")
    # The same alerts in the same state are one message: Alertmanager repeats what was not answered, and what goes on.
    states = sorted((a["fingerprint"], a["status"], a["startsAt"]) for a in alerts)
    key = hashlib.sha256(json.dumps([notification["groupKey"], states]).encode()).hexdigest()
    spec = {"connector": CONNECTOR, "to": {"chat": CHAT}, "text": "\n".join(lines), "idempotencyKey": key,
            "silent": notification["status"] == "resolved"}
    return {"apiVersion": "data.connectors.pupau.ai/v1alpha1", "kind": "OutgoingMessage", "metadata": {"generateName": "alert-"}, "spec": spec}

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        try:
            body = message(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            token = open(f"{ACCOUNT}/token").read().strip()  # Kubernetes replaces it every hour.
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            request = urllib.request.Request(URL, json.dumps(body).encode(), headers)
            status = urllib.request.urlopen(request, context=TLS, timeout=10).status
        except urllib.error.HTTPError as error:
            print(error.code, error.read().decode(), flush=True)
            status = 503 if error.code == 429 or error.code >= 500 else 400  # Only a 5xx is tried again.
        except (OSError, KeyError, ValueError) as error:
            print(repr(error), flush=True)
            status = 503 if isinstance(error, OSError) else 400
        self.send_response(status)
        self.end_headers()

http.server.ThreadingHTTPServer(("", int(os.environ.get("PORT", "9095"))), Receiver).serve_forever()
