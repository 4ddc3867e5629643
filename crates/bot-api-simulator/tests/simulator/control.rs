//! The control interface over HTTP, as `curl` uses it.

use bot_api_simulator::SimulatorOptions;
use serde_json::{Value, json};

use crate::client::{Client, TOKEN};

impl Client {
    pub(crate) async fn control(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = format!("http://{}/control{path}", self.sim.addr);
        let mut request = self.http.request(method.parse().expect("a method"), url);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.json().await.expect("JSON"))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.control("POST", path, Some(body)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

#[tokio::test]
async fn control_interface_plays_a_conversation() {
    let client = Client::start(SimulatorOptions::default()).await;
    client
        .post("/users", json!({"id": 42, "first_name": "Ann"}))
        .await;
    let response = client.post("/say", json!({"from": 42, "text": "hi"})).await;
    let updates = client.updates(0).await;
    assert_eq!(
        response["updates"],
        json!([[client.bot, updates[0]["update_id"]]])
    );
    let reading = client.control(
        "GET",
        "/bots/acme_support_bot/sent?chat=42&wait_ms=5000",
        None,
    );
    let sending = client.ok("sendMessage", json!({"chat_id": 42, "text": "hello"}));
    let ((_, sent), _) = tokio::join!(reading, sending);
    assert_eq!(sent[0]["text"], "hello");
    let (_, bots) = client.control("GET", "/bots", None).await;
    assert_eq!(
        (
            &bots[0]["counters"]["sent"],
            &bots[0]["counters"]["methods"]["sendmessage"]
        ),
        (&json!(1), &json!(1))
    );
    let (_, calls) = client
        .control("GET", "/bots/acme_support_bot/calls", None)
        .await;
    assert_eq!(
        (
            &calls[0]["method"],
            &calls[0]["params"]["text"],
            &calls[0]["status"]
        ),
        (&json!("sendmessage"), &json!("hello"), &json!(200))
    );
}

#[tokio::test]
async fn groups_faults_options_and_bots_over_http() {
    let client = Client::start(SimulatorOptions::default()).await;
    let group = client
        .post(
            "/groups",
            json!({"type": "forum", "title": "F", "bots": [client.bot]}),
        )
        .await["id"]
        .clone();
    let topic = client
        .post(&format!("/groups/{group}/topics"), json!({"name": "T"}))
        .await;
    let response = client.post("/say", json!({"from": 42, "chat": group, "thread": topic["message_thread_id"], "text": "/help"})).await;
    assert_eq!(response["updates"].as_array().map(Vec::len), Some(1));
    client
        .post(
            &format!("/groups/{group}/members"),
            json!({"bot": "acme_support_bot", "status": "kicked"}),
        )
        .await;
    assert_eq!(
        client
            .refused("sendMessage", json!({"chat_id": group, "text": "x"}))
            .await
            .0,
        403
    );
    let fault = client.post("/faults", json!({"method": "getMe", "fault": {"too_many_requests": {"retry_after": 5}}, "times": 1})).await;
    assert_eq!(client.refused("getMe", json!({})).await.0, 429);
    let (_, faults) = client.control("GET", "/faults", None).await;
    assert_eq!(
        (&faults[0]["id"], &faults[0]["hits"]),
        (&fault["id"], &json!(1))
    );
    client.control("DELETE", "/faults", None).await;
    client.ok("getMe", json!({})).await;
    let (_, options) = client
        .control(
            "PATCH",
            "/options",
            Some(json!({"register_any_token": true})),
        )
        .await;
    assert_eq!(options["register_any_token"], true);
    let other = client
        .http
        .get(
            client
                .url("getMe")
                .replace(TOKEN, "77:another-token-of-mine"),
        )
        .send();
    assert_eq!(other.await.expect("an answer").status(), 200);
    client.control("DELETE", "/bots/77", None).await;
    client
        .post("/block", json!({"bot": client.bot, "user": 42}))
        .await;
    let (status, answer) = client.control("GET", "/bots/nobody", None).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().expect("text").contains("nobody"));
}
