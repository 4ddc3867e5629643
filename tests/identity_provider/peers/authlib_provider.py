"""Authlib's OAuth 2.0 server with the device grant, of another dialect than oidc-provider: an issuer with a path, the client's secret in the body only, keys
without ids, EdDSA, no userinfo, no offline_access, refresh tokens that stay, truths as texts, and 403 where RFC 8628 has 400.

    authlib_provider.py PORT

POST /control/sign-in?user_code=…&account=…, /control/refuse?user_code=…, /control/revoke, /control/rotate, /control/clock?seconds=….
"""

import sys
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, RefreshTokenGrant, TokenMixin
from authlib.oauth2.rfc8628 import DEVICE_CODE_GRANT_TYPE, DeviceAuthorizationEndpoint, DeviceCodeGrant, DeviceCredentialDict
from flask import Flask, jsonify, request
from joserfc import jwk, jwt

PORT = int(sys.argv[1])
ISSUER = f"http://127.0.0.1:{PORT}/realms/acme"
SECRET = "authlib-secret"
GROUPS = {"ann": ["staff"], "eve": ["guests"]}

app = Flask(__name__)
state = {"key": jwk.OKPKey.generate_key("Ed25519"), "clock": 0}
devices, answers, tokens = {}, {}, {}


class Client(ClientMixin):
    def get_client_id(self):
        return "support bot"

    def get_allowed_scope(self, scope):
        return scope

    def check_client_secret(self, secret):
        return secret == SECRET

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_post"

    def check_grant_type(self, grant_type):
        return grant_type in (DEVICE_CODE_GRANT_TYPE, "refresh_token")


class RefreshToken(TokenMixin):
    def __init__(self, account, scope):
        self.account, self.scope = account, scope

    def check_client(self, client):
        return True

    def get_scope(self):
        return self.scope


def save_token(token, form):
    now = int(time.time()) + state["clock"]
    claims = {
        "iss": ISSUER, "aud": ["support bot"], "sub": f"uid/{form.user}", "iat": now, "exp": now + 120, "email_verified": "true",
        "realm_access": {"roles": GROUPS[form.user]},
    }
    token["id_token"] = jwt.encode({"alg": "EdDSA"}, claims, state["key"], algorithms=["EdDSA"])
    if "refresh_token" in token:
        tokens[token["refresh_token"]] = RefreshToken(form.user, token.get("scope", ""))


class DeviceEndpoint(DeviceAuthorizationEndpoint):
    CLIENT_AUTH_METHODS = ["client_secret_post"]

    def get_verification_uri(self):
        return f"{ISSUER}/activate"

    def save_device_credential(self, client_id, scope, data):
        devices[data["device_code"]] = DeviceCredentialDict(client_id=client_id, scope=scope, expires_at=time.time() + 300, **data)


class DeviceGrant(DeviceCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]

    def query_device_credential(self, device_code):
        return devices.get(device_code)

    def query_user_grant(self, user_code):
        answer = answers.get(user_code)
        if answer and answer[1]:
            # Once.
            for code in [c for c, d in devices.items() if d["user_code"] == user_code]:
                del devices[code]
        return answer

    def should_slow_down(self, credential):
        last, credential["polled"] = credential.get("polled", 0), time.time()
        return time.time() - last < 0.2


class RefreshGrant(RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]

    def authenticate_refresh_token(self, refresh_token):
        return tokens.get(refresh_token)

    def authenticate_user(self, token):
        return token.account

    def revoke_old_credential(self, token):
        pass


server = AuthorizationServer(app, lambda client_id: Client() if client_id == "support bot" else None, save_token)
app.config["OAUTH2_REFRESH_TOKEN_GENERATOR"] = True
server.init_app(app)
server.register_grant(DeviceGrant)
server.register_grant(RefreshGrant)
server.register_endpoint(DeviceEndpoint)


@app.get("/realms/acme/.well-known/openid-configuration")
def metadata():
    return jsonify(
        issuer=ISSUER, authorization_endpoint=f"{ISSUER}/auth", token_endpoint=f"{ISSUER}/token", jwks_uri=f"{ISSUER}/keys",
        device_authorization_endpoint=f"{ISSUER}/device", response_types_supported=["code"], subject_types_supported=["public"],
        id_token_signing_alg_values_supported=["EdDSA"], token_endpoint_auth_methods_supported=["client_secret_post"],
    )


@app.get("/realms/acme/keys")
def keys():
    key = {name: value for name, value in state["key"].as_dict(private=False).items() if name != "kid"}
    return jsonify(keys=[{**key, "use": "sig", "alg": "EdDSA"}])


@app.post("/realms/acme/device")
def device():
    return server.create_endpoint_response("device_authorization")


@app.post("/realms/acme/token")
def token():
    response = server.create_token_response()
    if response.status_code == 400:
        response.status_code = 403
    return response


@app.post("/control/<what>")
def control(what):
    code, account = request.args.get("user_code"), request.args.get("account")
    if what == "sign-in":
        answers[code] = (account, True)
    elif what == "refuse":
        answers[code] = (None, False)
    elif what == "revoke":
        tokens.clear()
    elif what == "rotate":
        state["key"] = jwk.OKPKey.generate_key("Ed25519")
    elif what == "clock":
        state["clock"] = int(request.args["seconds"])
    return "done"


app.run(port=PORT)
