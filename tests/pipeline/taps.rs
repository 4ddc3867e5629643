//! Taps on buttons: decided by access, answered once, in order with what is said.

use bot_api_simulator::{CallbackQuery, Tap};
use telegram_connector_operator::telegram::{Button, Keyboard, MessageText, NewMessage};

use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv, wait_until};

/// The bot shows somebody who has written to it a button; the message's id.
async fn offer(connector: &Connector, user: i64) -> i64 {
    let button = Button {
        text: "Yes".into(),
        data: "yes".into(),
    };
    let keyboard = Keyboard {
        rows: vec![vec![button]],
    };
    let message = NewMessage {
        chat_id: user,
        thread_id: None,
        direct_messages_topic_id: None,
        text: MessageText::Plain("Go on?"),
        reply_to: None,
        silent: false,
        link_preview: false,
        keyboard: Some(&keyboard),
    };
    connector.bot.send_message(&message).await.unwrap()
}

fn tap(env: &TestEnv, connector: &Connector, user: i64, message_id: i64) {
    let tap = Tap {
        bot: Some(connector.id.0),
        from: user,
        message_id,
        text: Some("Yes".into()),
        ..Tap::default()
    };
    env.telegram.tap(&tap).unwrap();
}

/// The taps with their answers, once so many are answered and nothing waits.
async fn answered(env: &TestEnv, connector: &Connector, count: usize) -> Vec<CallbackQuery> {
    let list = || env.telegram.callback_queries(connector.id);
    wait_until("taps are answered", async || {
        list().iter().filter(|query| query.answer.is_some()).count() >= count
    })
    .await;
    env.wait_until_drained().await;
    list()
}

fn shown(query: &CallbackQuery) -> Option<String> {
    query.answer.as_ref().map(|answer| answer.text.clone())
}

#[tokio::test]
async fn tap_without_a_meaning_is_told_so_once() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.ask(&support, "hi").await;
    let message = offer(&support, ANN).await;
    tap(&env, &support, ANN, message);
    let taps = answered(&env, &support, 1).await;
    assert_eq!(shown(&taps[0]).unwrap(), "This is no longer open.");
    env.restart(std::time::Duration::from_secs(5)).await;
    // Nothing of it is left, in the chat or in the store.
    env.wait_until_drained().await;
    let calls = env.metrics.encode();
    let answered = r#"telegram_seconds_count{method="answerCallbackQuery",result="ok"} 1"#;
    assert!(calls.contains(answered), "{calls}");
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 2);
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn denied_tap_is_told_so_and_nothing_else_happens() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let telegram = &env.telegram;
    telegram.send_and_wait(support.id, EVE, "hi", TIMEOUT).await;
    let message = offer(&support, EVE).await;
    let before = env.telegram.sent_messages(support.id, EVE).len();
    tap(&env, &support, EVE, message);
    let taps = answered(&env, &support, 1).await;
    assert_eq!(shown(&taps[0]).unwrap(), "You may not use this bot.");
    assert_eq!(env.telegram.sent_messages(support.id, EVE).len(), before);
    let listing = telegram_connector_operator::store::ListingQuery {
        limit: 10,
        ..Default::default()
    };
    assert_eq!(env.store.denied(&listing).await.unwrap().rows.len(), 1);
}

#[tokio::test]
async fn taps_that_are_too_fast_are_told_so_once() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.messages_per_minute = 2);
    let telegram = &env.telegram;
    telegram.send_and_wait(support.id, EVE, "hi", TIMEOUT).await;
    let message = offer(&support, EVE).await;
    for _ in 0..5 {
        tap(&env, &support, EVE, message);
    }
    let taps = answered(&env, &support, 3).await;
    let shown: Vec<_> = taps.iter().filter_map(shown).collect();
    // Should a minute have ended in between, there are two turns of them.
    assert!(
        shown.iter().any(|text| text.contains("faster")),
        "{shown:?}"
    );
}

#[tokio::test]
async fn expired_query_costs_nothing() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.ask(&support, "hi").await;
    let json = serde_json::json!({
        "id": "4242", "data": "yes", "chat_instance": "1", "from": {"id": ANN, "is_bot": false, "first_name": "Ann"},
        "message": {"message_id": 1, "date": 0, "chat": {"id": ANN, "type": "private"}},
    });
    env.telegram
        .push_raw_update(support.id, "callback_query", ANN, &json.to_string());
    let answer = env.ask(&support, "still there?").await;
    assert!(answer.text.contains("still there?"), "{}", answer.text);
    env.wait_until_drained().await;
    let calls = env.metrics.encode();
    assert!(calls.contains(r#"result="query_expired"} 1"#), "{calls}");
    assert!(env.dead_letters().await.is_empty());
}
