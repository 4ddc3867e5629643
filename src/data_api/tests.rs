//! The resources through the API server, over a real store in a file.

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

use super::{GROUP, VERSION, resources};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::registry::Registry;
use crate::store::{
    self, AskReplies, Change, ClaimRequest, ClaimedLane, DeniedMessage, LaneWrite,
    NewAccessRequest, Release, ShownElsewhere, Store, TokenCounts,
};
use crate::telegram::RawUpdate;

const ROOT: &str = "/apis/data.connectors.pupau.ai/v1alpha1";
pub(super) const ANN: i64 = 5001;
pub(super) const BOB: i64 = 5002;
pub(super) const BOT: BotId = BotId(8_400_000_001);

/// Everybody may do everything: rights are tested where they are decided.
pub(super) struct Everybody;

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
pub(super) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// What kube-apiserver's `ConfigMap` says of it.
    pub(super) fn config_map(&self) -> BTreeMap<String, String> {
        let data = [
            ("requestheader-client-ca-file", &*self.pem),
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ];
        data.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Certificate and key of a client of this name, as PEM.
    pub(super) fn client(&self, name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        signed.pem() + &key.serialize_pem()
    }
}

pub(super) struct Fixture {
    server: ApiServer,
    peer: CertificateDer<'static>,
    pub(super) store: Arc<dyn Store>,
    pub(super) registry: Arc<Registry>,
    folder: tempfile::TempDir,
    update_id: i64,
}

pub(super) enum Treatment {
    Answered,
    GivenUp,
    Denied,
    /// The user asks to be let in, which expires in an hour.
    AsksForAccess,
}

impl Fixture {
    pub(super) async fn new() -> Self {
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
    pub(super) async fn create(&self, path: &str, object: &Value) -> (u16, Value) {
        let body = object.to_string().into();
        let response = self.request("POST", path, "application/json", body).await;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let value = serde_json::from_slice(&body);
        (parts.status.as_u16(), value.expect("a JSON document"))
    }

    async fn send(&self, method: &str, path: &str, accept: &str) -> Response<ApiBody> {
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

    pub(super) async fn call(&self, method: &str, path: &str, accept: &str) -> (u16, Value) {
        let (parts, body) = self.send(method, path, accept).await.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let value = serde_json::from_slice(&body);
        (parts.status.as_u16(), value.expect("a JSON document"))
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, value) = self.call("GET", path, "application/json").await;
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// The names in a list.
    pub(super) async fn names(&self, path: &str) -> Vec<String> {
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
    pub(super) async fn write(
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

#[tokio::test]
async fn denied_message_shows_who_wrote_what_and_where() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Denied).await;
    let message = fixture.get("namespaces/acme/deniedmessages/denied-1").await;
    assert_eq!(message["kind"], "DeniedMessage");
    assert_eq!(
        message["spec"],
        json!({
            "connector": "support", "connectorUID": "uid-acme", "time": "1970-01-01T00:01:40Z",
            "bot": {"id": BOT.0}, "chat": {"id": ANN}, "user": {"id": ANN, "username": "ann"},
            "content": "text", "text": "let me in", "level": "Specific",
        })
    );
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let path = "namespaces/acme/deniedmessages";
    let (_, table) = fixture.call("GET", path, table).await;
    let cells = &table["rows"][0]["cells"];
    let expected = json!(["denied-1", "support", ANN, "ann", "text"]);
    assert_eq!(
        cells.as_array().map(|c| &c[..5]),
        expected.as_array().map(|e| &e[..])
    );
}

#[tokio::test]
async fn selectors_find_the_objects_of_a_person_and_delete_them() {
    let mut fixture = Fixture::new().await;
    for user in [ANN, BOB, ANN] {
        fixture.write("acme", user, user, Treatment::Denied).await;
    }
    fixture.write("globex", ANN, ANN, Treatment::Denied).await;
    let all = "namespaces/acme/deniedmessages";
    let of_ann = format!("{all}?fieldSelector=spec.user.id%3D{ANN}");
    assert_eq!(fixture.names(&of_ann).await, ["denied-1", "denied-3"]);
    let of_other = format!("{all}?fieldSelector=spec.connector%3Dother");
    assert!(fixture.names(&of_other).await.is_empty());
    let of_nobody = format!("{all}?fieldSelector=spec.user.id%3Dann");
    assert!(fixture.names(&of_nobody).await.is_empty());
    let (status, _) = fixture.call("DELETE", &of_ann, "application/json").await;
    assert_eq!(status, 200);
    assert_eq!(fixture.names(all).await, ["denied-2"]);
    assert_eq!(
        fixture.names("namespaces/globex/deniedmessages").await,
        ["denied-4"]
    );
    for name in ["denied-4", "denied-02", "denied-x", "conversation-1-1"] {
        let path = format!("{all}/{name}");
        assert_eq!(
            fixture.call("GET", &path, "application/json").await.0,
            404,
            "{name}"
        );
    }
}

#[tokio::test]
async fn conversation_has_its_words_in_the_transcript_only() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Answered).await;
    let path = "namespaces/acme/conversations/conversation-1-1";
    let conversation = fixture.get(path).await;
    assert!(!conversation.to_string().contains("secret"));
    assert_eq!(conversation["spec"]["user"]["id"], ANN);
    assert_eq!(conversation["spec"]["since"], "1970-01-01T00:01:40Z");
    let status = &conversation["status"];
    assert_eq!(
        (&status["messages"], &status["current"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(status["lastMessage"], "1970-01-01T00:02:40Z");
    let transcript = fixture.get(&format!("{path}/transcript")).await;
    assert_eq!(
        transcript["messages"],
        json!([{"role": "user", "text": "my secret"}, {"role": "assistant", "text": "your answer"}])
    );
    let elsewhere = "namespaces/globex/conversations/conversation-1-1/transcript";
    assert_eq!(
        fixture.call("GET", elsewhere, "application/json").await.0,
        404
    );
}

#[tokio::test]
async fn watch_tells_of_a_conversation_that_is_deleted() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Answered).await;
    let all = "namespaces/acme/conversations";
    let listed = fixture.get(all).await;
    let revision = listed["metadata"]["resourceVersion"].as_str().expect("one");
    let watch = format!("{all}?watch=true&resourceVersion={revision}");
    let mut events = fixture
        .send("GET", &watch, "application/json")
        .await
        .into_body();
    let path = format!("{all}/conversation-1-1");
    assert_eq!(
        fixture.call("DELETE", &path, "application/json").await.0,
        200
    );
    let event = loop {
        let frame = events.frame().await.expect("an event").expect("a frame");
        let event: Value = serde_json::from_slice(frame.data_ref().expect("data")).expect("JSON");
        if event["type"] != "BOOKMARK" {
            break event;
        }
    };
    assert_eq!(event["type"], "DELETED", "{event}");
    let metadata = |object: &Value| {
        (
            object["metadata"]["name"].clone(),
            object["metadata"]["uid"].clone(),
        )
    };
    assert_eq!(metadata(&event["object"]), metadata(&listed["items"][0]));
    assert_eq!(fixture.call("GET", &path, "application/json").await.0, 404);
}

#[tokio::test]
async fn dead_letter_shows_no_text_and_is_tried_again() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, -100, Treatment::GivenUp).await;
    let path = "namespaces/acme/deadletters/deadletter-1";
    let dead_letter = fixture.get(path).await;
    assert!(!dead_letter.to_string().contains("secret"), "{dead_letter}");
    let spec = &dead_letter["spec"];
    assert_eq!(
        (&spec["what"], &spec["user"]["id"]),
        (&json!("message"), &json!(ANN))
    );
    assert_eq!(dead_letter["status"]["reason"], "the assistant is away");
    let elsewhere = "namespaces/globex/deadletters/deadletter-1/retry";
    assert_eq!(
        fixture.call("POST", elsewhere, "application/json").await.0,
        404
    );
    let retry = format!("{path}/retry");
    let tried = format!("{retry}?dryRun=All");
    assert!(fixture.call("POST", &tried, "application/json").await.0 < 300);
    fixture.get(path).await;
    assert!(fixture.call("POST", &retry, "application/json").await.0 < 300);
    assert_eq!(fixture.call("GET", path, "application/json").await.0, 404);
    let waiting = fixture.store.backlog().await.expect("a backlog");
    assert_eq!(waiting[0].messages, 1);
}

#[tokio::test]
async fn store_that_is_away_leaves_discovery_and_says_when_to_try_again() {
    let fixture = Fixture::new().await;
    std::fs::remove_dir_all(fixture.folder.path().join("store")).expect("removed");
    let response = fixture
        .send("GET", "namespaces/acme/deniedmessages", "application/json")
        .await;
    assert_eq!(response.status().as_u16(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let resources = fixture.get(ROOT).await;
    let names = resources["resources"].as_array().expect("resources").iter();
    let names: Vec<_> = names
        .map(|resource| resource["name"].as_str().expect("a name"))
        .collect();
    for name in [
        "deniedmessages",
        "conversations/transcript",
        "deadletters/retry",
    ] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn watch_by_connector_ends_what_a_deleted_one_left() {
    let mut fixture = Fixture::new().await;
    fixture.write("acme", ANN, ANN, Treatment::Denied).await;
    let of_support = "namespaces/acme/deniedmessages?fieldSelector=spec.connector%3Dsupport";
    let of_all = "namespaces/acme/deniedmessages";
    let mut watches = Vec::new();
    for path in [of_support, "namespaces/acme/deniedmessages?"] {
        let path = format!("{path}&watch=true");
        let body = fixture.send("GET", &path, "application/json").await;
        let mut body = body.into_body();
        assert_eq!(next_event(&mut body).await, "ADDED");
        watches.push(body);
    }
    let deleted = ConnectorUid::from("uid-acme");
    let deleted = fixture.store.delete_connector_data(&deleted).await;
    deleted.expect("deleted");
    assert_eq!(next_event(&mut watches[0]).await, "DELETED");
    assert_eq!(next_event(&mut watches[1]).await, "MODIFIED");
    assert!(fixture.names(of_support).await.is_empty());
    assert_eq!(fixture.names(of_all).await.len(), 1, "it is kept");
}

/// The type of the next event of a watch that tells them one by one.
async fn next_event(watch: &mut ApiBody) -> String {
    let frame = tokio::time::timeout(Duration::from_secs(30), watch.frame()).await;
    let frame = frame.expect("in time").expect("an event").expect("read");
    let event: Value = serde_json::from_slice(&frame.into_data().expect("data")).expect("JSON");
    event["type"].as_str().expect("a type").to_owned()
}
