//! Broken things break as told, and only those.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind, SimulatorOptions};
use serde_json::json;

use crate::client::{Client, ids};

async fn send(client: &Client, chat: i64) -> reqwest::Result<u16> {
    let request = client
        .http
        .post(client.url("sendMessage"))
        .json(&json!({"chat_id": chat, "text": "x"}));
    Ok(request.send().await?.status().as_u16())
}

async fn with_two_chats() -> Client {
    let client = Client::start(SimulatorOptions {
        seed: 7,
        ..SimulatorOptions::default()
    })
    .await;
    client.sim.send_private_message(client.bot, 42, "a");
    client.sim.send_private_message(client.bot, 43, "b");
    client
}

#[tokio::test]
async fn fault_applies_to_its_bot_chat_and_method_only() {
    let client = with_two_chats().await;
    let throttle = Fault::new(FaultKind::TooManyRequests { retry_after: 60 });
    let id = client
        .sim
        .add_fault(throttle.bot(client.bot).chat(42).method("sendMessage"));
    let (status, answer) = client
        .call("sendMessage", json!({"chat_id": 42, "text": "x"}))
        .await;
    assert_eq!(
        (status, &answer["parameters"]["retry_after"]),
        (429, &json!(60))
    );
    assert_eq!(send(&client, 43).await.expect("an answer"), 200);
    client
        .ok("sendChatAction", json!({"chat_id": 42, "action": "typing"}))
        .await;
    client.sim.remove_fault(id);
    assert_eq!(send(&client, 42).await.expect("an answer"), 200);
    assert_eq!(
        client.sim.counters(client.bot).impatient,
        2,
        "both calls to the throttled chat came too early"
    );
}

#[tokio::test]
async fn fault_ends_after_its_number_of_hits() {
    let client = with_two_chats().await;
    let broken = FaultKind::Status {
        code: 502,
        description: "Bad Gateway".into(),
    };
    client.sim.add_fault(Fault::new(broken).times(2));
    for expected in [502, 502, 200] {
        assert_eq!(send(&client, 42).await.expect("an answer"), expected);
    }
}

#[tokio::test]
async fn call_takes_effect_with_drop_after_but_not_with_reset() {
    let client = with_two_chats().await;
    client
        .sim
        .add_fault(Fault::new(FaultKind::DropAfter).times(1));
    assert!(send(&client, 42).await.is_err());
    assert_eq!(client.sim.sent_messages(client.bot, 42).len(), 1);
    client.sim.add_fault(Fault::new(FaultKind::Reset).times(1));
    assert!(send(&client, 42).await.is_err());
    assert_eq!(client.sim.sent_messages(client.bot, 42).len(), 1);
    for (hang, sent) in [(FaultKind::Hang, 1), (FaultKind::HangAfter, 2)] {
        client.sim.add_fault(Fault::new(hang).times(1));
        let hung = tokio::time::timeout(Duration::from_millis(200), send(&client, 42)).await;
        assert!(hung.is_err());
        assert_eq!(client.sim.sent_messages(client.bot, 42).len(), sent);
    }
}

#[tokio::test]
async fn same_seed_draws_the_same_faults() {
    let run = async || {
        let client = with_two_chats().await;
        client
            .sim
            .add_fault(Fault::new(FaultKind::Html { code: 502 }).probability(0.5));
        let mut seen = Vec::new();
        for _ in 0..20 {
            seen.push(send(&client, 42).await.expect("an answer"));
        }
        seen
    };
    let first = run().await;
    assert!(first.contains(&502) && first.contains(&200));
    assert_eq!(first, run().await);
}

#[tokio::test]
async fn repeat_and_reorder_faults_apply_to_polling() {
    let client = with_two_chats().await;
    let first = client.updates(0).await;
    let numbers = ids(&first);
    client
        .sim
        .add_fault(Fault::new(FaultKind::Duplicate).times(1));
    let again = client.updates(numbers[1]).await;
    assert_eq!(ids(&again), numbers, "the confirmed one once more");
    client.sim.clear_faults();
    client.sim.send_bulk(client.bot, 100, 10, 3, "{n}");
    client.sim.add_fault(Fault::new(FaultKind::Reorder));
    let mixed = client.updates(numbers[1] + 1).await;
    let order = ids(&mixed);
    assert!(!order.is_sorted(), "chats are mixed");
    for user in 100..110 {
        let texts: Vec<&str> = mixed
            .iter()
            .filter(|update| update["message"]["chat"]["id"] == user)
            .map(|update| update["message"]["text"].as_str().expect("text"))
            .collect();
        assert_eq!(texts, ["0", "1", "2"], "within a chat the order stays");
    }
}

#[tokio::test]
async fn stopped_simulator_refuses_connections() {
    let client = with_two_chats().await;
    client.sim.stop();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while send(&client, 42).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "it stops listening");
    }
}
