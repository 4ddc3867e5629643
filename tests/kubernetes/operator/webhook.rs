//! Webhook mode end to end: registration, rejected requests, foreign webhooks, and switches between the connection modes.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind};
use futures::StreamExt;
use secrecy::ExposeSecret;
use serde_json::json;
use telegram_connector_operator::connection::ConnectionSettings;
use telegram_connector_operator::connection::webhook::secret_token;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tcp_proxy::TcpProxy;
use super::test_env::{KEY, OperatorOptions, TestEnv, any_port};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core],
        webhook_is_registered_and_an_answer_comes_back
    );
    add!(suite, [Core], requests_not_from_telegram_are_rejected);
    add!(suite, [Core], incomplete_request_body_is_no_update);
    add!(
        suite,
        [Core],
        forged_requests_are_rejected_before_their_body_arrives
    );
    add!(suite, [Core], rejected_webhook_is_reported_and_recovers);
    add!(
        suite,
        [Core],
        repeatedly_replaced_webhook_is_contested_until_recheck
    );
    add!(
        suite,
        [Core],
        returning_webhook_in_polling_mode_is_contested_until_recheck
    );
    add!(
        suite,
        [Core],
        webhook_that_telegram_cannot_reach_is_reported_and_recovers
    );
    add!(suite, [Core], single_401_of_a_registration_does_not_end_it);
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

async fn set_foreign_webhook(env: &TestEnv, token: &str) {
    let url = format!("{}bot{token}/setWebhook", env.telegram.url());
    let body = json!({"url": "http://127.0.0.1:9/somebody/else"});
    // Telegram accepts one setWebhook per second, so the call is repeated.
    env.cluster
        .eventually("a foreign webhook is set", || async {
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
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    env.wait_for_condition("a", "Connected", "True", "WebhookVerified")
        .await;
    let object = env.connectors().get("a").await.expect("the connector");
    let status = object.status.expect("a status");
    let url = status.webhook.expect("a webhook").url;
    assert!(url.ends_with(&format!(
        "/telegram/{}",
        object.metadata.uid.expect("a uid")
    )));
    assert_eq!(env.telegram.webhook_info(bot)["url"], json!(url));
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    env.delete_connector("a").await;
    env.wait_until_gone("a").await;
    assert_eq!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "the webhook is not deleted"
    );
    operator.shutdown().await;
}

async fn requests_not_from_telegram_are_rejected(cluster: Cluster) {
    let (env, operator, _) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    let uid = env.uid_of("a").await;
    let root = format!("http://{}", operator.webhook_address().expect("an address"));
    let webhook_url = format!("{root}/telegram/{uid}");
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
    for (case, expected, answer) in [
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
            post(&webhook_url, None, json, update.into()).await,
        ),
        (
            "a wrong secret",
            401,
            post(&webhook_url, Some("wrong"), json, update.into()).await,
        ),
        ("another method", 405, http.get(&webhook_url).send().await),
        (
            "another type",
            415,
            post(&webhook_url, Some(&secret), "text/plain", update.into()).await,
        ),
        (
            "no JSON, but Telegram's",
            200,
            post(&webhook_url, Some(&secret), json, "{".into()).await,
        ),
        (
            "no text at all, but Telegram's",
            200,
            post(
                &webhook_url,
                Some(&secret),
                json,
                b"{\"update_id\":1,\"\xff\":0}".to_vec(),
            )
            .await,
        ),
        (
            "no update, but Telegram's",
            200,
            post(&webhook_url, Some(&secret), json, "{}".into()).await,
        ),
        (
            "an update",
            200,
            post(&webhook_url, Some(&secret), json, update.into()).await,
        ),
        (
            "the same again",
            200,
            post(&webhook_url, Some(&secret), json, update.into()).await,
        ),
    ] {
        assert_eq!(answer.expect(case).status().as_u16(), expected, "{case}");
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

async fn incomplete_request_body_is_no_update(cluster: Cluster) {
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    let uid = env.uid_of("a").await;
    let address = operator.webhook_address().expect("an address");
    let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), bot);
    let secret = secret.expose_secret();
    let incomplete_request = format!(
        "POST /telegram/{uid} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 20\r\nX-Telegram-Bot-Api-Secret-Token: {secret}\r\n\r\n{{\"update_"
    );
    let send_incomplete = || async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        let written = stream.write_all(incomplete_request.as_bytes()).await;
        written.expect("the incomplete request is sent");
        stream
    };
    let mut closed = send_incomplete().await;
    closed.shutdown().await.expect("the end");
    let mut stalled = send_incomplete().await;
    let answers = futures::future::join_all([&mut closed, &mut stalled].map(async |stream| {
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        let timeout = Duration::from_secs(25);
        let _ = tokio::time::timeout(timeout, read)
            .await
            .expect("the server ends the connection");
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
        "an incomplete body may be an update that is sent again: {metrics}"
    );
    operator.shutdown().await;
}

async fn forged_requests_are_rejected_before_their_body_arrives(cluster: Cluster) {
    const FORGERIES: usize = 500;
    let (env, operator, (bot, _)) =
        TestEnv::with_ready_connector(cluster, OperatorOptions::webhook()).await;
    let uid = env.uid_of("a").await;
    let address = operator.webhook_address().expect("an address");
    let send_head = |request_head: String| async move {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream
            .write_all(request_head.as_bytes())
            .await
            .expect("the head is sent");
        // The body is never sent. The server answers without waiting for it and closes the connection.
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), read)
            .await
            .expect("an answer without the body")
            .expect("an answer");
        answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse::<u16>().ok())
    };
    let request_head = |path: &str, length: u64, headers: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
    };
    let path_of_connector = format!("/telegram/{uid}");
    let forged = "X-Telegram-Bot-Api-Secret-Token: forged\r\n";
    let secret = secret_token::derive_secret_token(&KEY.into(), &uid.as_str().into(), bot);
    let valid = format!(
        "X-Telegram-Bot-Api-Secret-Token: {}\r\n",
        secret.expose_secret()
    );
    for (path, length, headers, status) in [
        ("/telegram/nobody", 1000, forged, 404),
        (&*path_of_connector, 1000, "", 401),
        (&*path_of_connector, 1000, forged, 401),
        (&*path_of_connector, 2_000_000, &*valid, 413),
    ] {
        assert_eq!(
            send_head(request_head(path, length, headers)).await,
            Some(status),
            "{path} {headers}"
        );
    }
    let forgeries =
        (0..FORGERIES).map(|_| send_head(request_head(&path_of_connector, 1000, forged)));
    let forgeries = futures::stream::iter(forgeries)
        .buffer_unordered(32)
        .collect::<Vec<_>>();
    let exchange = env
        .telegram
        .send_and_wait(bot, 1001, "in between", Duration::from_secs(20));
    let (answers, _) = futures::join!(forgeries, exchange);
    assert!(answers.iter().all(|status| *status == Some(401)));
    let metrics = operator.metrics().encode();
    let refusals = format!(
        "webhook_refusals_total{{reason=\"bad_secret\"}} {}",
        FORGERIES + 2
    );
    assert!(metrics.contains(&refusals), "{metrics}");
    assert!(
        metrics.contains("updates_total{outcome=\"received\"} 1\n"),
        "{metrics}"
    );
    operator.shutdown().await;
}

async fn rejected_webhook_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 400,
            description: "Bad Request: bad webhook: Failed to resolve host: Name or service not known".into(),
        })
        .method("setWebhook")
        .times(1),
    );
    env.create_working_connector("a").await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookRejected")
        .await;
    assert!(
        message.contains("Failed to resolve host") && message.contains("--public-url"),
        "{message}"
    );
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

/// Replaces the hourly recheck in tests.
const RECHECK_INTERVAL: Duration = Duration::from_secs(6);

async fn repeatedly_replaced_webhook_is_contested_until_recheck(cluster: Cluster) {
    let options = OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::webhook()
    };
    let (env, operator, (bot, token)) = TestEnv::with_ready_connector(cluster, options).await;
    for round in 1..=3 {
        set_foreign_webhook(&env, &token).await;
        env.cluster
            .eventually("the operator's webhook is registered again", || async {
                let url = env.telegram.webhook_info(bot)["url"].to_string();
                url.contains("/telegram/").then_some(())
            })
            .await;
        assert_eq!(env.event_notes("a", "ForeignWebhook").await.len(), round);
    }
    set_foreign_webhook(&env, &token).await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert!(message.contains("127.0.0.1"), "{message}");
    assert!(
        !env.telegram.webhook_info(bot)["url"]
            .to_string()
            .contains("/telegram/"),
        "the operator must not replace the webhook again before the recheck"
    );
    env.wait_until_ready("a").await;
    assert_eq!(env.event_notes("a", "ForeignWebhook").await.len(), 3);
    operator.shutdown().await;
}

async fn returning_webhook_in_polling_mode_is_contested_until_recheck(cluster: Cluster) {
    let options = OperatorOptions {
        recheck_interval: RECHECK_INTERVAL,
        ..OperatorOptions::polling()
    };
    let (env, operator, (bot, token)) = TestEnv::with_ready_connector(cluster, options).await;
    for round in 1..=3 {
        set_foreign_webhook(&env, &token).await;
        env.cluster
            .eventually("the bot is polled again", || async {
                let deleted = env.telegram.webhook_info(bot)["url"] == json!("");
                (deleted && env.event_notes("a", "ForeignWebhook").await.len() == round)
                    .then_some(())
            })
            .await;
    }
    set_foreign_webhook(&env, &token).await;
    env.wait_until_not_ready("a", "Connected", "False", "WebhookContested")
        .await;
    assert_ne!(
        env.telegram.webhook_info(bot)["url"],
        json!(""),
        "the operator must not replace the webhook again before the recheck"
    );
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn webhook_that_telegram_cannot_reach_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let mut options = OperatorOptions::webhook();
    let public = options.webhook_listen;
    options.webhook_listen = any_port();
    let operator = env.start_operator(options).await;
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_private_message(bot, 1001, "is anybody there?");
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "WebhookUnreachable")
        .await;
    assert!(
        message.contains("Connection refused") && message.contains("--public-url"),
        "{message}"
    );
    // From now on the address of --public-url leads to the server.
    let server = operator.webhook_address().expect("an address");
    let _proxy = TcpProxy::start(public, server).await;
    env.telegram
        .wait_for_sent_messages(bot, 1001, 0, Duration::from_mins(1))
        .await;
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn single_401_of_a_registration_does_not_end_it(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    for method in ["setWebhook", "getWebhookInfo", "sendMessage"] {
        env.telegram.add_fault(
            Fault::new(FaultKind::Status {
                code: 401,
                description: "Unauthorized".into(),
            })
            .method(method)
            .times(1),
        );
    }
    let (bot, _) = env.create_working_connector("a").await;
    env.wait_until_ready("a").await;
    env.telegram
        .send_and_wait(bot, 1001, "hello", Duration::from_secs(20))
        .await;
    env.wait_for_condition("a", "TokenValid", "True", "TokenAccepted")
        .await;
    operator.shutdown().await;
}

async fn throttled_registration_is_reported_and_recovers(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let operator = env.start_operator(OperatorOptions::webhook()).await;
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 5 })
            .method("setWebhook")
            .times(1),
    );
    env.create_working_connector("a").await;
    let message = env
        .wait_until_not_ready("a", "Connected", "False", "RateLimited")
        .await;
    assert!(message.contains("5 s"), "{message}");
    env.wait_until_ready("a").await;
    operator.shutdown().await;
}

async fn mode_switches_both_ways_without_losing_a_message(cluster: Cluster) {
    let env = TestEnv::new(cluster).await;
    let (bot, _) = env.create_working_connector("a").await;
    let mut user = 3000;
    for options in [
        OperatorOptions::polling(),
        OperatorOptions::webhook(),
        OperatorOptions::polling(),
    ] {
        // Sent while no operator runs; it must be answered afterwards.
        user += 1;
        env.telegram
            .send_private_message(bot, user, "between two operators");
        let reason = match options.connection {
            ConnectionSettings::Polling => "Polling",
            ConnectionSettings::Webhook(_) => "WebhookVerified",
        };
        let operator = env.start_operator(options).await;
        env.wait_for_condition("a", "Connected", "True", reason)
            .await;
        env.telegram
            .wait_for_sent_messages(bot, user, 0, Duration::from_secs(20))
            .await;
        operator.shutdown().await;
    }
    assert!(
        env.event_notes("a", "ForeignWebhook").await.is_empty(),
        "the operator must not take its own webhook for a foreign one"
    );
}
