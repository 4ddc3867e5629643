//! Replacements in webhook mode: the webhook key, public URL, certificate, operator process or bot changes, and no message is lost.

use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::json;
use telegram_connector_operator::connection::{ConnectionSettings, WebhookSettings};
use telegram_connector_operator::controller::LeaseSettings;
use telegram_connector_operator::operator::Operator;

use super::load_generator::LoadGenerator;
use super::tcp_proxy::TcpProxy;
use super::test_env::{OperatorOptions, TestEnv, any_port, count_writes, write_certificate};
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

fn webhook_settings(options: &mut OperatorOptions) -> &mut WebhookSettings {
    match &mut options.connection {
        ConnectionSettings::Webhook(settings) => settings,
        ConnectionSettings::Polling => panic!("the options must be of webhook mode"),
    }
}

const OLD_KEY: &str = "0123456789abcdef0123456789abcdef";
const NEW_KEY: &str = "fedcba9876543210fedcba9876543210";

async fn key_and_public_url_are_rotated_without_losing_a_message(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let with_key = |mut options: OperatorOptions, key: &str, previous: Option<&str>| {
        let settings = webhook_settings(&mut options);
        settings.key = key.into();
        settings.previous_key = previous.map(SecretString::from);
        options
    };
    let first = OperatorOptions::webhook();
    let elsewhere = OperatorOptions::webhook();
    let operator = env
        .start_operator(with_key(first.clone(), OLD_KEY, None))
        .await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    let load = LoadGenerator::start(&env.telegram, &[bot], 10_000, Duration::from_millis(40));
    operator.shutdown().await;

    // A new key with the old one as the previous key: requests that still carry the old secret are accepted.
    let operator = env
        .start_operator(with_key(first.clone(), NEW_KEY, Some(OLD_KEY)))
        .await;
    env.telegram
        .send_and_wait(bot, 1001, "a new key?", Duration::from_secs(30))
        .await;
    let refusals = |metrics: &str| {
        metrics
            .lines()
            .find(|l| {
                l.contains("webhook_refusals_total{reason=\"bad_secret\"}") && !l.ends_with(" 0")
            })
            .map(str::to_owned)
    };
    assert_eq!(refusals(&operator.metrics().encode()), None);
    operator.shutdown().await;

    // A new key without a previous one: requests before the new registration are rejected, and Telegram delivers them again.
    let operator = env.start_operator(with_key(first, OLD_KEY, None)).await;
    env.telegram
        .send_and_wait(bot, 1002, "the old key again?", Duration::from_secs(30))
        .await;
    operator.shutdown().await;

    // Another public URL.
    let operator = env
        .start_operator(with_key(elsewhere.clone(), OLD_KEY, None))
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
        "the operator must not take its own webhook at another address for a foreign one"
    );
    operator.shutdown().await;
}

async fn rolling_update_loses_no_webhook_and_follower_writes_nothing(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let public = OperatorOptions::webhook();
    let lease = LeaseSettings::new(&env.cluster.namespace, "operator", Duration::from_secs(6));
    let options = || OperatorOptions {
        webhook_listen: any_port(),
        lease: Some(lease.clone()),
        ..public.clone()
    };
    let mut leader = env.start_operator(options()).await;
    let address = |o: &Operator| o.webhook_address().expect("an address");
    let proxy = TcpProxy::start(public.webhook_listen, address(&leader)).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    let load = LoadGenerator::start(&env.telegram, &[bot], 10_000, Duration::from_millis(40));
    for user in 1001..1004 {
        let (client, metrics) = env.counting_client().await;
        let follower = env
            .start_operator(OperatorOptions {
                client: Some(client),
                ..options()
            })
            .await;
        env.wait_for_registry(&follower).await;
        // As behind a Service, new connections go to the new Pod while the old one still leads.
        proxy.set_target(address(&follower));
        let url = format!("http://{}/telegram/nobody", address(&follower));
        assert_eq!(
            reqwest::get(url)
                .await
                .expect("the follower serves webhooks")
                .status()
                .as_u16(),
            405
        );
        env.telegram
            .send_and_wait(bot, user, "by the follower?", Duration::from_secs(20))
            .await;
        assert_eq!(count_writes(&metrics), 0, "a follower must write nothing");
        leader.shutdown().await;
        leader = follower;
        env.cluster
            .eventually("the follower leads", || async {
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
        .eventually("the webhook of the old bot is deleted", || async {
            (env.telegram.webhook_info(first)["url"] == "").then_some(())
        })
        .await;
    operator.shutdown().await;
}

async fn webhook_of_a_replaced_bot_is_deleted(cluster: Cluster) {
    let (env, operator, (first, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    let has_webhook = |bot| {
        !env.telegram.webhook_info(bot)["url"]
            .to_string()
            .contains("\"\"")
    };
    let wait_until_deleted = async |bot| {
        env.cluster
            .eventually("the webhook is deleted", || async {
                (!has_webhook(bot)).then_some(())
            })
            .await;
    };
    assert!(has_webhook(first));
    // The Secret holds another bot's token.
    let (second, token) = env.add_bot();
    env.set_secret("a", "token", &token).await;
    wait_until_deleted(first).await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(second, 1001, "another bot?", Duration::from_secs(20))
        .await;
    // The connector is suspended.
    env.patch_connector("a", json!({"spec": {"suspend": true}}))
        .await;
    env.wait_until_not_ready("a", "Connected", "False", "Suspended")
        .await;
    wait_until_deleted(second).await;
    let status = env
        .connectors()
        .get("a")
        .await
        .expect("the connector")
        .status;
    assert_eq!(status.expect("a status").webhook, None);
    env.telegram
        .send_private_message(second, 1002, "while suspended");
    env.patch_connector("a", json!({"spec": {"suspend": false}}))
        .await;
    env.telegram
        .wait_for_sent_messages(second, 1002, 0, Duration::from_secs(30))
        .await;
    // The token is revoked, so the webhook cannot be deleted; the deletion of the connector does not wait for it.
    env.telegram.revoke(second);
    let deleted_at = Instant::now();
    env.delete_connector("a").await;
    env.wait_until_gone("a").await;
    assert!(
        deleted_at.elapsed() < Duration::from_secs(10),
        "{:?}",
        deleted_at.elapsed()
    );
    operator.shutdown().await;
}

async fn self_signed_certificate_is_trusted_and_reloaded(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let tls_options = || {
        let mut options = OperatorOptions::webhook();
        let files = write_certificate(env.folder());
        let public = options.webhook_listen;
        options.webhook_listen = any_port();
        let settings = webhook_settings(&mut options);
        settings.public_url = format!("https://{public}").parse().expect("a URL");
        settings.certificate = Some(files.certificate.clone());
        options.webhook_tls = Some(files);
        (options, public)
    };
    let (first, public) = tls_options();
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

    // The files change: new connections get the new certificate, and clients that trust the old one alone fail.
    let files = write_certificate(env.folder());
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
    // The operator uploads the new certificate without a restart. Until then Telegram trusts the old one alone and can deliver over
    // existing connections only.
    proxy.reset_connections();
    env.telegram
        .send_and_wait(bot, 1003, "over TLS anew", Duration::from_mins(1))
        .await;
    operator.shutdown().await;

    // A restart uploads another certificate, and Telegram delivers the waiting update.
    env.telegram
        .send_private_message(bot, 1002, "while it was down");
    let (second, public) = tls_options();
    let operator = env.start_operator(second).await;
    let _proxy = TcpProxy::start(public, operator.webhook_address().expect("an address")).await;
    env.telegram
        .wait_for_sent_messages(bot, 1002, 0, Duration::from_secs(30))
        .await;
    operator.shutdown().await;
}
