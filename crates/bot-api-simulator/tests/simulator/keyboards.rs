//! Inline keyboards: what is accepted, what is refused in which words, and how edits change them.

use bot_api_simulator::SimulatorOptions;
use serde_json::{Value, json};

use crate::client::Client;

pub(crate) async fn with_ann() -> Client {
    let client = Client::start(SimulatorOptions::default()).await;
    client.sim.send_private_message(client.bot, 42, "hi");
    client
}

pub(crate) fn yes_no() -> Value {
    json!({"inline_keyboard": [[
        {"text": "Yes", "callback_data": "y"},
        {"text": "No", "callback_data": "n"},
    ]]})
}

fn text_with(markup: Value) -> Value {
    json!({"chat_id": 42, "text": "sure?", "reply_markup": markup})
}

#[tokio::test]
async fn keyboard_is_part_of_the_message_until_it_is_removed() {
    let client = with_ann().await;
    let sent = client.ok("sendMessage", text_with(yes_no())).await;
    assert_eq!(sent["reply_markup"], yes_no());
    let id = &sent["message_id"];
    let recorded = || {
        client.sim.sent_messages(client.bot, 42)[0]
            .reply_markup
            .clone()
    };
    assert_eq!(recorded(), Some(yes_no()));
    let one = json!({"inline_keyboard": [[{"text": "Docs", "url": "https://example.com/a"}]]});
    let edit = json!({"chat_id": 42, "message_id": id, "reply_markup": one});
    let edited = client.ok("editMessageReplyMarkup", edit.clone()).await;
    assert_eq!(edited["reply_markup"], one);
    assert_eq!(edited["text"], "sure?");
    let same = client.refused("editMessageReplyMarkup", edit).await;
    assert!(
        same.1.starts_with("Bad Request: message is not modified"),
        "{same:?}"
    );
    let without = json!({"chat_id": 42, "message_id": id});
    let edited = client.ok("editMessageReplyMarkup", without).await;
    assert!(edited["reply_markup"].is_null());
    assert_eq!(recorded(), None);
}

#[tokio::test]
async fn edited_text_takes_the_keyboard_of_the_call() {
    let client = with_ann().await;
    let sent = client.ok("sendMessage", text_with(yes_no())).await;
    let edit = |text: &str, markup: Value| json!({"chat_id": 42, "message_id": sent["message_id"], "text": text, "reply_markup": markup});
    let edited = client.ok("editMessageText", edit("no?", yes_no())).await;
    assert_eq!(edited["reply_markup"], yes_no());
    // The same text without the keyboard is a change.
    let edited = client.ok("editMessageText", edit("no?", json!(null))).await;
    assert!(edited["reply_markup"].is_null());
    let same = client
        .refused(
            "editMessageText",
            edit("no?", json!({"inline_keyboard": []})),
        )
        .await;
    assert!(same.1.contains("message is not modified"), "{same:?}");
    let force = client
        .refused("editMessageText", edit("x", json!({"force_reply": true})))
        .await;
    assert_eq!(force.1, "Bad Request: inline keyboard expected");
}

#[tokio::test]
async fn broken_keyboard_is_refused_and_nothing_is_sent() {
    let client = with_ann().await;
    let row = |buttons: Vec<Value>| json!({"inline_keyboard": [buttons]});
    let many = |count: usize| vec![json!({"text": "x", "callback_data": "x"}); count];
    let button = |button: Value| row(vec![button]);
    let parse = "Bad Request: can't parse inline keyboard button: ";
    for (markup, expected) in [
        (json!([]), "Bad Request: object expected as reply markup".to_owned()),
        (
            json!({"inline_keyboard": [1]}),
            "Bad Request: field \"inline_keyboard\" of the InlineKeyboardMarkup must be an Array of Arrays".to_owned(),
        ),
        (button(json!("x")), format!("{parse}InlineKeyboardButton must be an Object")),
        (button(json!({"callback_data": "x"})), format!("{parse}Can't find field \"text\"")),
        (
            button(json!({"text": " ", "callback_data": "x"})),
            format!("{parse}Field \"text\" must be non-empty"),
        ),
        (
            button(json!({"text": "x"})),
            format!("{parse}Text buttons are unallowed in the inline keyboard"),
        ),
        (
            button(json!({"text": "x", "callback_data": ""})),
            format!("{parse}Text buttons are unallowed in the inline keyboard"),
        ),
        (
            button(json!({"text": "x", "callback_data": "x", "url": "https://example.com"})),
            format!("{parse}Fields \"url\" and \"callback_data\" can't be used together"),
        ),
        (
            button(json!({"text": "x", "callback_data": "x".repeat(65)})),
            "Bad Request: BUTTON_DATA_INVALID".to_owned(),
        ),
        (
            button(json!({"text": "x", "callback_data": "👍".repeat(17)})),
            "Bad Request: BUTTON_DATA_INVALID".to_owned(),
        ),
        (
            button(json!({"text": "x", "url": "nonsense"})),
            "Bad Request: inline keyboard button URL 'nonsense' is invalid: Wrong HTTP URL".to_owned(),
        ),
        (row(many(9)), "Bad Request: reply markup is too long".to_owned()),
        (
            json!({"inline_keyboard": vec![many(8); 13]}),
            "Bad Request: reply markup is too long".to_owned(),
        ),
    ] {
        let refused = client.refused("sendMessage", text_with(markup.clone())).await;
        assert_eq!(refused, (400, expected), "{markup}");
    }
    assert!(client.sim.sent_messages(client.bot, 42).is_empty());
}

#[tokio::test]
async fn largest_keyboard_is_accepted() {
    let client = with_ann().await;
    let widest = json!({"text": "x", "callback_data": "👍".repeat(16), "style": "danger"});
    let mut rows = vec![vec![widest.clone(); 8]; 12];
    rows.push(vec![widest; 4]);
    let sent = client
        .ok("sendMessage", text_with(json!({"inline_keyboard": rows})))
        .await;
    assert_eq!(sent["reply_markup"]["inline_keyboard"], json!(rows));
}

#[tokio::test]
async fn other_keyboards_are_recorded_and_not_shown() {
    let client = with_ann().await;
    let markups = [
        json!({"keyboard": [["Yes", {"text": "My place", "request_location": true}]], "resize_keyboard": true}),
        json!({"remove_keyboard": true}),
        json!({"force_reply": true, "input_field_placeholder": "name"}),
    ];
    for markup in &markups {
        let sent = client.ok("sendMessage", text_with(markup.clone())).await;
        assert!(sent["reply_markup"].is_null());
    }
    let sent = client.sim.sent_messages(client.bot, 42);
    let recorded: Vec<Value> = sent.into_iter().filter_map(|m| m.reply_markup).collect();
    assert_eq!(recorded, markups);
    let broken = client
        .refused("sendMessage", text_with(json!({"keyboard": [[{}]]})))
        .await;
    assert_eq!(
        broken.1,
        "Bad Request: can't parse keyboard button: Can't find field \"text\""
    );
}
