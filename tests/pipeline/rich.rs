//! Answers with tables and formulas: as rich messages where Telegram takes them, else as texts, each once and in its place.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind, SentMessage};
use telegram_connector_operator::api::connector::RichMessages::{self, Never, WhenNeeded};

use crate::files_out::store_reply_and_be_killed;
use crate::scripted_assistant::{ScriptedAssistant, text};
use crate::store::part;
use crate::store::rich::rich;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, wait_until};

const ANSWER: &str = "Prices:\n\n|plan|price|\n|-|-:|\n|basic|$5|\n\nwith $x^2$";
const AS_RICH: &str = "<p>Prices:</p><table bordered><tr><th>plan</th><th align=\"right\">price</th></tr>\
    <tr><td>basic</td><td align=\"right\">$5</td></tr></table><p>with <tg-math>x^2</tg-math></p>";
const AS_TEXT: &str =
    "Prices:\n\n<pre>plan  │ price\n──────┼──────\nbasic │    $5</pre>\n\nwith <code>x^2</code>";

/// A connector whose assistant says the same to everything.
fn connector(env: &mut TestEnv, name: &str, answer: &'static str, rich: RichMessages) -> Connector {
    let assistant = ScriptedAssistant::new(move |_| text(answer));
    env.connector_with(name, |c| {
        c.assistant = Some(assistant.shared());
        c.answers.rich = rich;
    })
}

fn refusal(code: u16, description: &str) -> Fault {
    let description = description.into();
    Fault::new(FaultKind::Status { code, description }).method("sendRichMessage")
}

/// How each message was sent: `rich` or not, and its source.
fn sources(messages: &[SentMessage]) -> Vec<(bool, &str)> {
    let source = |m: &'_ SentMessage| m.rich_message.is_some();
    messages
        .iter()
        .map(|m| (source(m), m.source.as_str()))
        .collect()
}

/// The calls of a method with the bot's messages in them.
fn calls(env: &TestEnv, connector: &Connector, method: &str) -> usize {
    let calls = env.telegram.calls(connector.id);
    calls.iter().filter(|call| call.method == method).count()
}

#[tokio::test]
async fn answer_with_a_table_is_a_rich_message() {
    let mut env = TestEnv::new().await;
    let wanted = connector(&mut env, "wanted", ANSWER, WhenNeeded);
    let unwanted = connector(&mut env, "unwanted", ANSWER, Never);
    let sent = env.ask(&wanted, "prices?").await;
    assert_eq!(sources(&[sent]), [(true, AS_RICH)]);
    let sent = env.ask(&unwanted, "prices?").await;
    assert_eq!(sources(&[sent]), [(false, AS_TEXT)]);
    assert_eq!(calls(&env, &unwanted, "sendrichmessage"), 0);
    let calls = env.telegram.calls(wanted.id);
    let call = calls.iter().find(|call| call.method == "sendrichmessage");
    assert_eq!(call.unwrap().unknown_params, [""; 0]);
}

#[tokio::test]
async fn answer_without_a_table_is_sent_as_ever() {
    const PLAIN: &str = "**bold**, $5 and $6\n- [x] done";
    let mut env = TestEnv::new().await;
    let wanted = connector(&mut env, "wanted", PLAIN, WhenNeeded);
    let unwanted = connector(&mut env, "unwanted", PLAIN, Never);
    let sent = env.ask(&wanted, "so?").await;
    let before = env.ask(&unwanted, "so?").await;
    assert_eq!(sources(&[sent]), sources(&[before]));
    assert_eq!(calls(&env, &wanted, "sendrichmessage"), 0);
}

#[tokio::test]
async fn refused_content_is_a_text_and_the_next_one_rich() {
    let mut env = TestEnv::new().await;
    let support = connector(&mut env, "support", ANSWER, WhenNeeded);
    let refused = refusal(400, "Bad Request: RICH_MESSAGE_EMAIL_INVALID");
    env.telegram.add_fault(refused.times(1));
    let sent = env.ask(&support, "prices?").await;
    assert_eq!(sources(&[sent]), [(false, AS_TEXT)]);
    let sent = env.ask(&support, "prices?").await;
    assert_eq!(sources(&[sent]), [(true, AS_RICH)]);
    env.wait_until_drained().await;
    let all = env.telegram.sent_messages(support.id, ANN);
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn server_without_the_method_is_asked_once_per_bot() {
    let mut env = TestEnv::new().await;
    let one = connector(&mut env, "one", ANSWER, WhenNeeded);
    let other = connector(&mut env, "other", ANSWER, WhenNeeded);
    env.telegram
        .add_fault(refusal(404, "Not Found: method not found").bot(one.id));
    for _ in 0..3 {
        let sent = env.ask(&one, "prices?").await;
        assert_eq!(sources(&[sent]), [(false, AS_TEXT)]);
    }
    assert_eq!(calls(&env, &one, "sendrichmessage"), 1);
    let sent = env.ask(&other, "prices?").await;
    assert_eq!(sources(&[sent]), [(true, AS_RICH)]);
}

#[tokio::test]
async fn refused_long_message_becomes_its_texts_in_its_place() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram
        .add_fault(refusal(400, "Bad Request: can't parse entities: no"));
    let parts = vec![
        part("one"),
        rich("<h1>x</h1>", &["a", "b", "c"]),
        part("two"),
    ];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 5).await;
    assert_eq!(texts(&sent), ["one", "a", "b", "c", "two"]);
    assert_eq!(calls(&env, &support, "sendrichmessage"), 1);
    assert_nothing_waits(&env, &support, 5).await;
}

/// What comes after the greeting.
async fn sent(env: &TestEnv, support: &Connector, count: usize) -> Vec<SentMessage> {
    let wait = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, count, TIMEOUT);
    wait.await.into_iter().skip(1).collect()
}

fn texts(messages: &[SentMessage]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message.text.as_str())
        .collect()
}

/// All is sent, and so many messages were.
async fn assert_nothing_waits(env: &TestEnv, support: &Connector, messages: usize) {
    wait_until("the outbox is empty", async || {
        let backlog = env.store.backlog().await.unwrap();
        backlog.iter().all(|waiting| waiting.messages == 0)
    })
    .await;
    let sent = env.telegram.sent_messages(support.id, ANN);
    assert_eq!(sent.len(), messages + 1, "with the greeting");
    assert_eq!(env.dead_letters().await.len(), 0);
}

#[tokio::test]
async fn rich_message_that_was_sent_before_a_kill_is_not_sent_again() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let parts = vec![rich("<h1>x</h1>", &["a", "b"]), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, Some(0)).await;
    assert_eq!(texts(&sent(&env, &support, 1).await), ["two"]);
    assert_nothing_waits(&env, &support, 1).await;
}

#[tokio::test]
async fn kill_between_refusal_and_fallback_loses_and_doubles_nothing() {
    let mut env = TestEnv::new().await;
    let support = connector(&mut env, "support", ANSWER, WhenNeeded);
    env.ask(&support, "/start").await;
    env.telegram
        .add_fault(refusal(400, "Bad Request: RICH_MESSAGE_EMAIL_INVALID"));
    // The text that follows never arrives, and the process ends meanwhile.
    let hanging = Fault::new(FaultKind::Hang).method("sendMessage");
    let hanging = env.telegram.add_fault(hanging);
    env.telegram
        .send_private_message(support.id, ANN, "prices?");
    wait_until("the text is on its way", async || {
        let faults = env.telegram.faults();
        faults
            .iter()
            .any(|(id, _, hits)| *id == hanging && *hits > 0)
    })
    .await;
    env.stop(Duration::ZERO).await;
    env.telegram.remove_fault(hanging);
    env.restart(Duration::ZERO).await;
    let sent = sent(&env, &support, 1).await;
    assert_eq!(sources(&sent), [(false, AS_TEXT)]);
    assert_eq!(
        calls(&env, &support, "sendrichmessage"),
        1,
        "it is a text now"
    );
    assert_nothing_waits(&env, &support, 1).await;
}

#[tokio::test]
async fn rich_message_without_an_answer_is_sent_once_more() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let lost = Fault::new(FaultKind::DropAfter).method("sendRichMessage");
    env.telegram.add_fault(lost.times(1));
    let parts = vec![rich("<h1>x</h1>", &["a"]), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    let sent = sent(&env, &support, 3).await;
    assert_eq!(texts(&sent), ["x", "x", "two"]);
    assert_nothing_waits(&env, &support, 3).await;
}

#[tokio::test]
async fn rich_message_waits_as_long_as_telegram_asks() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let limit = Fault::new(FaultKind::TooManyRequests { retry_after: 1 });
    env.telegram
        .add_fault(limit.method("sendRichMessage").times(1));
    let parts = vec![rich("<h1>x</h1>", &["a"]), part("two")];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    assert_eq!(texts(&sent(&env, &support, 2).await), ["x", "two"]);
    let throttled = r#"throttled_total{method="sendRichMessage"} 1"#;
    assert!(env.metrics.encode().contains(throttled));
    assert_nothing_waits(&env, &support, 2).await;
}

#[tokio::test]
async fn rich_dead_letter_that_is_retried_is_whole() {
    let mut env = TestEnv::with(|limits| limits.reply_age = Duration::ZERO).await;
    let support = env.connector("support");
    let failing = refusal(500, "Internal Server Error");
    env.telegram.add_fault(failing.times(1));
    let parts = vec![rich("<h1>x</h1>", &["a", "b"])];
    store_reply_and_be_killed(&mut env, &support, parts, None).await;
    wait_until("it is given up", async || {
        env.dead_letters().await.len() == 1
    })
    .await;
    env.telegram
        .add_fault(refusal(400, "Bad Request: rich message is invalid"));
    let dead = env.dead_letters().await;
    env.store.retry_dead_letters(&[dead[0].id]).await.unwrap();
    assert_eq!(texts(&sent(&env, &support, 2).await), ["a", "b"]);
    assert_nothing_waits(&env, &support, 2).await;
}
