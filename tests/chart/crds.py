#!/usr/bin/env python3
"""The chart's CRDs on the custom-resource API server of a new Kubernetes, as Helm 4 applies them: server-side, strictly, as manager `helm`.

    crds.py KUBECONFIG RENDERED    KUBECONFIG of the server; RENDERED is what `helm template` printed

Installs an older version of the CRDs, makes objects, upgrades, rolls back and upgrades again with the objects in place, and removes. Needs
Python alone, so it goes by the API's paths: that server has no discovery for kubectl or Helm.
"""

import base64
import json
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS = "/apis/connectors.pupau.ai/v1alpha1/namespaces/acme"


class Server:
    def __init__(self, kubeconfig):
        text = open(kubeconfig).read()

        def file(field):
            inline = re.search(rf"{field}-data: *\"?([A-Za-z0-9+/=]+)", text)
            if not inline:
                return re.search(rf"{field}: *\"?([^\s\"]+)", text).group(1)
            kept = tempfile.NamedTemporaryFile(suffix=".pem")
            kept.write(base64.b64decode(inline.group(1)))
            kept.flush()
            self.kept.append(kept)
            return kept.name

        self.kept, self.warnings = [], []
        self.root = re.search(r"server: *\"?(https://[^\s\"]+)", text).group(1)
        self.tls = ssl.create_default_context(cafile=file("certificate-authority"))
        self.tls.load_cert_chain(file("client-certificate"), file("client-key"))

    def call(self, method, path, body=None, kind="application/json"):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"content-type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                self.warnings += answer.headers.get_all("Warning", [])
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def apply(self, definition):
        """As Helm 4 does: server-side, without force, so that a conflict would be seen."""
        name = re.search(r"^  name: (\S+)$", definition, re.M).group(1)
        path = f"{CRDS}/{name}?fieldManager=helm&fieldValidation=Strict"
        status, answer = self.call("PATCH", path, definition.encode(), "application/apply-patch+yaml")
        assert status in (200, 201), answer
        return name

    def established(self, name):
        for _ in range(200):
            conditions = (self.call("GET", f"{CRDS}/{name}")[1].get("status") or {}).get("conditions") or []
            found = {condition["type"]: condition["status"] for condition in conditions}
            if found.get("Established") == "True":
                assert "NonStructuralSchema" not in found, conditions
                return
            time.sleep(0.05)
        raise AssertionError(f"{name} is not established")


def until(what, look):
    for _ in range(200):
        if look():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited for: {what}")


def definitions(rendered):
    split = subprocess.run([sys.executable, __file__.replace("crds.py", "documents.py"), "only", "CustomResourceDefinition"], stdin=open(rendered), stdout=subprocess.PIPE, check=True)
    return split.stdout.decode().split("---\n")


def older(definition):
    """A version before `limits` and before one of the CEL rules were thought of."""
    lines, kept, skip = definition.splitlines(keepends=True), [], None
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if skip is not None and indent > skip:
            continue
        skip = None
        if re.match(r" +limits:\n$", line):
            skip = indent
            continue
        kept.append(line)
    return "".join(kept)


def connector(**spec):
    whole = {
        "botTokenSecretRef": {"name": "support-bot"},
        "assistant": {"protocol": "A2A", "url": "http://agent.acme.svc"},
        "access": {"level": "Open"},
        **spec,
    }
    return {"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramConnector", "metadata": {"name": "support"}, "spec": whole}


def main(kubeconfig, rendered):
    server, new = Server(kubeconfig), definitions(rendered)
    assert len(new) == 3, len(new)
    old = [older(definition) for definition in new]
    differ = [re.search(r"^  name: (\S+)$", a, re.M).group(1) for a, b in zip(new, old) if a != b]
    assert differ == ["telegramconnectors.connectors.pupau.ai"], differ
    for definition in old:
        server.established(server.apply(definition))

    strict = "?fieldValidation=Strict"
    limited = connector(limits={"messagesPerMinute": 6})
    status, answer = server.call("POST", f"{OBJECTS}/telegramconnectors{strict}", limited)
    assert status == 400 and "limits" in answer["message"], answer
    status, made = server.call("POST", f"{OBJECTS}/telegramconnectors{strict}", connector())
    assert status == 201, made
    users = {"apiVersion": "connectors.pupau.ai/v1alpha1", "kind": "TelegramUserList", "metadata": {"name": "staff"}, "spec": {"users": [{"id": 1001}]}}
    status, answer = server.call("POST", f"{OBJECTS}/telegramuserlists{strict}", users)
    assert status == 201, answer

    here = f"{OBJECTS}/telegramconnectors/support"

    def set_limit(value):
        patch = {"spec": {"limits": {"messagesPerMinute": value}}}
        return server.call("PATCH", f"{here}{strict}", patch, "application/merge-patch+json")[0]

    for definition in new:
        server.established(server.apply(definition))
    until("the new field is served", lambda: set_limit(6) == 200)
    assert set_limit(0) == 422
    status, found = server.call("GET", here)
    assert status == 200 and found["metadata"]["uid"] == made["metadata"]["uid"], found
    status, answer = server.call("PATCH", f"{here}{strict}", {"spec": {"access": {"level": "Company"}}}, "application/merge-patch+json")
    assert status == 422 and "companyUsers" in answer["message"], answer

    for definition in old:
        server.established(server.apply(definition))
    until("the rollback is served", lambda: "limits" not in server.call("GET", here)[1]["spec"])
    for definition in new:
        server.established(server.apply(definition))
    status, found = server.call("GET", here)
    assert status == 200 and found["metadata"]["uid"] == made["metadata"]["uid"], found

    assert not server.warnings, server.warnings
    for definition in new:
        name = re.search(r"^  name: (\S+)$", definition, re.M).group(1)
        server.call("DELETE", f"{CRDS}/{name}")
        until(f"{name} is gone", lambda: server.call("GET", f"{CRDS}/{name}")[0] == 404)
    print("chart: CRDs installed, upgraded with objects in place, rolled back and removed on the custom-resource API server, without a warning")


if __name__ == "__main__":
    main(*sys.argv[1:3])
