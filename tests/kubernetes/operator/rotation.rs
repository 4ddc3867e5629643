//! Webhook mode while something is replaced: the environment's key, public URL or certificate, a process, a bot. No message is lost.

use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use telegram_connector_operator::connection::webhook::TlsFiles;
use telegram_connector_operator::connection::{ConnectionSettings, WebhookSettings};
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::operator::Operator;

use super::load_generator::LoadGenerator;
use super::tcp_proxy::TcpProxy;
use super::test_env::{OperatorOptions, TestEnv, any_port, count_writes};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        key_and_public_url_are_rotated_without_losing_a_message
    );
    add!(
        suite,
        [Core],
        rolling_update_loses_no_webhook_and_follower_writes_nothing
    );
    add!(suite, [Core], webhook_of_a_replaced_bot_is_deleted);
    add!(
        suite,
        [Core],
        webhook_is_deleted_although_secret_was_briefly_missing
    );
    add!(
        suite,
        [Core],
        self_signed_certificate_is_trusted_and_reloaded
    );
}

fn settings(start: &mut OperatorOptions) -> &mut WebhookSettings {
    match &mut start.connection {
        ConnectionSettings::Webhook(settings) => settings,
        ConnectionSettings::Polling => panic!("webhook mode"),
    }
}

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

async fn key_and_public_url_are_rotated_without_losing_a_message(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let keyed = |mut start: OperatorOptions, key: &str, previous: Option<&str>| {
        let settings = settings(&mut start);
        settings.key = key.into();
        settings.previous_key = previous.map(SecretString::from);
        start
    };
    let first = OperatorOptions::webhook();
    let elsewhere = OperatorOptions::webhook();
    let operator = env.start_operator(keyed(first.clone(), OLD, None)).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    let load = LoadGenerator::start(&env.telegram, &[bot], 10_000, Duration::from_millis(40));
    operator.shutdown().await;

    // The key, with the old one still taken: Telegram's requests of before are let in.
    let operator = env
        .start_operator(keyed(first.clone(), NEW, Some(OLD)))
        .await;
    env.telegram
        .send_and_wait(bot, 1001, "a new key?", Duration::from_secs(30))
        .await;
    let refused = |metrics: &str| {
        metrics
            .lines()
            .find(|l| {
                l.contains("webhook_refusals_total{reason=\"bad_secret\"}") && !l.ends_with(" 0")
            })
            .map(str::to_owned)
    };
    assert_eq!(refused(&operator.metrics().encode()), None);
    operator.shutdown().await;

    // The key, without: whatever comes before the new registration is turned away, and comes again.
    let operator = env.start_operator(keyed(first, OLD, None)).await;
    env.telegram
        .send_and_wait(bot, 1002, "the old key again?", Duration::from_secs(30))
        .await;
    operator.shutdown().await;

    // The public URL.
    let operator = env
        .start_operator(keyed(elsewhere.clone(), OLD, None))
        .await;
    env.telegram
        .send_and_wait(bot, 1003, "elsewhere?", Duration::from_secs(30))
        .await;
    let address = elsewhere.webhook_listen.to_string();
    let registered = env.telegram.webhook_info(bot)["url"].to_string();
    assert!(registered.contains(&address), "{registered}");
    let answers = load.all_answered(Duration::from_mins(1)).await;
    eprintln!(
        "{} messages while key and URL were rotated, none lost",
        answers.len()
    );
    assert!(
        env.event_notes("a", "ForeignWebhook").await.is_empty(),
        "our own webhook at another address is nobody else's"
    );
    operator.shutdown().await;
}

async fn rolling_update_loses_no_webhook_and_follower_writes_nothing(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let public = OperatorOptions::webhook();
    let lease = LeaseSettings::new(&env.cluster.namespace, "operator", Duration::from_secs(6));
    let start = || OperatorOptions {
        webhook_listen: any_port(),
        lease: Some(lease.clone()),
        ..public.clone()
    };
    let mut leader = env.start_operator(start()).await;
    let address = |o: &Operator| o.webhook_address().expect("an address");
    let proxy = TcpProxy::start(public.webhook_listen, address(&leader)).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    let load = LoadGenerator::start(&env.telegram, &[bot], 10_000, Duration::from_millis(40));
    for person in 1001..1004 {
        let (client, metrics) = env.counting_client().await;
        let follower = env
            .start_operator(OperatorOptions {
                client: Some(client),
                ..start()
            })
            .await;
        env.cluster
            .eventually("the follower's registry is warm", || async {
                (!follower.registry().all().is_empty()).then_some(())
            })
            .await;
        // As a Service does: new connections go to the new Pod while the old one still leads.
        proxy.set_target(address(&follower));
        let url = format!("http://{}/telegram/nobody", address(&follower));
        assert_eq!(
            reqwest::get(url)
                .await
                .expect("it serves")
                .status()
                .as_u16(),
            405
        );
        env.telegram
            .send_and_wait(bot, person, "by the follower?", Duration::from_secs(20))
            .await;
        assert_eq!(count_writes(&metrics), 0, "a follower writes nothing");
        leader.shutdown().await;
        leader = follower;
        env.cluster
            .eventually("it leads", || async {
                let metrics = leader.metrics().encode();
                metrics
                    .contains("telegram_connector_operator_leader 1\n")
                    .then_some(())
            })
            .await;
    }
    let answers = load.all_answered(Duration::from_mins(1)).await;
    eprintln!(
        "{} messages through three rolling updates in webhook mode, none lost",
        answers.len()
    );
    leader.shutdown().await;
}

async fn webhook_is_deleted_although_secret_was_briefly_missing(cluster: Cluster) {
    let (env, operator, (first, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    env.delete_secret("a").await;
    env.wait_until_not_ready("a", "TokenValid", "False", "SecretNotFound")
        .await;
    let (_, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    env.wait_until_ready("a").await;
    env.cluster
        .eventually("the old bot's webhook is withdrawn", || async {
            (env.telegram.webhook_info(first)["url"] == "").then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn webhook_of_a_replaced_bot_is_deleted(cluster: Cluster) {
    let (env, operator, (first, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    let registered = |bot| {
        !env.telegram.webhook_info(bot)["url"]
            .to_string()
            .contains("\"\"")
    };
    let withdrawn = async |bot| {
        env.cluster
            .eventually("the webhook is withdrawn", || async {
                (!registered(bot)).then_some(())
            })
            .await;
    };
    assert!(registered(first));
    // Another bot's token.
    let (second, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    withdrawn(first).await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(second, 1001, "another bot?", Duration::from_secs(20))
        .await;
    // Suspension.
    env.patch_connector("a", json!({"spec": {"suspend": true}}))
        .await;
    env.wait_until_not_ready("a", "Connected", "False", "Suspended")
        .await;
    withdrawn(second).await;
    let status = env.connectors().get("a").await.expect("it").status;
    assert_eq!(status.expect("a status").webhook, None);
    env.telegram
        .send_private_message(second, 1002, "while it rests");
    env.patch_connector("a", json!({"spec": {"suspend": false}}))
        .await;
    env.telegram
        .wait_for_sent_messages(second, 1002, 0, Duration::from_secs(30))
        .await;
    // A token that was revoked: nothing can be withdrawn, and nothing waits for it.
    env.telegram.revoke(second);
    let began = Instant::now();
    env.delete_connector("a").await;
    env.wait_until_gone("a").await;
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    operator.shutdown().await;
}

fn certificate(folder: &Path) -> TlsFiles {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let files = TlsFiles {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    std::fs::write(&files.certificate, made.cert.pem()).expect("a writable folder");
    std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("a writable folder");
    files
}

async fn self_signed_certificate_is_trusted_and_reloaded(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let start = || {
        let mut start = OperatorOptions::webhook();
        let files = certificate(env.folder());
        let public = start.webhook_listen;
        start.webhook_listen = any_port();
        let settings = settings(&mut start);
        settings.public_url = format!("https://{public}").parse().expect("a URL");
        settings.certificate = Some(files.certificate.clone());
        start.webhook_tls = Some(files);
        (start, public)
    };
    let (first, public) = start();
    let operator = env.start_operator(first).await;
    let proxy = TcpProxy::start(public, operator.webhook_address().expect("an address")).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    assert_eq!(
        env.telegram.webhook_info(bot)["has_custom_certificate"],
        true
    );
    env.telegram
        .send_and_wait(bot, 1001, "over TLS", Duration::from_secs(20))
        .await;

    // The files change: the next connection meets the new certificate, and whoever trusts the old one alone does not get through.
    let files = certificate(env.folder());
    let pem = std::fs::read(&files.certificate).expect("the certificate");
    let trusting = reqwest::Client::builder()
        .tls_built_in_root_certs(false)
        .add_root_certificate(reqwest::Certificate::from_pem(&pem).expect("a certificate"))
        .build()
        .expect("a client");
    let url = format!(
        "https://{}/telegram/nobody",
        operator.webhook_address().expect("an address")
    );
    let answer = env
        .cluster
        .eventually("the new certificate is served", || async {
            trusting.get(&url).send().await.ok()
        })
        .await;
    assert_eq!(answer.status().as_u16(), 405);
    // Telegram is given the new one without a restart; until then it trusts the old one alone and delivers nothing but by connections of before.
    proxy.reset_connections();
    env.telegram
        .send_and_wait(bot, 1003, "over TLS anew", Duration::from_mins(1))
        .await;
    operator.shutdown().await;

    // A start uploads another one, and what waited comes.
    env.telegram
        .send_private_message(bot, 1002, "while it was down");
    let (second, public) = start();
    let operator = env.start_operator(second).await;
    let _proxy = TcpProxy::start(public, operator.webhook_address().expect("an address")).await;
    env.telegram
        .wait_for_sent_messages(bot, 1002, 0, Duration::from_secs(30))
        .await;
    operator.shutdown().await;
}
