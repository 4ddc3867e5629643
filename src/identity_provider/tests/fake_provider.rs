//! A provider that does what real ones cannot be made to do.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// A key pair of the provider.
pub(super) enum SigningKey {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl SigningKey {
    pub(super) fn es256() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let document = document.expect("a key");
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let key = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Self::Es256(key.expect("a key"))
    }

    pub(super) fn ed_dsa() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Es256(key) => {
                let point = key.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "use": "sig", "kid": kid,
                    "x": base64(&point[1..33]), "y": base64(&point[33..65]),
                })
            }
            Self::EdDsa(key) => json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid,
                "x": base64(key.public_key().as_ref()),
            }),
        }
    }

    /// A token with these claims.
    pub(super) fn sign(&self, kid: &str, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": kid});
        let text = unsigned(&header, claims);
        let signature = match self {
            Self::Es256(key) => {
                let signed = key.sign(&SystemRandom::new(), text.as_bytes());
                signed.expect("a signature").as_ref().to_vec()
            }
            Self::EdDsa(key) => key.sign(text.as_bytes()).as_ref().to_vec(),
        };
        format!("{text}.{}", base64(&signature))
    }

    /// A token that is "signed" with what everybody may know.
    pub(super) fn sign_with_public_key(&self, kid: &str, claims: &Value) -> String {
        let jwk = self.jwk(kid).to_string();
        let text = unsigned(&json!({"alg": "HS256", "kid": kid}), claims);
        let key = hmac::Key::new(hmac::HMAC_SHA256, jwk.as_bytes());
        let signature = hmac::sign(&key, text.as_bytes());
        format!("{text}.{}", base64(signature.as_ref()))
    }
}

/// A token without a signature.
pub(super) fn without_signature(claims: &Value) -> String {
    format!("{}.", unsigned(&json!({"alg": "none"}), claims))
}

fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

fn base64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// What the provider does, to be changed by a test at any time.
pub(super) struct Behaviour {
    /// Changes to its metadata.
    pub(super) metadata: Value,
    /// Its keys, by their ids.
    pub(super) keys: Vec<(&'static str, SigningKey)>,
    /// How often the keys were read.
    pub(super) keys_read: usize,
    /// The next answers of the token endpoint; then `authorization_pending`.
    pub(super) tokens: VecDeque<(u16, Value)>,
    /// The forms that were posted, with the header `Authorization`.
    pub(super) forms: Vec<(Option<String>, String)>,
    pub(super) userinfo: Option<Value>,
    /// In place of everything: a status with a body and a place to go.
    pub(super) everything: Option<(u16, Vec<u8>, &'static str)>,
    /// Nothing is ever answered.
    pub(super) hangs: bool,
}

/// A provider on a port of its own.
pub(super) struct FakeProvider {
    pub(super) issuer: String,
    pub(super) behaviour: Arc<Mutex<Behaviour>>,
}

type Shared = (String, Arc<Mutex<Behaviour>>);

impl FakeProvider {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("an address"));
        let behaviour = Arc::new(Mutex::new(Behaviour {
            metadata: json!({}),
            keys: vec![("first", SigningKey::es256())],
            keys_read: 0,
            tokens: VecDeque::new(),
            forms: Vec::new(),
            userinfo: None,
            everything: None,
            hangs: false,
        }));
        let state: Shared = (issuer.clone(), behaviour.clone());
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/device", post(device))
            .route("/token", post(token))
            .route("/userinfo", get(userinfo))
            .layer(axum::middleware::from_fn_with_state(state.clone(), instead))
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { issuer, behaviour }
    }

    pub(super) fn answer(&self, status: u16, body: Value) {
        self.behaviour.lock().tokens.push_back((status, body));
    }

    /// A token of the first key.
    pub(super) fn signed(&self, claims: &Value) -> String {
        let behaviour = self.behaviour.lock();
        let (kid, key) = &behaviour.keys[0];
        key.sign(kid, claims)
    }
}

async fn instead(
    State((_, behaviour)): State<Shared>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> Response {
    let (hangs, everything) = {
        let behaviour = behaviour.lock();
        (behaviour.hangs, behaviour.everything.clone())
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    match everything {
        Some((status, body, location)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            (status, [("location", location)], body).into_response()
        }
        None => next.run(request).await,
    }
}

async fn metadata(State((issuer, behaviour)): State<Shared>) -> Response {
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "device_authorization_endpoint": format!("{issuer}/device"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/keys"),
        "scopes_supported": ["openid", "offline_access"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "EdDSA", "X25519"],
    });
    let changes = behaviour.lock().metadata.clone();
    for (name, value) in changes.as_object().expect("an object") {
        metadata[name] = value.clone();
    }
    axum::Json(metadata).into_response()
}

async fn keys(State((_, behaviour)): State<Shared>) -> Response {
    let mut behaviour = behaviour.lock();
    behaviour.keys_read += 1;
    let keys: Vec<Value> = behaviour.keys.iter().map(|(kid, k)| k.jwk(kid)).collect();
    axum::Json(json!({"keys": keys})).into_response()
}

async fn device(
    State((issuer, behaviour)): State<Shared>,
    headers: HeaderMap,
    form: String,
) -> Response {
    record(&behaviour, &headers, form);
    axum::Json(json!({
        "device_code": "device-code-1", "user_code": "ABCD-EFGH", "verification_uri": format!("{issuer}/code"),
        "verification_uri_complete": format!("{issuer}/code?user_code=ABCD-EFGH"), "expires_in": 600, "interval": 7,
    }))
    .into_response()
}

async fn token(State((_, behaviour)): State<Shared>, headers: HeaderMap, form: String) -> Response {
    record(&behaviour, &headers, form);
    let next = behaviour.lock().tokens.pop_front();
    let (status, body) = next.unwrap_or((400, json!({"error": "authorization_pending"})));
    let status = StatusCode::from_u16(status).expect("a status");
    (status, axum::Json(body)).into_response()
}

async fn userinfo(State((_, behaviour)): State<Shared>, headers: HeaderMap) -> Response {
    let authorized = headers
        .get("authorization")
        .is_some_and(|h| h == "Bearer access-1");
    match behaviour.lock().userinfo.clone().filter(|_| authorized) {
        Some(claims) => axum::Json(claims).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

fn record(behaviour: &Mutex<Behaviour>, headers: &HeaderMap, form: String) {
    let header = headers.get("authorization");
    let header = header.map(|h| h.to_str().expect("ASCII").to_owned());
    behaviour.lock().forms.push((header, form));
}
