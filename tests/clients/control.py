"""The simulator's control interface."""

import json
import urllib.request


def control(root: str, method: str, path: str, body=None):
    request = urllib.request.Request(
        f"{root}/control{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)
