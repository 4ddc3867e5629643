//! After a whole run of the real binary at trace level, in both modes and with everything going wrong: no token, no key, anywhere.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Resource};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use telegram_connector_operator::api::{TelegramConnector, TelegramUserList};
use telegram_connector_operator::connection::webhook::secret_token;
use telegram_connector_operator::dev::bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::dev::sample_assistant::Behaviour;
use telegram_connector_operator::identity::{BotId, ConnectorUid};

use super::house::{House, any_port};
use super::process::Process;
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], no_secret_is_anywhere_after_a_whole_run);
}

const API_KEY: &str = "the-assistants-key-that-nobody-may-read";
const WEBHOOK_KEY: &str = "the-webhook-key-that-nobody-may-read";

/// What must not be found, in every form in which it could be written.
#[derive(Default)]
struct Hidden(Vec<String>);

impl Hidden {
    fn add(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
        self.0.push(STANDARD.encode(secret));
        // Without the bot's id, which is no secret; so a token with its colon escaped is found too.
        if let Some((_, secret)) = secret.split_once(':') {
            self.0.push(secret.to_owned());
        }
    }

    fn must_not_be_in(&self, place: &str, bytes: &[u8]) {
        let any: Vec<String> = self.0.iter().map(|s| regex::escape(s)).collect();
        let any = regex::bytes::Regex::new(&any.join("|")).expect("a good pattern");
        if let Some(found) = any.find(bytes) {
            let around = &bytes[found.start().saturating_sub(300)..found.start()];
            panic!(
                "{place} holds a secret after: {}",
                String::from_utf8_lossy(around)
            );
        }
    }
}

async fn no_secret_is_anywhere_after_a_whole_run(cluster: Cluster) {
    let house = House::new(cluster).await;
    let kubeconfig = house.kubeconfig().await;
    let mut hidden = Hidden::default();
    hidden.add(API_KEY);
    hidden.add(WEBHOOK_KEY);

    let polling = house.process("polling", &kubeconfig, &["--log-level=trace"]);
    let (bot, token) = a_life_with_trouble(&house, &mut hidden).await;
    look_everywhere(&house, &hidden, &polling).await;
    polling.terminate();

    let (certificate, key) = certificate(house.folder());
    let listen = std::net::TcpListener::bind(any_port())
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .to_string();
    let url = format!("https://{listen}");
    let flags = [
        "--log-level=trace",
        "--connection-mode=webhook",
        "--public-url",
        &url,
        "--webhook-listen",
        &listen,
        "--webhook-key",
        WEBHOOK_KEY,
        "--webhook-tls-cert",
        &certificate,
        "--webhook-tls-key",
        &key,
        "--webhook-upload-certificate",
    ];
    let mut ended = polling;
    ended.ended().await;
    let webhook = house.process("webhook", &kubeconfig, &flags);
    house
        .condition("a", "Connected", "True", "WebhookVerified")
        .await;
    let uid = house.connectors().get("a").await.expect("it").metadata.uid;
    let uid = ConnectorUid::from(uid.expect("a uid").as_str());
    hidden.add(secret_token::derive_secret_token(&WEBHOOK_KEY.into(), &uid, bot).expose_secret());
    house
        .telegram
        .send_and_wait(bot, 3001, "by webhook", Duration::from_secs(20))
        .await;
    let forged = reqwest::Client::builder()
        .danger_accept_invalid_certs(true)
        .build()
        .expect("a client")
        .post(format!("{url}/telegram/{uid}"))
        .header("X-Telegram-Bot-Api-Secret-Token", "forged")
        .body(token)
        .send();
    assert_eq!(forged.await.expect("an answer").status().as_u16(), 401);
    // Nobody listens at Telegram's address any more.
    house.telegram.stop();
    let (_, token) = house.bot();
    hidden.add(&token);
    house.secret("refused", "token", &token).await;
    house.connector("refused", json!({})).await;
    house
        .not_ready("refused", "TokenValid", "Unknown", "TelegramUnreachable")
        .await;
    look_everywhere(&house, &hidden, &webhook).await;

    // The search finds what is there.
    let log = webhook.log();
    for there in [
        "\"level\":\"TRACE\"",
        &bot.to_string(),
        "Connection refused",
    ] {
        assert!(log.contains(there), "{there}");
    }
}

/// Every way in which a token or a key is used, and every way in which that can fail. The bot that works, and its token.
async fn a_life_with_trouble(house: &House, hidden: &mut Hidden) -> (BotId, String) {
    let (bot, first) = house.sound_connector("a").await;
    hidden.add(&first);
    house.secret("key", "api-key", API_KEY).await;
    let (keyed, token) = house.bot();
    hidden.add(&token);
    house.secret("keyed", "token", &token).await;
    let url = house.assistant.url();
    let keyed_assistant = json!({"protocol": "OpenAI", "url": url, "model": "sample", "apiKeySecretRef": {"name": "key"}});
    house
        .connector("keyed", json!({"assistant": keyed_assistant}))
        .await;
    for (name, token) in [
        (
            "unknown",
            "8399999999:AAtokenThatTelegramDoesNotKnow_0123456",
        ),
        ("malformed", "8399999998:too short, and with spaces"),
    ] {
        hidden.add(token);
        house.secret(name, "token", token).await;
        house.connector(name, json!({})).await;
    }
    house.ready("a").await;
    house.ready("keyed").await;
    house
        .not_ready("unknown", "TokenValid", "False", "TokenUnauthorized")
        .await;
    house
        .not_ready("malformed", "TokenValid", "False", "TokenMalformed")
        .await;
    house
        .telegram
        .send_and_wait(bot, 2001, "hello", Duration::from_secs(20))
        .await;
    house
        .telegram
        .send_and_wait(keyed, 2002, "hello", Duration::from_secs(20))
        .await;
    // The assistant refuses the key.
    house.assistant.set_behaviour(Behaviour {
        api_key: Some("another".into()),
        ..Behaviour::default()
    });
    for person in 2003..2006 {
        house.telegram.send_private_message(keyed, person, "hello");
    }
    house
        .condition("keyed", "AssistantReady", "False", "AssistantUnauthorized")
        .await;
    house.assistant.set_behaviour(Behaviour::default());
    // Telegram breaks in every way it knows, while polled and while written to.
    let broken = FaultKind::Status {
        code: 500,
        description: "Internal Server Error".into(),
    };
    let kinds = [
        broken,
        FaultKind::Html { code: 502 },
        FaultKind::Reset,
        FaultKind::DropAfter,
        FaultKind::TooManyRequests { retry_after: 1 },
    ];
    for (person, kind) in (2010..).zip(kinds) {
        house.telegram.add_fault(
            Fault::new(kind.clone())
                .bot(bot)
                .method("getUpdates")
                .times(1),
        );
        house
            .telegram
            .add_fault(Fault::new(kind).bot(bot).method("sendMessage").times(1));
        house
            .telegram
            .send_and_wait(bot, person, "in trouble", Duration::from_secs(30))
            .await;
    }
    // Revoked, then rotated.
    house.telegram.revoke(bot);
    house.telegram.send_private_message(bot, 2030, "hello");
    house
        .not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    let second = format!("{bot}:AAtheNewTokenOfTheSameBot_0123456789abc");
    hidden.add(&second);
    house
        .telegram
        .add_bot(&second, &format!("test_{bot}_bot"), "Test");
    house.secret("a", "token", &second).await;
    house.ready("a").await;
    (bot, second)
}

async fn look_everywhere(house: &House, hidden: &Hidden, process: &Process) {
    for path in ["/metrics", "/readyz", "/healthz", "/nowhere"] {
        let (_, text) = process.get(path).await.expect("an answer");
        hidden.must_not_be_in(path, text.as_bytes());
    }
    look_at::<TelegramConnector>(house, hidden).await;
    look_at::<TelegramUserList>(house, hidden).await;
    look_at::<Event>(house, hidden).await;
    look_at::<Lease>(house, hidden).await;
    let mut files = 0;
    for file in std::fs::read_dir(house.folder()).expect("the folder") {
        let path = file.expect("a file").path();
        let kept = path
            .extension()
            .is_some_and(|e| e == "kubeconfig" || e == "key");
        if !kept {
            hidden.must_not_be_in(
                &path.display().to_string(),
                &std::fs::read(&path).expect("readable"),
            );
            files += 1;
        }
    }
    assert!(files >= 3, "the log, the store and its WAL: {files}");
}

async fn look_at<K>(house: &House, hidden: &Hidden)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = house.cluster.api();
    let all = api.list(&ListParams::default()).await.expect("the list");
    let text = serde_json::to_vec(&all.items).expect("JSON");
    hidden.must_not_be_in(&K::plural(&()), &text);
}

fn certificate(folder: &Path) -> (String, String) {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&certificate, made.cert.pem()).expect("a writable folder");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("a writable folder");
    (certificate.display().to_string(), key.display().to_string())
}
