//! Who the bot is, how it is called, and the plainest conversation.

use std::time::Duration;

use bot_api_simulator::{SimulatorOptions, User};
use serde_json::json;

use crate::client::{Client, TOKEN, ids};

#[tokio::test]
async fn get_me_is_complete() {
    let client = Client::start(SimulatorOptions::default()).await;
    let me = client.ok("getMe", json!({})).await;
    assert_eq!(me["id"], 8_400_000_001_i64);
    assert_eq!(me["is_bot"], true);
    assert_eq!(me["username"], "acme_support_bot");
    assert_eq!(me["can_read_all_group_messages"], false);
}

#[tokio::test]
async fn parameters_are_read_from_every_source() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_private_message(client.bot, 42, "hi");
    let get = |url: String| client.http.get(url).send();
    let by_query = get(client.url("GETME")).await.expect("an answer");
    assert_eq!(by_query.status(), 200);
    let by_query = get(client.url("sendMessage?chat_id=42&text=a%20b")).await;
    assert_eq!(by_query.expect("an answer").status(), 200);
    let form = client
        .http
        .post(client.url("sendMessage"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body("chat_id=42&text=c+d");
    assert_eq!(form.send().await.expect("an answer").status(), 200);
    let multipart = client
        .http
        .post(client.url("sendmessage"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body("--b\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n42\r\n--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\ne f\r\n--b--\r\n");
    assert_eq!(multipart.send().await.expect("an answer").status(), 200);
    let texts: Vec<String> = client
        .sim
        .sent_messages(client.bot, 42)
        .into_iter()
        .map(|sent| sent.text)
        .collect();
    assert_eq!(texts, ["a b", "c d", "e f"]);
}

#[tokio::test]
async fn unknown_methods_tokens_and_paths_are_refused() {
    let client = Client::start(SimulatorOptions::default()).await;
    assert_eq!(
        client.refused("sendCake", json!({})).await,
        (404, "Not Found: method not found".to_owned())
    );
    let status = async |path: &str| {
        let url = format!("http://{}{path}", client.sim.addr);
        let response = client.http.get(url).send().await.expect("an answer");
        (
            response.status().as_u16(),
            response.text().await.expect("text"),
        )
    };
    let (code, body) = status("/bot8400000001:AAH-another-token_for_the_tests/getMe").await;
    assert_eq!(code, 401);
    assert_eq!(
        body,
        r#"{"description":"Unauthorized","error_code":401,"ok":false}"#
    );
    assert_eq!(status("/botnonsense/getMe").await.0, 404);
    assert_eq!(status("/nothing").await.0, 404);
    client.sim.revoke(client.bot);
    assert_eq!(
        client.refused("getMe", json!({})).await,
        (401, "Unauthorized".to_owned())
    );
    client
        .sim
        .add_bot(TOKEN, "acme_support_bot", "Acme Support");
    client.ok("getMe", json!({})).await;
}

#[tokio::test]
async fn message_arrives_as_an_update_and_the_reply_is_recorded() {
    let client = Client::start(SimulatorOptions::default()).await;
    client
        .sim
        .add_user(User::new(42, "Ann").username("ann_example").language("it"));
    let update_id = client
        .sim
        .send_private_message(client.bot, 42, "/start now");
    let updates = client.updates(0).await;
    assert_eq!(ids(&updates), [update_id]);
    let message = &updates[0]["message"];
    assert_eq!(
        message["chat"],
        json!({"id": 42, "type": "private", "first_name": "Ann", "username": "ann_example"})
    );
    assert_eq!(
        message["from"],
        json!({"id": 42, "is_bot": false, "first_name": "Ann", "username": "ann_example", "language_code": "it"})
    );
    assert_eq!(message["text"], "/start now");
    assert_eq!(
        message["entities"],
        json!([{"type": "bot_command", "offset": 0, "length": 6}])
    );
    let sent = client
        .ok(
            "sendMessage",
            json!({"chat_id": 42, "text": "<b>hi</b> Ann", "parse_mode": "HTML"}),
        )
        .await;
    assert_eq!(sent["text"], "hi Ann");
    assert_eq!(
        sent["entities"],
        json!([{"type": "bold", "offset": 0, "length": 2}])
    );
    assert_eq!(sent["from"]["id"], 8_400_000_001_i64);
    assert_eq!(client.sim.sent_messages(client.bot, 42)[0].text, "hi Ann");
}

#[tokio::test]
async fn long_poll_returns_when_a_message_arrives() {
    let client = Client::start(SimulatorOptions::default()).await;
    let poll = client.ok("getUpdates", json!({"timeout": 50}));
    let speak = async {
        while client.sim.polls_in_flight(client.bot) == 0 {
            tokio::task::yield_now().await;
        }
        client.sim.send_private_message(client.bot, 42, "hi")
    };
    let (updates, id) =
        tokio::time::timeout(Duration::from_secs(5), async { tokio::join!(poll, speak) })
            .await
            .expect("answered long before its timeout");
    assert_eq!(updates[0]["update_id"], id);
}
