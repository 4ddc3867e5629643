//! No token and no key is written anywhere: logs at trace level, metrics, objects and files are searched after a run of the binary in
//! both connection modes with failures of every kind.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bot_api_simulator::sample_assistant::Behaviour;
use bot_api_simulator::{Fault, FaultKind};
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
use telegram_connector_operator::identity::{BotId, ConnectorUid};

use super::operator_process::OperatorProcess;
use super::test_env::{TestEnv, free_address, write_certificate};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], no_secret_leaks_during_a_full_run);
}

const API_KEY: &str = "the-assistants-key-that-nobody-may-read";
const HEADER_VALUE: &str = "the-header-value-that-nobody-may-read";
const WEBHOOK_KEY: &str = "the-webhook-key-that-nobody-may-read";

/// The secrets that must not be found, in each encoding in which they could be written.
#[derive(Default)]
struct SecretScanner(Vec<String>);

impl SecretScanner {
    fn add(&mut self, secret: &str) {
        self.0.push(secret.to_owned());
        self.0.push(STANDARD.encode(secret));
        // The part after the bot's id, which is no secret, so that a token with an escaped colon is found too.
        if let Some((_, secret)) = secret.split_once(':') {
            self.0.push(secret.to_owned());
        }
    }

    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        let patterns: Vec<String> = self.0.iter().map(|s| regex::escape(s)).collect();
        let any_secret = regex::bytes::Regex::new(&patterns.join("|")).expect("a good pattern");
        if let Some(found) = any_secret.find(bytes) {
            let context = &bytes[found.start().saturating_sub(300)..found.start()];
            panic!(
                "{place} holds a secret after: {}",
                String::from_utf8_lossy(context)
            );
        }
    }
}

async fn no_secret_leaks_during_a_full_run(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let kubeconfig = env.kubeconfig().await;
    let mut scanner = SecretScanner::default();
    scanner.add(API_KEY);
    scanner.add(HEADER_VALUE);
    scanner.add(WEBHOOK_KEY);

    let mut polling = env.start_process("polling", &kubeconfig, &["--log-level=trace"]);
    let (bot, token) = provoke_failures(&env, &mut scanner).await;
    scan_everywhere(&env, &scanner, &polling).await;
    polling.terminate();

    let files = write_certificate(env.folder());
    let certificate = files.certificate.display().to_string();
    let key = files.key.display().to_string();
    let listen = free_address().to_string();
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
    polling.ended().await;
    let webhook = env.start_process("webhook", &kubeconfig, &flags);
    env.wait_for_condition("a", "Connected", "True", "WebhookVerified")
        .await;
    let uid = ConnectorUid::from(env.uid_of("a").await.as_str());
    scanner.add(secret_token::derive_secret_token(&WEBHOOK_KEY.into(), &uid, bot).expose_secret());
    env.telegram
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
    // Connections to Telegram are refused from now on.
    env.telegram.stop();
    let (_, token) = env.add_bot();
    scanner.add(&token);
    env.set_secret("refused", "token", &token).await;
    env.create_connector("refused", json!({})).await;
    env.wait_until_not_ready("refused", "TokenValid", "Unknown", "TelegramUnreachable")
        .await;
    scan_everywhere(&env, &scanner, &webhook).await;

    // The log holds what the scan relies on: trace lines, the bot's id and the connection error.
    let log = webhook.log();
    for expected in [
        "\"level\":\"TRACE\"",
        &bot.to_string(),
        "Connection refused",
    ] {
        assert!(log.contains(expected), "{expected}");
    }
}

/// Uses tokens and keys in every way and makes each use fail. Returns the bot that works in the end, and its token.
async fn provoke_failures(env: &TestEnv, scanner: &mut SecretScanner) -> (BotId, String) {
    let (bot, first) = env.create_working_connector("a").await;
    scanner.add(&first);
    env.set_secret("key", "api-key", API_KEY).await;
    env.set_secret("gateway", "value", HEADER_VALUE).await;
    let (keyed, token) = env.add_bot();
    scanner.add(&token);
    env.set_secret("keyed", "token", &token).await;
    let url = env.assistant.url();
    let keyed_assistant = json!({"protocol": "OpenAI", "url": url, "model": "sample", "apiKeySecretRef": {"name": "key"},
        "headers": [{"name": "X-Gateway", "valueFrom": {"secretKeyRef": {"name": "gateway", "key": "value"}}}]});
    env.create_connector("keyed", json!({"assistant": keyed_assistant}))
        .await;
    for (name, token) in [
        (
            "unknown",
            "8399999999:AAtokenThatTelegramDoesNotKnow_0123456",
        ),
        ("malformed", "8399999998:too short, and with spaces"),
    ] {
        scanner.add(token);
        env.set_secret(name, "token", token).await;
        env.create_connector(name, json!({})).await;
    }
    env.wait_until_ready("a").await;
    env.wait_until_ready("keyed").await;
    env.wait_until_not_ready("unknown", "TokenValid", "False", "TokenUnauthorized")
        .await;
    env.wait_until_not_ready("malformed", "TokenValid", "False", "TokenMalformed")
        .await;
    env.telegram
        .send_and_wait(bot, 2001, "hello", Duration::from_secs(20))
        .await;
    env.telegram
        .send_and_wait(keyed, 2002, "hello", Duration::from_secs(20))
        .await;
    // The assistant rejects the API key.
    env.assistant.set_behaviour(Behaviour {
        api_key: Some("another".into()),
        ..Behaviour::default()
    });
    for user in 2003..2006 {
        env.telegram.send_private_message(keyed, user, "hello");
    }
    env.wait_for_condition("keyed", "AssistantReady", "False", "AssistantUnauthorized")
        .await;
    env.assistant.set_behaviour(Behaviour::default());
    // Telegram fails in every way that the simulator offers, at polls and at sent messages.
    let server_error = FaultKind::Status {
        code: 500,
        description: "Internal Server Error".into(),
    };
    let kinds = [
        server_error,
        FaultKind::Html { code: 502 },
        FaultKind::Reset,
        FaultKind::DropAfter,
        FaultKind::TooManyRequests { retry_after: 1 },
    ];
    for (user, kind) in (2010..).zip(kinds) {
        env.telegram.add_fault(
            Fault::new(kind.clone())
                .bot(bot)
                .method("getUpdates")
                .times(1),
        );
        env.telegram
            .add_fault(Fault::new(kind).bot(bot).method("sendMessage").times(1));
        env.telegram
            .send_and_wait(bot, user, "in trouble", Duration::from_secs(30))
            .await;
    }
    // The token is revoked, then replaced.
    env.telegram.revoke(bot);
    env.telegram.send_private_message(bot, 2030, "hello");
    env.wait_until_not_ready("a", "TokenValid", "False", "TokenUnauthorized")
        .await;
    let second = format!("{bot}:AAtheNewTokenOfTheSameBot_0123456789abc");
    scanner.add(&second);
    env.telegram
        .add_bot(&second, &format!("test_{bot}_bot"), "Test");
    env.set_secret("a", "token", &second).await;
    env.wait_until_ready("a").await;
    (bot, second)
}

async fn scan_everywhere(env: &TestEnv, scanner: &SecretScanner, process: &OperatorProcess) {
    for path in ["/metrics", "/readyz", "/healthz", "/nowhere"] {
        let (_, text) = process.get(path).await.expect("an answer");
        scanner.assert_absent(path, text.as_bytes());
    }
    scan_objects::<TelegramConnector>(env, scanner).await;
    scan_objects::<TelegramUserList>(env, scanner).await;
    scan_objects::<Event>(env, scanner).await;
    scan_objects::<Lease>(env, scanner).await;
    let mut files = 0;
    for file in std::fs::read_dir(env.folder()).expect("the folder") {
        let path = file.expect("a file").path();
        let holds_secrets = path
            .extension()
            .is_some_and(|e| e == "kubeconfig" || e == "key");
        if !holds_secrets {
            scanner.assert_absent(
                &path.display().to_string(),
                &std::fs::read(&path).expect("readable"),
            );
            files += 1;
        }
    }
    assert!(files >= 3, "the log, the store and its WAL: {files}");
}

async fn scan_objects<K>(env: &TestEnv, scanner: &SecretScanner)
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = env.cluster.api();
    let all = api.list(&ListParams::default()).await.expect("the list");
    let text = serde_json::to_vec(&all.items).expect("JSON");
    scanner.assert_absent(&K::plural(&()), &text);
}
