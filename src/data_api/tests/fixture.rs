//! An API server of the data API over a real store in a file, and what tests put into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aggregated_api_server::{
    AccessAttributes, AccessDecision, ApiBody, ApiError, ApiGroup, ApiServer, Authorizer, Caller,
    FrontProxyConfig, ServerSettings,
};
use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::super::{GROUP, VERSION, resources};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::registry::Registry;
use crate::store::{
    self, AskReplies, Change, ClaimRequest, ClaimedLane, DeniedMessage, LaneWrite,
    NewAccessRequest, Release, ShownElsewhere, Store, TokenCounts,
};
use crate::telegram::RawUpdate;

pub(crate) const ROOT: &str = "/apis/data.connectors.pupau.ai/v1alpha1";
pub(crate) const ANN: i64 = 5001;
pub(crate) const BOB: i64 = 5002;
pub(crate) const BOT: BotId = BotId(8_400_000_001);

/// Everybody may do everything: rights are tested where they are decided.
pub(crate) struct Everybody;

#[async_trait]
impl Authorizer for Everybody {
    async fn authorize(
        &self,
        _: &Caller,
        _: &AccessAttributes,
    ) -> Result<AccessDecision, ApiError> {
        Ok(AccessDecision {
            allowed: true,
            reason: String::new(),
        })
    }
}

/// A front proxy's CA.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// What kube-apiserver's `ConfigMap` says of it.
    pub(crate) fn config_map(&self) -> BTreeMap<String, String> {
        let data = [
            ("requestheader-client-ca-file", &*self.pem),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ];
        data.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Certificate and key of a client of this name, as PEM.
    pub(crate) fn client(&self, name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        signed.pem() + &key.serialize_pem()
    }
}

pub(crate) struct Fixture {
    server: ApiServer,
    peer: CertificateDer<'static>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) folder: tempfile::TempDir,
    update_id: i64,
}

pub(crate) enum Treatment {
    Answered,
    GivenUp,
    Denied,
    /// The user asks to be let in, which expires in an hour.
    AsksForAccess,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("sqlite:{}/store/connectors.db", folder.path().display());
        let store = store::open(&address).await.expect("a store");
        let authority = Authority::new();
        let front_proxy = FrontProxyConfig::new();
        let trusted = front_proxy.set(&authority.config_map());
        trusted.expect("a good one");
        let identity = authority.client("front-proxy-client");
        let peer = CertificateDer::from_pem_slice(identity.as_bytes()).expect("a certificate");
        let group = ApiGroup {
            group: GROUP.into(),
            version: VERSION.into(),
            product_version: "1.0.0".into(),
        };
        let settings = ServerSettings {
            watch_interval: Duration::from_millis(5),
            ..ServerSettings::default()
        };
        let authorizer = Arc::new(Everybody);
        let registry = Arc::<Registry>::default();
        Self {
            server: ApiServer::new(
                group,
                resources(&store, &registry),
                front_proxy,
                authorizer,
                settings,
            ),
            peer,
            store,
            registry,
            folder,
            update_id: 0,
        }
    }

    /// What becomes of an object that is sent to a path.
    pub(crate) async fn create(&self, path: &str, object: &Value) -> (u16, Value) {
        let body = object.to_string().into();
        let response = self.request("POST", path, "application/json", body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let value = serde_json::from_slice(&body);
        (parts.status.as_u16(), value.expect("a JSON document"))
    }

    pub(crate) async fn send(&self, method: &str, path: &str, accept: &str) -> Response<ApiBody> {
        let body = bytes::Bytes::default();
        self.request(method, path, accept, body).await
    }

    async fn request(
        &self,
        method: &str,
        path: &str,
        accept: &str,
        body: bytes::Bytes,
    ) -> Response<ApiBody> {
        let uri = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{ROOT}/{path}")
        };
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("x-remote-user", "admin")
            .header("content-type", "application/json")
            .header("accept", accept)
            .body(Full::new(body))
            .expect("a request");
        let peer = std::slice::from_ref(&self.peer);
        self.server.handle(peer, request).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, accept: &str) -> (u16, Value) {
        let (parts, body) = self.send(method, path, accept).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let value = serde_json::from_slice(&body);
        (parts.status.as_u16(), value.expect("a JSON document"))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", path, "application/json").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// The names in a list.
    pub(crate) async fn names(&self, path: &str) -> Vec<String> {
        let list = self.get(path).await;
        let items = list["items"].as_array().expect("a list").iter();
        let name = |item: &Value| {
            item["metadata"]["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        };
        items.map(name).collect()
    }

    /// Somebody writes to the connector `support` of a namespace, and this becomes of it.
    pub(crate) async fn write(
        &mut self,
        namespace: &str,
        user: i64,
        chat: i64,
        treatment: Treatment,
    ) {
        self.update_id += 1;
        let connector = ConnectorRef {
            namespace: namespace.into(),
            name: "support".into(),
            uid: ConnectorUid::from(format!("uid-{namespace}").as_str()),
        };
        let update = json!({"update_id": self.update_id, "message": {
            "message_id": self.update_id, "date": 100, "text": "my secret", "from": {"id": user},
            "chat": {"id": chat, "type": if chat > 0 { "private" } else { "supergroup" }},
        }});
        let update = RawUpdate::from_body(update.to_string().as_bytes()).expect("an update");
        let accepted = self.store.accept(&connector.uid, BOT, vec![update]).await;
        accepted.expect("accepted");
        let request = ClaimRequest {
            connector: connector.clone(),
            bot: BOT,
            lanes: 2,
            history: 1,
        };
        let claimed = self
            .store
            .claim(vec![request])
            .await
            .expect("a claim")
            .lanes;
        // That of the chat in which requests are shown may be ready, too.
        let is_written_to = |lane: &ClaimedLane| !lane.messages.is_empty();
        let (mut lanes, others): (Vec<_>, Vec<_>) = claimed.into_iter().partition(is_written_to);
        for other in others {
            let write = LaneWrite {
                claim: other.claim,
                changes: Vec::new(),
                release: Some(Release::Now),
            };
            self.store.write(write.into()).await.expect("given back");
        }
        let lane = lanes.remove(0);
        let message = lane.messages[0].id;
        let mut changes = match treatment {
            Treatment::Answered => answered(message, lane.sessions),
            Treatment::Denied => {
                let denied = denied(&connector, user, chat);
                vec![Change::Denied(message, Box::new(denied))]
            }
            Treatment::AsksForAccess => {
                vec![Change::AskForAccess(Box::new(asks(message, user)))]
            }
            Treatment::GivenUp => vec![Change::DeadLetter {
                message,
                reason: "the assistant is away".into(),
            }],
        };
        if !matches!(treatment, Treatment::GivenUp) {
            changes.push(Change::Finish { message });
        }
        let write = LaneWrite {
            claim: lane.claim,
            changes,
            release: Some(Release::Now),
        };
        self.store.write(write.into()).await.expect("written");
    }
}

fn answered(message: i64, sessions: i64) -> Vec<Change> {
    let number = sessions + 1;
    vec![
        Change::BeginSession {
            number,
            key: "key".into(),
            began_at: Timestamp::from_second(100).expect("a time"),
        },
        Change::Exchange {
            session: number,
            number: 1,
            asked: Some("my secret".into()),
            answered: Some("your answer".into()),
            state: None,
            tokens: TokenCounts::default(),
            at: Timestamp::from_second(160).expect("a time"),
            oldest_kept: None,
            message,
            speakers: Vec::new(),
        },
    ]
}

fn asks(message: i64, user: i64) -> NewAccessRequest {
    NewAccessRequest {
        token: format!("token-{message}"),
        user,
        name: "Ann Example".into(),
        username: Some("ann".into()),
        level: "Specific".into(),
        language: None,
        expires_at: Timestamp::now() + Duration::from_hours(1),
        per_user_per_day: 5,
        message,
        follow_up: json!({"update_id": 0}).to_string(),
        notice: ShownElsewhere {
            chat: -100,
            topic: 0,
            parts: Vec::new(),
        },
        replies: AskReplies::default(),
    }
}

fn denied(connector: &ConnectorRef, user: i64, chat: i64) -> DeniedMessage {
    DeniedMessage {
        time: Timestamp::from_second(100).expect("a time"),
        namespace: connector.namespace.to_string(),
        name: connector.name.to_string(),
        bot: BOT,
        update_id: 1,
        chat,
        user_id: Some(user),
        username: Some("ann".into()),
        user_name: None,
        language: None,
        text: Some("let me in".into()),
        content: "text".into(),
        level: "Specific".into(),
    }
}
