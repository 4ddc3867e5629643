//! Webhook mode while something of the environment is replaced: its key, its public URL, its certificate. No message is lost.

use std::path::Path;
use std::time::Duration;

use secrecy::SecretString;
use telegram_connector_operator::connection::webhook::TlsFiles;
use telegram_connector_operator::controller::{ConnectionSettings, WebhookSettings};

use super::house::{House, Start};
use super::load::Load;
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
        server_with_its_own_certificate_is_trusted_and_reads_it_again
    );
}

fn settings(start: &mut Start) -> &mut WebhookSettings {
    match &mut start.connection {
        ConnectionSettings::Webhook(settings) => settings,
        ConnectionSettings::Polling => panic!("webhook mode"),
    }
}

const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";

async fn key_and_public_url_are_rotated_without_losing_a_message(cluster: Cluster) {
    let house = House::new(cluster).await;
    let keyed = |mut start: Start, key: &str, previous: Option<&str>| {
        let settings = settings(&mut start);
        settings.key = key.into();
        settings.previous_key = previous.map(SecretString::from);
        start
    };
    let first = Start::webhook();
    let elsewhere = Start::webhook();
    let operator = house.operator(keyed(first.clone(), OLD, None)).await;
    let (bot, _) = house.sound_connector("a").await;
    house.ready("a").await;
    let load = Load::start(&house.telegram, &[bot], 10_000, Duration::from_millis(40));
    operator.shutdown().await;

    // The key, with the old one still taken: Telegram's requests of before are let in.
    let operator = house.operator(keyed(first.clone(), NEW, Some(OLD))).await;
    house
        .telegram
        .ask(bot, 1001, "a new key?", Duration::from_secs(30))
        .await;
    let refused = |metrics: &str| {
        metrics
            .lines()
            .find(|l| l.contains("webhook_refusals_total{reason=\"bad_secret\"}"))
            .map(str::to_owned)
    };
    assert_eq!(refused(&operator.metrics().encode()), None);
    operator.shutdown().await;

    // The key, without: they are turned away, and come again.
    let operator = house.operator(keyed(first, OLD, None)).await;
    house
        .telegram
        .ask(bot, 1002, "the old key again?", Duration::from_secs(30))
        .await;
    assert_ne!(refused(&operator.metrics().encode()), None);
    operator.shutdown().await;

    // The public URL.
    let operator = house.operator(keyed(elsewhere.clone(), OLD, None)).await;
    house
        .telegram
        .ask(bot, 1003, "elsewhere?", Duration::from_secs(30))
        .await;
    let address = elsewhere.webhook_listen.to_string();
    let registered = house.telegram.webhook_info(bot)["url"].to_string();
    assert!(registered.contains(&address), "{registered}");
    let answers = load.all_answered(Duration::from_mins(1)).await;
    eprintln!(
        "{} messages while key and URL were rotated, none lost",
        answers.len()
    );
    assert!(
        house.events("a", "ForeignWebhook").await.is_empty(),
        "our own webhook at another address is nobody else's"
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

async fn server_with_its_own_certificate_is_trusted_and_reads_it_again(cluster: Cluster) {
    let house = House::new(cluster).await;
    let start = || {
        let mut start = Start::webhook();
        let files = certificate(house.folder());
        let address = start.webhook_listen;
        let settings = settings(&mut start);
        settings.public_url = format!("https://{address}").parse().expect("a URL");
        settings.certificate_pem =
            Some(std::fs::read_to_string(&files.certificate).expect("the certificate"));
        start.webhook_tls = Some(files);
        start
    };
    let operator = house.operator(start()).await;
    let (bot, _) = house.sound_connector("a").await;
    house.ready("a").await;
    assert_eq!(
        house.telegram.webhook_info(bot)["has_custom_certificate"],
        true
    );
    house
        .telegram
        .ask(bot, 1001, "over TLS", Duration::from_secs(20))
        .await;

    // The files change: the next connection meets the new certificate, and whoever trusts the old one alone does not get through.
    let files = certificate(house.folder());
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
    let answer = house
        .cluster
        .eventually("the new certificate is served", || async {
            trusting.get(&url).send().await.ok()
        })
        .await;
    assert_eq!(answer.status().as_u16(), 405);
    operator.shutdown().await;

    // A start uploads the new one, and what waited comes.
    house.telegram.say(bot, 1002, "while it was down");
    let operator = house.operator(start()).await;
    house
        .telegram
        .wait_for_sent(bot, 1002, 0, Duration::from_secs(30))
        .await;
    operator.shutdown().await;
}
