//! Webhook mode, end to end: registered, verified, repaired, contested, switched.

use std::time::Duration;

use futures::StreamExt;
use secrecy::ExposeSecret;
use serde_json::json;
use telegram_connector_operator::connection::webhook::secret_token;
use telegram_connector_operator::dev::bot_api_simulator::{Fault, FaultKind};

use super::house::{House, KEY, Start, any_port};
use super::wire::Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        webhook_is_registered_and_an_answer_comes_back
    );
    add!(
        suite,
        [Core],
        requests_that_are_not_telegrams_are_turned_away
    );
    add!(
        suite,
        [Core],
        a_body_that_does_not_come_whole_is_no_update_yet
    );
    add!(
        suite,
        [Core],
        forgeries_are_answered_before_their_body_comes_and_change_nothing
    );
    add!(suite, [Core], rejected_webhook_is_reported_and_recovers);
    add!(
        suite,
        [Core],
        webhook_that_somebody_keeps_replacing_is_contested_until_the_next_look
    );
    add!(
        suite,
        [Core],
        webhook_that_keeps_coming_back_in_polling_mode_is_contested_until_the_next_look
    );
    add!(
        suite,
        [Core],
        webhook_that_telegram_cannot_reach_is_reported_and_recovers
    );
    add!(
        suite,
        [Core],
        throttled_registration_is_reported_and_recovers
    );
    add!(
        suite,
        [Core],
        mode_switches_both_ways_without_losing_a_message
    );
}

async fn set_foreign(house: &House, token: &str) {
    let url = format!("{}bot{token}/setWebhook", house.telegram.url());
    let body = json!({"url": "http://127.0.0.1:9/somebody/else"});
    // Telegram takes one setWebhook a second.
    house
        .cluster
        .eventually("somebody else sets a webhook", || async {
            let answer = reqwest::Client::new().post(&url).json(&body).send().await;
            answer
                .expect("an answer")
                .status()
                .is_success()
                .then_some(())
        })
        .await;
}

async fn webhook_is_registered_and_an_answer_comes_back(cluster: Cluster) {
    let (house, operator, (bot, _)) = House::settled(cluster, Start::webhook()).await;
    house
        .condition("a", "Connected", "True", "WebhookVerified")
        .await;
    let object = house.connectors().get("a").await.expect("it");
    let status = object.status.expect("a status");
    let url = status.webhook.expect("a webhook").url;
    assert!(url.ends_with(&format!(
        "/telegram/{}",
        object.metadata.uid.expect("a uid")
    )));
    assert_eq!(house.telegram.webhook_info(bot)["url"], json!(url));
    house
        .telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    house.delete("a").await;
    house.gone("a").await;
    assert_eq!(
        house.telegram.webhook_info(bot)["url"],
        json!(""),
        "withdrawn"
    );
    operator.shutdown().await;
}

async fn requests_that_are_not_telegrams_are_turned_away(cluster: Cluster) {
    let (house, operator, _) = House::settled(cluster, Start::webhook()).await;
    let uid = house
        .connectors()
        .get("a")
        .await
        .expect("it")
        .metadata
        .uid
        .expect("a uid");
    let root = format!("http://{}", operator.webhook_address().expect("an address"));
    let ours = format!("{root}/telegram/{uid}");
    let bot = operator.registry().all()[0].bot.id();
    let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), bot);
    let secret = secret.expose_secret().to_owned();
    let http = reqwest::Client::new();
    let update = r#"{"update_id":1,"message":{"message_id":1,"date":1,"chat":{"id":1,"type":"private"},"from":{"id":1,"is_bot":false,"first_name":"A"},"text":"x"}}"#;
    let post = |url: &str, secret: Option<&str>, kind: &str, body: Vec<u8>| {
        let mut request = http.post(url).header("content-type", kind).body(body);
        if let Some(secret) = secret {
            request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
        }
        request.send()
    };
    let json = "application/json";
    for (what, expected, answer) in [
        (
            "another path",
            404,
            post(&format!("{root}/"), Some(&secret), json, update.into()).await,
        ),
        (
            "an unknown uid",
            404,
            post(
                &format!("{root}/telegram/nobody"),
                Some(&secret),
                json,
                update.into(),
            )
            .await,
        ),
        (
            "no secret",
            401,
            post(&ours, None, json, update.into()).await,
        ),
        (
            "a wrong secret",
            401,
            post(&ours, Some("wrong"), json, update.into()).await,
        ),
        ("another method", 405, http.get(&ours).send().await),
        (
            "another type",
            415,
            post(&ours, Some(&secret), "text/plain", update.into()).await,
        ),
        (
            "no JSON, but Telegram's",
            200,
            post(&ours, Some(&secret), json, "{".into()).await,
        ),
        (
            "no text at all, but Telegram's",
            200,
            post(
                &ours,
                Some(&secret),
                json,
                b"{\"update_id\":1,\"\xff\":0}".to_vec(),
            )
            .await,
        ),
        (
            "no update, but Telegram's",
            200,
            post(&ours, Some(&secret), json, "{}".into()).await,
        ),
        (
            "an update",
            200,
            post(&ours, Some(&secret), json, update.into()).await,
        ),
        (
            "the same again",
            200,
            post(&ours, Some(&secret), json, update.into()).await,
        ),
    ] {
        assert_eq!(answer.expect(what).status().as_u16(), expected, "{what}");
    }
    let metrics = operator.metrics().encode();
    assert!(
        metrics.contains("updates_total{outcome=\"received\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("updates_total{outcome=\"duplicate\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("webhook_refusals_total{reason=\"unusable\"} 3\n"),
        "{metrics}"
    );
    operator.shutdown().await;
}

async fn a_body_that_does_not_come_whole_is_no_update_yet(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    let (bot, _) = house.sound_connector("a").await;
    house.ready("a").await;
    let uid = house.connectors().get("a").await.expect("it").metadata.uid;
    let uid = uid.expect("a uid");
    let address = operator.webhook_address().expect("an address");
    let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), bot);
    let secret = secret.expose_secret();
    let half = format!(
        "POST /telegram/{uid} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\nX-Telegram-Bot-Api-Secret-Token: {secret}\r\n\r\n{{\"update_"
    );
    let begun = || async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let written = stream.write_all(half.as_bytes()).await;
        written.expect("half of it goes out");
        stream
    };
    let mut broken_off = begun().await;
    broken_off.shutdown().await.expect("the end");
    let mut late = begun().await;
    let answers = futures::future::join_all([&mut broken_off, &mut late].map(async |stream| {
        let mut answer = String::new();
        let whole = stream.read_to_string(&mut answer);
        let within = Duration::from_secs(25);
        let _ = tokio::time::timeout(within, whole).await.expect("an end");
        answer
    }))
    .await;
    assert!(
        answers[0].is_empty() || answers[0].starts_with("HTTP/1.1 400"),
        "{answers:?}"
    );
    assert!(answers[1].starts_with("HTTP/1.1 408"), "{answers:?}");
    let metrics = operator.metrics().encode();
    assert!(
        metrics.contains("webhook_refusals_total{reason=\"unusable\"} 0\n"),
        "sent again, it may be an update: {metrics}"
    );
    operator.shutdown().await;
}

async fn forgeries_are_answered_before_their_body_comes_and_change_nothing(cluster: Cluster) {
    const FORGERIES: usize = 500;
    let (house, operator, (bot, _)) = House::settled(cluster, Start::webhook()).await;
    let uid = house.connectors().get("a").await.expect("it").metadata.uid;
    let uid = uid.expect("a uid");
    let address = operator.webhook_address().expect("an address");
    let answer_to_the_head = |head: String| async move {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream
            .write_all(head.as_bytes())
            .await
            .expect("the head goes out");
        // The body never comes, and nobody waits for it: the answer does, and then the end.
        let mut answer = String::new();
        let whole = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), whole)
            .await
            .expect("at once")
            .expect("an answer");
        answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse::<u16>().ok())
    };
    let head = |path: &str, length: u64, headers: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
    };
    let ours = format!("/telegram/{uid}");
    let forged = "X-Telegram-Bot-Api-Secret-Token: forged\r\n";
    let right = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), bot);
    let right = format!(
        "X-Telegram-Bot-Api-Secret-Token: {}\r\n",
        right.expose_secret()
    );
    for (path, length, headers, status) in [
        ("/telegram/nobody", 1000, forged, 404),
        (&*ours, 1000, "", 401),
        (&*ours, 1000, forged, 401),
        (&*ours, 2_000_000, &*right, 413),
    ] {
        assert_eq!(
            answer_to_the_head(head(path, length, headers)).await,
            Some(status),
            "{path} {headers}"
        );
    }
    let flood = (0..FORGERIES).map(|_| answer_to_the_head(head(&ours, 1000, forged)));
    let flood = futures::stream::iter(flood)
        .buffer_unordered(32)
        .collect::<Vec<_>>();
    let asked = house
        .telegram
        .send_and_wait(bot, 1001, "in between", Duration::from_secs(20));
    let (answers, _) = futures::join!(flood, asked);
    assert!(answers.iter().all(|status| *status == Some(401)));
    let metrics = operator.metrics().encode();
    let refused = format!(
        "webhook_refusals_total{{reason=\"bad_secret\"}} {}",
        FORGERIES + 2
    );
    assert!(metrics.contains(&refused), "{metrics}");
    assert!(
        metrics.contains("updates_total{outcome=\"received\"} 1\n"),
        "{metrics}"
    );
    operator.shutdown().await;
}

async fn rejected_webhook_is_reported_and_recovers(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    house.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 400,
            description: "Bad Request: bad webhook: Failed to resolve host: Name or service not known".into(),
        })
        .method("setWebhook")
        .times(1),
    );
    house.sound_connector("a").await;
    let message = house
        .not_ready("a", "Connected", "False", "WebhookRejected")
        .await;
    assert!(
        message.contains("Failed to resolve host") && message.contains("--public-url"),
        "{message}"
    );
    house.ready("a").await;
    operator.shutdown().await;
}

/// The hourly look, for tests.
const LOOK: Duration = Duration::from_secs(6);

async fn webhook_that_somebody_keeps_replacing_is_contested_until_the_next_look(cluster: Cluster) {
    let start = Start {
        look_again: LOOK,
        ..Start::webhook()
    };
    let (house, operator, (bot, token)) = House::settled(cluster, start).await;
    for round in 1..=3 {
        set_foreign(&house, &token).await;
        house
            .cluster
            .eventually("the webhook is ours again", || async {
                let url = house.telegram.webhook_info(bot)["url"].to_string();
                url.contains("/telegram/").then_some(())
            })
            .await;
        assert_eq!(house.events("a", "ForeignWebhook").await.len(), round);
    }
    set_foreign(&house, &token).await;
    let message = house
        .not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert!(message.contains("127.0.0.1"), "{message}");
    assert!(
        !house.telegram.webhook_info(bot)["url"]
            .to_string()
            .contains("/telegram/"),
        "no more fighting"
    );
    house.ready("a").await;
    assert_eq!(house.events("a", "ForeignWebhook").await.len(), 3);
    operator.shutdown().await;
}

async fn webhook_that_keeps_coming_back_in_polling_mode_is_contested_until_the_next_look(
    cluster: Cluster,
) {
    let start = Start {
        look_again: LOOK,
        ..Start::polling()
    };
    let (house, operator, (bot, token)) = House::settled(cluster, start).await;
    for round in 1..=3 {
        set_foreign(&house, &token).await;
        house
            .cluster
            .eventually("it is polled again", || async {
                let ours = house.telegram.webhook_info(bot)["url"] == json!("");
                (ours && house.events("a", "ForeignWebhook").await.len() == round).then_some(())
            })
            .await;
    }
    set_foreign(&house, &token).await;
    house
        .not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert_ne!(
        house.telegram.webhook_info(bot)["url"],
        json!(""),
        "no more fighting"
    );
    house.ready("a").await;
    operator.shutdown().await;
}

async fn webhook_that_telegram_cannot_reach_is_reported_and_recovers(cluster: Cluster) {
    let house = House::new(cluster).await;
    let mut start = Start::webhook();
    let public = start.webhook_listen;
    start.webhook_listen = any_port();
    let operator = house.operator(start).await;
    let (bot, _) = house.sound_connector("a").await;
    house.ready("a").await;
    house
        .telegram
        .send_private_message(bot, 1001, "is anybody there?");
    let message = house
        .not_ready("a", "Connected", "False", "WebhookUnreachable")
        .await;
    assert!(
        message.contains("Connection refused") && message.contains("--public-url"),
        "{message}"
    );
    // What --public-url names leads to the server now.
    let there = operator.webhook_address().expect("an address");
    let _way = Wire::between(public, there).await;
    house
        .telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_mins(1))
        .await;
    house.ready("a").await;
    operator.shutdown().await;
}

async fn throttled_registration_is_reported_and_recovers(cluster: Cluster) {
    let house = House::new(cluster).await;
    let operator = house.operator(Start::webhook()).await;
    house.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 5 })
            .method("setWebhook")
            .times(1),
    );
    house.sound_connector("a").await;
    let message = house
        .not_ready("a", "Connected", "False", "RateLimited")
        .await;
    assert!(message.contains("5 s"), "{message}");
    house.ready("a").await;
    operator.shutdown().await;
}

async fn mode_switches_both_ways_without_losing_a_message(cluster: Cluster) {
    let house = House::new(cluster).await;
    let (bot, _) = house.sound_connector("a").await;
    let mut person = 3000;
    for start in [Start::polling(), Start::webhook(), Start::polling()] {
        // Said while nobody listens; it must be there afterwards.
        person += 1;
        house
            .telegram
            .send_private_message(bot, person, "between two operators");
        let reason = match start.connection {
            telegram_connector_operator::controller::ConnectionSettings::Polling => "Polling",
            telegram_connector_operator::controller::ConnectionSettings::Webhook(_) => {
                "WebhookVerified"
            }
        };
        let operator = house.operator(start).await;
        house.condition("a", "Connected", "True", reason).await;
        house
            .telegram
            .wait_for_sent_messages(bot, person, 0, Duration::from_secs(20))
            .await;
        operator.shutdown().await;
    }
    assert!(
        house.events("a", "ForeignWebhook").await.is_empty(),
        "our own webhook is nobody else's"
    );
}
