//! `getUpdates`: confirmation, conflicts, slowing, and what is remembered between calls.

use std::time::{Duration, Instant};

use bot_api_simulator::SimulatorOptions;
use serde_json::{Value, json};

use crate::client::{Client, ids};

const OTHER: &str = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running";

async fn wait_for_polls(client: &Client, polls: u32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.sim.polls_in_flight(client.bot) != polls {
        assert!(Instant::now() < deadline, "{polls} polls in flight");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn update_is_returned_until_a_higher_offset_confirms_it() {
    let client = Client::start(SimulatorOptions::default()).await;
    let first = client.sim.send_private_message(client.bot, 42, "one");
    let second = client.sim.send_private_message(client.bot, 43, "two");
    assert_eq!(second, first + 1);
    assert_eq!(ids(&client.updates(0).await), [first, second]);
    assert_eq!(ids(&client.updates(first).await), [first, second]);
    assert_eq!(client.sim.pending(client.bot), 2);
    assert_eq!(ids(&client.updates(second).await), [second]);
    assert_eq!(client.sim.pending(client.bot), 1);
    assert_eq!(
        ids(&client.updates(first).await),
        [second],
        "what is confirmed does not come back"
    );
}

#[tokio::test]
async fn limit_bounds_the_number_of_updates() {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_bulk(client.bot, 1000, 150, 1, "hi");
    assert_eq!(client.updates(0).await.len(), 100);
    let three = client
        .ok("getUpdates", json!({"offset": 1, "limit": 3}))
        .await;
    assert_eq!(three.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_second_poll_ends_the_first_one() {
    let client = Client::start(SimulatorOptions::default()).await;
    let first = client.call("getUpdates", json!({"timeout": 30}));
    let second = async {
        wait_for_polls(&client, 1).await;
        client
            .call("getUpdates", json!({"offset": 5, "timeout": 30}))
            .await
    };
    let speak = async {
        while client.sim.counters(client.bot).conflicts == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        client.sim.send_private_message(client.bot, 42, "hi");
    };
    let ((status, answer), (second, _), ()) = tokio::join!(first, second, speak);
    assert_eq!((status, answer["description"].as_str()), (409, Some(OTHER)));
    assert_eq!(second, 200);
    let counters = client.sim.counters(client.bot);
    assert_eq!((counters.conflicts, counters.concurrent_polls), (1, 1));
}

#[tokio::test]
async fn disconnected_client_causes_no_conflict() {
    let client = Client::start(SimulatorOptions::default()).await;
    let poll = client.call("getUpdates", json!({"timeout": 30}));
    let gone = tokio::time::timeout(Duration::from_millis(200), poll).await;
    assert!(gone.is_err());
    wait_for_polls(&client, 0).await;
    let poll = client.call("getUpdates", json!({"offset": 5, "timeout": 1}));
    assert_eq!(poll.await.0, 200);
    assert_eq!(client.sim.counters(client.bot).concurrent_polls, 0);
}

#[tokio::test]
async fn second_conflict_in_quick_succession_is_delayed() {
    let client = Client::start(SimulatorOptions {
        local_mode: true,
        ..SimulatorOptions::default()
    })
    .await;
    client
        .ok("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
        .await;
    let text = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first";
    let began = Instant::now();
    assert_eq!(
        client.refused("getUpdates", json!({})).await,
        (409, text.to_owned())
    );
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(client.refused("getUpdates", json!({})).await.0, 409);
    assert!(began.elapsed() >= Duration::from_secs(3));
}

#[tokio::test]
async fn setting_a_webhook_ends_a_poll() {
    let client = Client::start(SimulatorOptions {
        local_mode: true,
        ..SimulatorOptions::default()
    })
    .await;
    let poll = client.refused("getUpdates", json!({"timeout": 30}));
    let set = async {
        wait_for_polls(&client, 1).await;
        client
            .ok("setWebhook", json!({"url": "http://127.0.0.1:9/"}))
            .await
    };
    let (refused, _) = tokio::join!(poll, set);
    assert_eq!(
        refused,
        (409, "Conflict: terminated by setWebhook request".to_owned())
    );
}

#[tokio::test]
async fn rapid_polls_with_the_same_offset_are_delayed() {
    let client = Client::start(SimulatorOptions::default()).await;
    let began = Instant::now();
    client.updates(7).await;
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(client.updates(7).await.len(), 0);
    assert!(
        began.elapsed() >= Duration::from_secs(3),
        "an empty answer takes 3 s the second time"
    );

    client.sim.send_private_message(client.bot, 42, "one");
    client.sim.send_private_message(client.bot, 42, "two");
    assert_eq!(client.updates(0).await.len(), 2);
    assert_eq!(
        client.updates(0).await.len(),
        1,
        "within half a second one update at a time"
    );
}

#[tokio::test]
async fn allowed_updates_are_kept_and_filter_updates() {
    let client = Client::start(SimulatorOptions::default()).await;
    let asked = json!({"allowed_updates": ["edited_message"]});
    client.ok("getUpdates", asked).await;
    let raw = |kind| client.sim.push_raw_update(client.bot, kind, 1, "{}");
    assert_eq!(raw("message"), None);
    assert!(raw("edited_message").is_some());
    client.ok("getUpdates", json!({"offset": 1})).await;
    assert_eq!(
        raw("message"),
        None,
        "omitting the parameter keeps the setting"
    );
    client
        .ok("getUpdates", json!({"offset": 2, "allowed_updates": []}))
        .await;
    assert!(raw("message").is_some());
    assert_eq!(raw("chat_member"), None, "the default leaves this out");
}

#[tokio::test]
async fn poll_without_updates_lasts_for_its_timeout() {
    let client = Client::start(SimulatorOptions::default()).await;
    let began = Instant::now();
    let none = client.ok("getUpdates", json!({"timeout": 1})).await;
    assert_eq!(none, Value::Array(vec![]));
    assert!((1..3).contains(&began.elapsed().as_secs()));
}

#[tokio::test]
async fn next_update_id_can_be_set() {
    let client = Client::start(SimulatorOptions::default()).await;
    let first = client.sim.send_private_message(client.bot, 42, "one");
    client
        .sim
        .set_next_update_id(client.bot, first - 50_000_000);
    let second = client.sim.send_private_message(client.bot, 42, "two");
    assert_eq!(second, first - 50_000_000);
}
