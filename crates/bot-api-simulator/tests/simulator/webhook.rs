//! `setWebhook` and delivery.

use std::time::{Duration, Instant};

use bot_api_simulator::SimulatorOptions;
use serde_json::json;

use crate::client::{Client, ids};
use crate::webhook_receiver::{ReceivedUpdate, WebhookReceiver, WebhookResponse};

fn local() -> SimulatorOptions {
    SimulatorOptions {
        local_mode: true,
        webhook_second_micros: 20_000,
        ..SimulatorOptions::default()
    }
}

fn texts(got: &[ReceivedUpdate]) -> Vec<&str> {
    got.iter()
        .map(|got| got.update["message"]["text"].as_str().expect("text"))
        .collect()
}

#[tokio::test]
async fn delivery_carries_the_secret_and_ends_when_acknowledged() {
    let client = Client::start(local()).await;
    let receiver = WebhookReceiver::start(vec![]).await;
    let waiting = client.sim.send_private_message(client.bot, 42, "one");
    client
        .ok(
            "setWebhook",
            json!({"url": receiver.url(), "secret_token": "abc_-1"}),
        )
        .await;
    let got = receiver.wait_for(1).await;
    assert_eq!(
        got[0].update["update_id"], waiting,
        "what waited before is delivered too"
    );
    assert_eq!(got[0].secret.as_deref(), Some("abc_-1"));
    client.sim.send_private_message(client.bot, 42, "two");
    let got = receiver.wait_for(2).await;
    assert_eq!(texts(&got), ["one", "two"]);
    let info = client.ok("getWebhookInfo", json!({})).await;
    assert_eq!(info["url"], receiver.url());
    assert_eq!(
        (&info["pending_update_count"], &info["max_connections"]),
        (&json!(0), &json!(40))
    );
    assert_eq!(info["ip_address"], "127.0.0.1");
    assert!(info.get("allowed_updates").is_none() && info.get("last_error_date").is_none());
}

#[tokio::test]
async fn failed_delivery_is_retried_with_growing_delays() {
    let client = Client::start(local()).await;
    let receiver = WebhookReceiver::start(vec![
        WebhookResponse::status(500),
        WebhookResponse::status(502),
        WebhookResponse::status(403),
    ])
    .await;
    client
        .ok("setWebhook", json!({"url": receiver.url()}))
        .await;
    client.sim.send_private_message(client.bot, 42, "one");
    let got = receiver.wait_for(4).await;
    let gap = |n: usize| got[n].began.duration_since(got[n - 1].ended);
    assert!(
        gap(1) < Duration::from_millis(40),
        "the first retry comes at once: {:?}",
        gap(1)
    );
    assert!(
        gap(2) >= Duration::from_millis(40),
        "then after 2 s (scaled): {:?}",
        gap(2)
    );
    assert!(
        gap(3) >= Duration::from_millis(80),
        "then after 4: {:?}",
        gap(3)
    );
    assert!(got.iter().all(|attempt| attempt.update == got[0].update));
    let info = client.sim.webhook_info(client.bot);
    assert_eq!(
        info["last_error_message"],
        "Wrong response from the webhook: 403 Forbidden"
    );
    assert!(info["last_error_date"].is_i64());
    // The receiver knows of the fourth request before the simulator has recorded its response.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while client.sim.deliveries(client.bot).len() < 4 && std::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let log = client.sim.deliveries(client.bot);
    assert_eq!(
        log.iter().map(|entry| entry.status).collect::<Vec<_>>(),
        [500, 502, 403, 200]
    );
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let client = Client::start(local()).await;
    let busy = WebhookResponse {
        header: Some(("retry-after", "10")),
        ..WebhookResponse::status(503)
    };
    let receiver = WebhookReceiver::start(vec![busy]).await;
    client
        .ok("setWebhook", json!({"url": receiver.url()}))
        .await;
    client.sim.send_private_message(client.bot, 42, "one");
    let got = receiver.wait_for(2).await;
    assert!(got[1].began.duration_since(got[0].ended) >= Duration::from_millis(200));
}

#[tokio::test]
async fn delivery_is_sequential_per_chat_and_concurrent_across_chats() {
    let client = Client::start(SimulatorOptions {
        webhook_second_micros: 1_000_000,
        ..local()
    })
    .await;
    let slow = WebhookResponse {
        delay: Duration::from_millis(300),
        ..WebhookResponse::status(200)
    };
    let receiver = WebhookReceiver::start(vec![slow]).await;
    client
        .ok("setWebhook", json!({"url": receiver.url()}))
        .await;
    client.sim.send_private_message(client.bot, 42, "slow");
    client
        .sim
        .send_private_message(client.bot, 42, "after slow");
    // The slow request is on its way before another chat speaks.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client.sim.send_private_message(client.bot, 43, "other");
    let got = receiver.wait_for(3).await;
    assert_eq!(texts(&got), ["other", "slow", "after slow"]);
}

#[tokio::test]
async fn at_most_max_connections_requests_run_at_once() {
    let client = Client::start(SimulatorOptions {
        webhook_second_micros: 1_000_000,
        ..local()
    })
    .await;
    let receiver = WebhookReceiver::start_with(
        vec![],
        WebhookResponse {
            delay: Duration::from_millis(50),
            ..WebhookResponse::status(200)
        },
    )
    .await;
    client
        .ok(
            "setWebhook",
            json!({"url": receiver.url(), "max_connections": 2}),
        )
        .await;
    client.sim.send_bulk(client.bot, 1000, 8, 1, "hi");
    let got = receiver.wait_for(8).await;
    let busiest = got
        .iter()
        .map(|one| {
            got.iter()
                .filter(|other| other.began <= one.began && one.began < other.ended)
                .count()
        })
        .max();
    assert_eq!(busiest, Some(2));
}

#[tokio::test]
async fn webhook_that_stays_410_is_removed_and_its_updates_kept() {
    let client = Client::start(SimulatorOptions {
        webhook_gone_seconds: 10,
        ..local()
    })
    .await;
    let receiver = WebhookReceiver::start_with(vec![], WebhookResponse::status(410)).await;
    client
        .ok("setWebhook", json!({"url": receiver.url()}))
        .await;
    client.sim.send_private_message(client.bot, 42, "one");
    receiver.wait_for(2).await;
    assert_eq!(
        client.sim.webhook_info(client.bot)["url"],
        receiver.url(),
        "not at once"
    );
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.sim.webhook_info(client.bot)["url"] != "" {
        assert!(Instant::now() < deadline, "the webhook is removed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(client.sim.pending(client.bot), 1);
}

#[tokio::test]
async fn invalid_webhook_url_is_refused_and_removes_the_old_one() {
    let client = Client::start(SimulatorOptions {
        refuse_reserved_addresses: true,
        ..SimulatorOptions::default()
    })
    .await;
    let refused = async |params: serde_json::Value| {
        tokio::time::sleep(Duration::from_millis(1_010)).await;
        client.refused("setWebhook", params).await.1
    };
    assert_eq!(
        refused(json!({"url": "http://example.com/"})).await,
        "Bad Request: bad webhook: An HTTPS URL must be provided for webhook"
    );
    assert_eq!(
        refused(json!({"url": "https://example.com:8080/"})).await,
        "Bad Request: bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443"
    );
    assert_eq!(
        refused(json!({"url": "https://127.0.0.1/"})).await,
        "Bad Request: bad webhook: IP address 127.0.0.1 is reserved"
    );
    assert_eq!(
        refused(json!({"url": "https://127.0.0.1/", "secret_token": "a b"})).await,
        "Bad Request: secret token contains unallowed characters"
    );
    client
        .sim
        .configure(|options| options.refuse_reserved_addresses = false);
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    client
        .ok("setWebhook", json!({"url": "https://127.0.0.1:8443/x"}))
        .await;
    refused(json!({"url": "ftp://127.0.0.1/"})).await;
    assert_eq!(client.sim.webhook_info(client.bot)["url"], "");
}

#[tokio::test]
async fn second_set_webhook_within_a_second_is_429() {
    let client = Client::start(local()).await;
    client
        .ok("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
        .await;
    let (status, answer) = client
        .call("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
        .await;
    assert_eq!(
        (status, &answer["parameters"]["retry_after"]),
        (429, &json!(1))
    );
    let (_, answer) = client.call("deleteWebhook", json!({})).await;
    assert_eq!(answer["description"], "Webhook was deleted");
    let (_, answer) = client.call("deleteWebhook", json!({})).await;
    assert_eq!(answer["description"], "Webhook is already deleted");
}

#[tokio::test]
async fn deleting_a_webhook_keeps_pending_updates_by_default() {
    let client = Client::start(local()).await;
    client
        .ok("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
        .await;
    let id = client.sim.send_private_message(client.bot, 42, "one");
    client.ok("deleteWebhook", json!({})).await;
    assert_eq!(ids(&client.updates(0).await), [id]);
    client
        .ok("deleteWebhook", json!({"drop_pending_updates": true}))
        .await;
    assert_eq!(client.sim.pending(client.bot), 0);
}

#[tokio::test]
async fn unreachable_webhook_appears_in_get_webhook_info() {
    let client = Client::start(local()).await;
    client
        .ok("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
        .await;
    client.sim.send_private_message(client.bot, 42, "one");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let info = client.sim.webhook_info(client.bot);
        if info["last_error_message"] == "Connection refused" {
            assert_eq!(info["pending_update_count"], 1);
            return;
        }
        assert!(Instant::now() < deadline, "{info}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_self_signed_server_is_trusted_only_with_its_certificate() {
    let client = Client::start(SimulatorOptions {
        webhook_second_micros: 1_000_000,
        ..local()
    })
    .await;
    let certificate =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let receiver = WebhookReceiver::start_tls(&certificate).await;
    let url = format!("https://{}/x", receiver.addr);
    client.ok("setWebhook", json!({"url": url})).await;
    client.sim.send_private_message(client.bot, 42, "one");
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.sim.counters(client.bot).failed_deliveries == 0 {
        assert!(Instant::now() < deadline, "a delivery fails");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let info = client.sim.webhook_info(client.bot);
    assert!(
        info["last_error_message"]
            .as_str()
            .expect("text")
            .contains("certificate verify failed"),
        "{info}"
    );
    tokio::time::sleep(Duration::from_millis(1_010)).await;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"url\"\r\n\r\n{url}\r\n--b\r\nContent-Disposition: form-data; name=\"certificate\"; filename=\"c.pem\"\r\n\r\n{}\r\n--b--\r\n",
        certificate.cert.pem()
    );
    let answer = client
        .http
        .post(client.url("setWebhook"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(texts(&receiver.wait_for(1).await), ["one"]);
    assert_eq!(
        client.sim.webhook_info(client.bot)["has_custom_certificate"],
        true
    );
}

#[tokio::test]
async fn webhook_response_may_carry_a_call() {
    let client = Client::start(local()).await;
    let reply = WebhookResponse {
        body: r#"{"method":"sendMessage","chat_id":42,"text":"at once"}"#,
        ..WebhookResponse::status(200)
    };
    let receiver = WebhookReceiver::start(vec![reply]).await;
    client
        .ok("setWebhook", json!({"url": receiver.url()}))
        .await;
    client.sim.send_private_message(client.bot, 42, "one");
    let sent = client
        .sim
        .wait_for_sent_messages(client.bot, 42, 0, Duration::from_secs(10))
        .await;
    assert_eq!(sent[0].text, "at once");
}
