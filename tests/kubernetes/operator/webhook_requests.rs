//! What arrives at the webhook listener and is no update of Telegram's: forged, incomplete, for somebody else.

use std::time::Duration;

use futures::StreamExt;
use secrecy::ExposeSecret;
use telegram_connector_operator::connection::webhook::secret_token;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::test_env::{KEY, OperatorOptions, TestEnv};
use crate::cluster::Cluster;
use crate::suite::Suite;

pub fn register(suite: &mut Suite) {
    add!(suite, [Core], requests_not_from_telegram_are_rejected);
    add!(suite, [Core], incomplete_request_body_is_no_update);
    add!(
        suite,
        [Core],
        forged_requests_are_rejected_before_their_body_arrives
    );
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
