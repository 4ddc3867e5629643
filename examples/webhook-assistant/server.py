"""An assistant behind the Webhook protocol (docs/assistants.md), with Python's standard library alone.

    WEBHOOK_KEY=... python server.py [PORT]
"""
import base64, hashlib, hmac, json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = os.environ["WEBHOOK_KEY"].encode()
answers = {}  # What was answered to which message: an attempt that is repeated gets the same answer.


def is_genuine(headers, body):
    sent = headers.get("webhook-timestamp", "")
    if not sent.isdigit() or abs(time.time() - int(sent)) > 300:
        return False  # Older than five minutes: a replay.
    signed = f"{headers.get('webhook-id', '')}.{sent}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return hmac.compare_digest(expected, headers.get("webhook-signature", ""))


class Assistant(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_genuine(self.headers, body):
            return self.send_error(401)
        message = json.loads(body)
        turn = int(message["session"].get("state", 0)) + 1
        answer = {"text": f"Hello {message['user']['name']}, you said: *{message['text']}* (message {turn})", "state": str(turn)}
        reply = json.dumps(answers.setdefault(message["id"], answer)).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)


ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Assistant).serve_forever()
