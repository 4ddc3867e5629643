//! `sendMessage` and its relatives: limits, formatting, and every refusal in Telegram's words.

use std::time::Duration;

use bot_api_simulator::{SimulatorOptions, utf16_len};
use serde_json::{Value, json};

use crate::client::Client;

async fn with_ann() -> Client {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_private_message(client.bot, 42, "hi");
    client
}

fn text(text: &str) -> Value {
    json!({"chat_id": 42, "text": text})
}

async fn refusal(client: &Client, params: Value) -> String {
    client.refused("sendMessage", params).await.1
}

#[tokio::test]
async fn a_text_has_4096_utf16_units_after_its_formatting_is_parsed() {
    let client = with_ann().await;
    client.ok("sendMessage", text(&"x".repeat(4096))).await;
    assert_eq!(
        refusal(&client, text(&"x".repeat(4097))).await,
        "Bad Request: message is too long"
    );
    let emoji = "👍".repeat(2048);
    assert_eq!(utf16_len(&emoji), 4096);
    client.ok("sendMessage", text(&emoji)).await;
    assert_eq!(
        refusal(&client, text(&format!("{emoji}x"))).await,
        "Bad Request: message is too long"
    );
    let markup = format!("<b>{}</b>", "&lt;".repeat(4096));
    let sent = client
        .ok(
            "sendMessage",
            json!({"chat_id": 42, "text": markup, "parse_mode": "html"}),
        )
        .await;
    assert_eq!(
        sent["entities"],
        json!([{"type": "bold", "offset": 0, "length": 4096}])
    );
}

#[tokio::test]
async fn empty_text_is_refused() {
    let client = with_ann().await;
    assert_eq!(
        refusal(&client, text("")).await,
        "Bad Request: message text is empty"
    );
    assert_eq!(
        refusal(&client, text(" \n ")).await,
        "Bad Request: text must be non-empty"
    );
    let html = json!({"chat_id": 42, "text": "<b></b>", "parse_mode": "HTML"});
    assert_eq!(
        refusal(&client, html).await,
        "Bad Request: text must be non-empty"
    );
}

#[tokio::test]
async fn broken_markup_is_refused_and_nothing_is_sent() {
    let client = with_ann().await;
    let html = json!({"chat_id": 42, "text": "a <x>", "parse_mode": "HTML"});
    assert_eq!(
        refusal(&client, html).await,
        "Bad Request: can't parse entities: Unsupported start tag \"x\" at byte offset 2"
    );
    let v2 = json!({"chat_id": 42, "text": "1.5", "parse_mode": "MarkdownV2"});
    assert_eq!(
        refusal(&client, v2).await,
        "Bad Request: can't parse entities: Character '.' is reserved and must be escaped with the preceding '\\'"
    );
    let unknown = json!({"chat_id": 42, "text": "x", "parse_mode": "RTF"});
    assert_eq!(
        refusal(&client, unknown).await,
        "Bad Request: unsupported parse_mode"
    );
    assert!(client.sim.sent_messages(client.bot, 42).is_empty());
}

#[tokio::test]
async fn bot_cannot_write_to_chats_it_has_no_access_to() {
    let client = with_ann().await;
    let to = async |chat: Value| {
        client
            .refused("sendMessage", json!({"chat_id": chat, "text": "x"}))
            .await
    };
    let not_found = (400, "Bad Request: chat not found".to_owned());
    assert_eq!(to(json!(99)).await, not_found, "who never wrote is unknown");
    assert_eq!(to(json!(-5)).await, not_found);
    assert_eq!(to(json!("nonsense")).await, not_found);
    assert_eq!(
        to(json!("")).await,
        (400, "Bad Request: chat_id is empty".to_owned())
    );
    client.sim.block(client.bot, 42, true);
    assert_eq!(
        to(json!(42)).await,
        (403, "Forbidden: bot was blocked by the user".to_owned())
    );
    client.sim.send_private_message(client.bot, 42, "I am back");
    client.ok("sendMessage", text("hello")).await;
    client.sim.deactivate(client.bot, 42);
    assert_eq!(
        to(json!(42)).await,
        (403, "Forbidden: user is deactivated".to_owned())
    );
}

#[tokio::test]
async fn a_reply_shows_what_it_replies_to() {
    let client = with_ann().await;
    let reply = |id: i64, lenient: bool| {
        let parameters = json!({"message_id": id, "allow_sending_without_reply": lenient});
        json!({"chat_id": 42, "text": "x", "reply_parameters": parameters})
    };
    let sent = client.ok("sendMessage", reply(1, false)).await;
    assert_eq!(sent["reply_to_message"]["text"], "hi");
    assert_eq!(
        refusal(&client, reply(77, false)).await,
        "Bad Request: message to be replied not found"
    );
    let sent = client.ok("sendMessage", reply(77, true)).await;
    assert!(sent["reply_to_message"].is_null());
}

#[tokio::test]
async fn edits_change_what_was_sent() {
    let client = with_ann().await;
    let id = client.ok("sendMessage", text("one")).await["message_id"].clone();
    let edit = |text: &str| json!({"chat_id": 42, "message_id": id, "text": text});
    let edited = client.ok("editMessageText", edit("two")).await;
    assert_eq!(
        (&edited["text"], &edited["message_id"]),
        (&json!("two"), &id)
    );
    assert!(edited["edit_date"].is_i64());
    let same = client.refused("editMessageText", edit("two")).await;
    assert!(
        same.1.starts_with("Bad Request: message is not modified"),
        "{same:?}"
    );
    let missing = client
        .refused(
            "editMessageText",
            json!({"chat_id": 42, "message_id": 99, "text": "x"}),
        )
        .await;
    assert_eq!(missing.1, "Bad Request: message to edit not found");
    let foreign = client
        .refused(
            "editMessageText",
            json!({"chat_id": 42, "message_id": 1, "text": "x"}),
        )
        .await;
    assert_eq!(foreign.1, "Bad Request: message can't be edited");
    client
        .ok("deleteMessage", json!({"chat_id": 42, "message_id": id}))
        .await;
    assert_eq!(
        client.refused("editMessageText", edit("x")).await.1,
        "Bad Request: message to edit not found"
    );
    let sent = client.sim.sent_messages(client.bot, 42);
    assert_eq!(
        (sent[0].edits.as_slice(), sent[0].deleted),
        (&["two".to_owned()][..], true)
    );
}

#[tokio::test]
async fn drafts_are_for_private_chats() {
    let client = with_ann().await;
    client
        .ok(
            "sendMessageDraft",
            json!({"chat_id": 42, "draft_id": 7, "text": "thin"}),
        )
        .await;
    client
        .ok(
            "sendMessageDraft",
            json!({"chat_id": 42, "draft_id": 7, "text": "thinking"}),
        )
        .await;
    assert_eq!(client.sim.drafts(client.bot)[1].text, "thinking");
    assert_eq!(
        client
            .refused("sendMessageDraft", json!({"chat_id": 42, "text": "x"}))
            .await
            .0,
        400
    );
    let group = client.sim.add_group("supergroup", "Team", &[client.bot]);
    let refused = client
        .refused(
            "sendMessageDraft",
            json!({"chat_id": group, "draft_id": 7, "text": "x"}),
        )
        .await;
    assert_eq!(refused.1, "Bad Request: TEXTDRAFT_PEER_INVALID");
}

#[tokio::test]
async fn chat_actions_are_checked_and_counted() {
    let client = with_ann().await;
    client
        .ok("sendChatAction", json!({"chat_id": 42, "action": "typing"}))
        .await;
    let refused = client
        .refused("sendChatAction", json!({"chat_id": 42, "action": "dance"}))
        .await;
    assert_eq!(refused.1, "Bad Request: wrong parameter action in request");
    assert_eq!(client.sim.counters(client.bot).actions, 1);
}

#[tokio::test]
async fn commands_are_kept_per_scope_and_language() {
    let client = with_ann().await;
    let new = json!([{"command": "new", "description": "Begin anew"}]);
    client.ok("setMyCommands", json!({"commands": new})).await;
    let neu = json!([{"command": "new", "description": "Neu beginnen"}]);
    client
        .ok(
            "setMyCommands",
            json!({"commands": neu, "language_code": "de"}),
        )
        .await;
    assert_eq!(client.ok("getMyCommands", json!({})).await, new);
    assert_eq!(
        client
            .ok("getMyCommands", json!({"language_code": "de"}))
            .await,
        neu
    );
    let groups = json!({"scope": {"type": "all_group_chats"}});
    assert_eq!(client.ok("getMyCommands", groups).await, json!([]));
    client.ok("deleteMyCommands", json!({})).await;
    assert_eq!(client.ok("getMyCommands", json!({})).await, json!([]));
    let bad = json!({"commands": [{"command": "Bad-Name", "description": "x"}]});
    assert_eq!(
        client.refused("setMyCommands", bad).await.1,
        "Bad Request: BOT_COMMAND_INVALID"
    );
}

#[tokio::test]
async fn rate_limits_answer_429_with_retry_after() {
    let client = Client::start(SimulatorOptions {
        flood_limits: true,
        ..SimulatorOptions::default()
    })
    .await;
    client.sim.send_private_message(client.bot, 42, "hi");
    let mut answer = Value::Null;
    for _ in 0..10 {
        let (status, body) = client.call("sendMessage", text("x")).await;
        if status == 429 {
            answer = body;
            break;
        }
    }
    assert_eq!(answer["parameters"]["retry_after"], 1);
    assert_eq!(answer["description"], "Too Many Requests: retry after 1");
    client.call("sendMessage", text("too early")).await;
    let counters = client.sim.counters(client.bot);
    assert_eq!(counters.impatient, 1);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    client.ok("sendMessage", text("patient")).await;
    assert_eq!(client.sim.counters(client.bot).impatient, 1);
}
