"""Sign-in from the first message to the answer: the operator's `dev` with a connector whose members sign in at the npm package oidc-provider.

    whole_way.py OPERATOR ISSUER CONTROL

A person, an account without the claim, the same account from two Telegram accounts, and /logout. Ends with 1 and the messages that were sent where
something is missing.
"""
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

operator, issuer, control = sys.argv[1:]
BOT, ANN, EVE, OTHER_PHONE = 7000001, 5001, 5002, 5003
MANIFEST = """\
apiVersion: v1
kind: Namespace
metadata: {name: acme}
---
apiVersion: v1
kind: Secret
metadata: {name: support-bot, namespace: acme}
stringData: {token: "7000001:quickstart-not-a-real-token"}
---
apiVersion: v1
kind: Secret
metadata: {name: sign-in, namespace: acme}
stringData: {client-secret: "basic secret +&%"}
---
apiVersion: connectors.pupau.ai/v1alpha1
kind: TelegramConnector
metadata: {name: support, namespace: acme}
spec:
  botTokenSecretRef: {name: support-bot}
  assistant: {protocol: OpenAI, url: "http://127.0.0.1:8081/v1", model: sample}
  access:
    level: Company
    companyUsers:
      oidc:
        issuer: ISSUER
        clientId: basic
        clientSecretRef: {name: sign-in}
        requiredClaims: [{claim: groups, values: [staff]}]
"""
with socket.create_server(("127.0.0.1", 0)) as free:
    telegram = f"127.0.0.1:{free.getsockname()[1]}"


def call(url, body=None, post=False):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=b"" if post else data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def sent(chat):
    messages = json.loads(call(f"http://{telegram}/control/bots/{BOT}/sent"))
    return [message["text"] for message in messages if message["chat_id"] == chat]


def until(what, look):
    """Waits at most a minute for what `look` gives."""
    for _ in range(300):
        try:
            if found := look():
                return found
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"sign-in: {what} did not come; sent: {json.dumps({c: sent(c) for c in (ANN, EVE, OTHER_PHONE)}, indent=1)}")


def say(user, text):
    call(f"http://{telegram}/control/say", {"bot": BOT, "from": user, "text": text})


def link(user, number):
    """The link of the user's sign-in with this number, counted from 1."""
    links = [found[0] for text in sent(user) if (found := re.search(re.escape(issuer) + r"/device\?user_code=\S+", text))]
    return links[number - 1] if len(links) >= number else None


def sign_in(user, number, account):
    uri = until(f"link {number} for {user}", lambda: link(user, number))
    call(f"{control}/sign-in?{urllib.parse.urlencode({'uri': uri, 'account': account})}", post=True)


def answered(user, text):
    until(f"the answer to {text!r}", lambda: any(f"You said: {text}" in message for message in sent(user)))


def told(user, words):
    until(f"{words!r} for {user}", lambda: any(words in message for message in sent(user)))


with tempfile.TemporaryDirectory() as folder:
    manifest = Path(folder, "connector.yaml")
    manifest.write_text(MANIFEST.replace("ISSUER", issuer))
    log = Path(folder, "dev.log").open("w+")
    dev = subprocess.Popen([operator, "dev", "--telegram-listen", telegram, "--log-level", "warn", str(manifest)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until("the simulated Telegram", lambda: call(f"http://{telegram}/control/bots"))
        say(ANN, "Who are you?")
        until("the first link", lambda: link(ANN, 1))
        assert not any("You said" in text for text in sent(ANN)), "answered before access"
        sign_in(ANN, 1, "ann")
        answered(ANN, "Who are you?")

        say(EVE, "Let me in")
        sign_in(EVE, 1, "eve")
        told(EVE, "your account has no access")
        assert not any("You said" in text for text in sent(EVE)), "answered without the claim"

        say(OTHER_PHONE, "It is Ann")
        sign_in(OTHER_PHONE, 1, "ann")
        told(ANN, "You have been signed out here")
        answered(OTHER_PHONE, "It is Ann")
        say(ANN, "And here?")
        until("a second link for the first account", lambda: link(ANN, 2))

        say(OTHER_PHONE, "/logout")
        told(OTHER_PHONE, "You are signed out.")
        say(OTHER_PHONE, "Still there?")
        until("a link after /logout", lambda: link(OTHER_PHONE, 2))
        assert not any("Still there?" in text for text in sent(OTHER_PHONE)), "answered after /logout"
    except BaseException:
        log.seek(0)
        print(log.read()[-4000:], file=sys.stderr)
        raise
    finally:
        dev.terminate()
        dev.wait()
print("sign-in: from the first message to the answer, and out again")
