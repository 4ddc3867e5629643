"""Answers a Webhook request if PyPI's standardwebhooks finds its signature right: the peer of `foreign.rs`.

    python webhook_receiver.py PORT KEY
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks.webhooks import Webhook


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            Webhook(sys.argv[2]).verify(body, {k.lower(): v for k, v in self.headers.items()})
        except Exception as error:
            return self.send_error(401, str(error))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for data in ({"text": "Signed "}, {"text": "well."}):
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")


HTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
