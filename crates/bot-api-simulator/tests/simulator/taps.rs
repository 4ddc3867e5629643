//! Taps on buttons: the callback query that the bot gets, and its one answer.

use bot_api_simulator::{Fault, FaultKind, SimulatorOptions, Tap};
use serde_json::{Value, json};

use crate::client::Client;
use crate::keyboards::{with_ann, yes_no};

const INVALID: &str =
    "Bad Request: query is too old and response timeout expired or query ID is invalid";

/// Sends the keyboard to a chat; returns the message's id.
async fn ask(client: &Client, chat: i64) -> i64 {
    let question = json!({"chat_id": chat, "text": "sure?", "reply_markup": yes_no()});
    let sent = client.ok("sendMessage", question).await;
    sent["message_id"].as_i64().expect("an id")
}

fn on(client: &Client, message_id: i64) -> Tap {
    Tap {
        bot: Some(client.bot),
        from: 42,
        message_id,
        ..Tap::default()
    }
}

/// Taps, and gives the callback query that the bot gets.
async fn tapped(client: &Client, tap: &Tap) -> Value {
    let outcome = client.sim.tap(tap).expect("tapped");
    let updates = client.updates(outcome.update_id.expect("queued")).await;
    let query = updates[0]["callback_query"].clone();
    assert_eq!(query["id"], outcome.callback_query_id);
    query
}

#[tokio::test]
async fn tap_arrives_with_the_message_and_the_data() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let tap = Tap {
        column: Some(1),
        ..on(&client, id)
    };
    let query = tapped(&client, &tap).await;
    assert_eq!(query["from"]["id"], 42);
    assert_eq!(query["data"], "n");
    assert_eq!(query["message"]["message_id"], id);
    assert_eq!(query["message"]["text"], "sure?");
    assert_eq!(query["message"]["reply_markup"], yes_no());
    assert_eq!(query["message"]["from"]["is_bot"], true);
    let by_text = Tap {
        text: Some("Yes".into()),
        ..on(&client, id)
    };
    let second = tapped(&client, &by_text).await;
    assert_eq!(second["data"], "y");
    assert_eq!(second["chat_instance"], query["chat_instance"]);
    assert_ne!(second["id"], query["id"]);
}

#[tokio::test]
async fn answer_counts_once() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let query = client.sim.tap(&on(&client, id)).expect("tapped");
    let answer =
        json!({"callback_query_id": query.callback_query_id, "text": "done", "show_alert": true});
    assert!(client.sim.callback_queries(client.bot)[0].answer.is_none());
    let long = json!({"callback_query_id": query.callback_query_id, "text": "x".repeat(201)});
    assert_eq!(
        client.refused("answerCallbackQuery", long).await.1,
        "Bad Request: MESSAGE_TOO_LONG"
    );
    client.ok("answerCallbackQuery", answer.clone()).await;
    let recorded = client.sim.callback_queries(client.bot)[0].answer.clone();
    let recorded = recorded.expect("answered");
    assert_eq!(
        (recorded.text.as_str(), recorded.show_alert),
        ("done", true)
    );
    assert_eq!(
        client.refused("answerCallbackQuery", answer).await,
        (400, INVALID.to_owned())
    );
    let unknown = json!({"callback_query_id": "17"});
    assert_eq!(
        client.refused("answerCallbackQuery", unknown).await.1,
        INVALID
    );
}

#[tokio::test]
async fn query_that_waited_too_long_cannot_be_answered() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let query = client.sim.tap(&on(&client, id)).expect("tapped");
    client.sim.configure(|o| o.callback_query_seconds = 0);
    let answer = json!({"callback_query_id": query.callback_query_id});
    assert_eq!(
        client.refused("answerCallbackQuery", answer).await.1,
        INVALID
    );
    let late = client.sim.tap(&on(&client, id)).expect("tapped");
    assert_eq!(late.update_id, None, "its update has expired");
}

#[tokio::test]
async fn double_tap_makes_two_queries() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let first = client.sim.tap(&on(&client, id)).expect("tapped");
    let second = client.sim.tap(&on(&client, id)).expect("tapped");
    assert_ne!(first.callback_query_id, second.callback_query_id);
    assert!(first.update_id < second.update_id);
    for query in [first, second] {
        let answer = json!({"callback_query_id": query.callback_query_id});
        client.ok("answerCallbackQuery", answer).await;
    }
}

#[tokio::test]
async fn hostile_client_taps_what_is_not_there() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let forged = |message_id: i64| Tap {
        data: Some("forged".into()),
        ..on(&client, message_id)
    };
    assert_eq!(tapped(&client, &forged(id)).await["data"], "forged");
    let remove = json!({"chat_id": 42, "message_id": id});
    client.ok("editMessageReplyMarkup", remove.clone()).await;
    let honest = client.sim.tap(&on(&client, id)).expect_err("no keyboard");
    assert!(honest.contains("has no keyboard"), "{honest}");
    let query = tapped(&client, &forged(id)).await;
    assert_eq!(query["message"]["text"], "sure?");
    assert!(query["message"]["reply_markup"].is_null());
    client.ok("deleteMessage", remove).await;

    let chat = json!({"id": 42, "type": "private", "first_name": "User 42"});
    assert_eq!(
        tapped(&client, &forged(id)).await["message"],
        json!({"chat": chat, "message_id": id, "date": 0})
    );
}

#[tokio::test]
async fn message_that_is_too_old_is_inaccessible() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let old = Tap {
        inaccessible: true,
        ..on(&client, id)
    };
    let query = tapped(&client, &old).await;
    assert_eq!(
        (&query["message"]["date"], &query["data"]),
        (&json!(0), &json!("y"))
    );
}

#[tokio::test]
async fn only_a_bot_that_wants_callback_queries_gets_them() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let offset = client.updates(0).await[0]["update_id"]
        .as_i64()
        .expect("an id")
        + 1;
    let messages_only = json!({"offset": offset, "allowed_updates": ["message"]});
    client.ok("getUpdates", messages_only).await;
    let outcome = client.sim.tap(&on(&client, id)).expect("tapped");
    assert_eq!(outcome.update_id, None);
    let recorded = &client.sim.callback_queries(client.bot)[0];
    assert_eq!(
        (recorded.update_id, recorded.answer.is_none()),
        (None, true)
    );
}

#[tokio::test]
async fn members_of_a_group_tap_in_order_with_its_messages() {
    let client = Client::start(SimulatorOptions::default()).await;
    for kind in ["group", "supergroup"] {
        let group = client.sim.add_group(kind, "Team", &[client.bot]);
        let id = ask(&client, group).await;
        let before = client.sim.send_group_message(group, 43, "/before");
        let tap = Tap {
            from: 43,
            chat: Some(group),
            message_id: id,
            ..Tap::default()
        };
        let tapped = client.sim.tap(&tap).expect("tapped");
        let after = client.sim.send_group_message(group, 43, "/after");
        let ids = [
            before.updates[0].1,
            tapped.update_id.expect("queued"),
            after.updates[0].1,
        ];
        assert!(ids.is_sorted(), "{ids:?}");
        let updates = client.updates(ids[1]).await;
        let query = &updates[0]["callback_query"];
        assert_eq!(query["message"]["chat"]["id"], group);
        assert_eq!(query["from"]["id"], 43);
        let answer = json!({"callback_query_id": query["id"]});
        client.ok("answerCallbackQuery", answer).await;
    }
}

#[tokio::test]
async fn answer_that_is_lost_on_its_way_has_taken_effect() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let query = client.sim.tap(&on(&client, id)).expect("tapped");
    let lost = Fault::new(FaultKind::DropAfter).method("answerCallbackQuery");
    client.sim.add_fault(lost.times(1));
    let answer = json!({"callback_query_id": query.callback_query_id});
    let request = client.http.post(client.url("answerCallbackQuery"));
    assert!(request.json(&answer).send().await.is_err());
    assert_eq!(
        client.refused("answerCallbackQuery", answer).await.1,
        INVALID
    );
    let throttle = Fault::new(FaultKind::TooManyRequests { retry_after: 3 });
    client
        .sim
        .add_fault(throttle.method("editMessageReplyMarkup").times(1));
    let remove = json!({"chat_id": 42, "message_id": id});
    assert_eq!(
        client.refused("editMessageReplyMarkup", remove).await.0,
        429
    );
    assert!(
        client.sim.sent_messages(client.bot, 42)[0]
            .reply_markup
            .is_some()
    );
}

#[tokio::test]
async fn taps_and_answers_over_the_control_interface() {
    let client = with_ann().await;
    let id = ask(&client, 42).await;
    let tap = json!({"from": 42, "message_id": id, "text": "No"});
    let query = client.post("/tap", tap).await["callback_query_id"].clone();
    let path = "/bots/acme_support_bot/callbacks?wait_ms=5000";
    let answer = json!({"callback_query_id": query, "text": "as you like"});
    let ((_, listed), _) = tokio::join!(
        client.control("GET", path, None),
        client.ok("answerCallbackQuery", answer)
    );
    assert_eq!(
        (&listed[0]["data"], &listed[0]["answer"]["text"]),
        (&json!("n"), &json!("as you like"))
    );
    let wrong = json!({"from": 42, "message_id": id, "row": 3});
    let (status, error) = client.control("POST", "/tap", Some(wrong)).await;
    assert_eq!(status, 400);
    assert!(
        error["error"]
            .as_str()
            .expect("text")
            .contains("no such button")
    );
}
