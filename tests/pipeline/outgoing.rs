//! Messages that somebody sends: rendered and delivered like answers, in their turn, and told of whatever happens to them.

use std::time::Duration;

use bot_api_simulator::{Fault, FaultKind, SentMessage};
use jiff::Timestamp;
use rstest::rstest;
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::pipeline::{
    SendError, SendField, SendOutcome, SendRequest, send_message,
};
use telegram_connector_operator::registry::GroupPolicy;
use telegram_connector_operator::store::{OutgoingMessage, OutgoingPhase};

use crate::test_env::{ANN, Connector, EVE, TIMEOUT, TestEnv, wait_until};

/// A message to Ann through the connector `support`.
pub(crate) fn request(name: &str, text: &str) -> SendRequest {
    SendRequest {
        namespace: "acme".into(),
        connector: "support".into(),
        name: name.into(),
        user: Some(ANN),
        text: text.into(),
        ..SendRequest::default()
    }
}

/// A connector that Ann has written to, and that may send.
async fn env_with_support() -> (TestEnv, Connector) {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.sending_per_minute = Some(60);
        c.groups = Some(GroupPolicy {
            respond_to: RespondTo::All,
            chats: None,
            read_along: 0,
        });
    });
    env.ask(&support, "hi").await;
    env.wait_until_drained().await;
    (env, support)
}

async fn send(env: &TestEnv, request: SendRequest) -> OutgoingMessage {
    match send_message(&env.registry, &*env.store, request, Timestamp::now()).await {
        Ok(SendOutcome::Accepted(message)) => message,
        other => panic!("{other:?}"),
    }
}

/// The message once it has ended.
async fn ended(env: &TestEnv, name: &str) -> OutgoingMessage {
    let find = async || {
        env.store
            .outgoing_message("acme", name)
            .await
            .unwrap()
            .unwrap()
    };
    wait_until("the message has ended", async || {
        find().await.phase != OutgoingPhase::Pending
    })
    .await;
    find().await
}

/// What Ann got beside the first answer.
fn received(env: &TestEnv, support: &Connector) -> Vec<SentMessage> {
    env.telegram.sent_messages(support.id, ANN).split_off(1)
}

#[tokio::test]
async fn message_is_rendered_and_delivered_like_an_answer() {
    let (env, support) = env_with_support().await;
    let long = format!("**Deployed** `v2`\n\n{}", "word ".repeat(1_500));
    let message = SendRequest {
        silent: true,
        ..request("deployed", &long)
    };
    send(&env, message).await;
    let sent = ended(&env, "deployed").await;
    assert_eq!(sent.phase, OutgoingPhase::Sent);
    let shown = received(&env, &support);
    let ids: Vec<_> = shown.iter().map(|m| m.message_id).collect();
    assert!(ids.len() > 1, "{ids:?}");
    assert_eq!(sent.message_ids, ids);
    assert!(
        shown[0]
            .source
            .starts_with("<b>Deployed</b> <code>v2</code>")
    );
    assert!(!sent.ambiguous && sent.reason.is_none());
    let calls = env.telegram.calls(support.id).into_iter();
    let silent = calls.filter(|call| call.params["disable_notification"] == "true");
    assert_eq!(silent.count(), ids.len());
}

#[tokio::test]
async fn message_reaches_the_topic_of_a_group() {
    let (env, support) = env_with_support().await;
    let group = env.telegram.add_group("forum", "Ops", &[support.id.0]);
    let topic = env.telegram.add_topic(group, "Alerts");
    let to_topic = |name: &str| SendRequest {
        user: None,
        chat: Some(group),
        topic: Some(topic),
        ..request(name, "fire")
    };
    let early = send_message(
        &env.registry,
        &*env.store,
        to_topic("early"),
        Timestamp::now(),
    )
    .await;
    // The bot has been added, which its first update says, or it has not come yet.
    if early.is_err() {
        env.telegram.send_group_message(group, ANN, "hello");
        env.wait_until_handled(&support).await;
        send(&env, to_topic("fire")).await;
    }
    wait_until("it is in the topic", async || {
        let shown = env.telegram.sent_messages(support.id, group);
        shown
            .iter()
            .any(|m| m.text == "fire" && m.thread_id == Some(topic))
    })
    .await;
}

#[tokio::test]
async fn messages_and_answers_of_a_chat_keep_their_order() {
    let (env, support) = env_with_support().await;
    // Nothing gets through for a while, so that all of it waits in the outbox.
    let unreachable = FaultKind::Status {
        code: 500,
        description: "Internal Server Error".into(),
    };
    env.telegram
        .add_fault(Fault::new(unreachable).method("sendMessage"));
    for n in 0..5 {
        send(&env, request(&format!("m-{n}"), &format!("number {n}"))).await;
    }
    env.telegram
        .send_private_message(support.id, ANN, "and you?");
    tokio::time::sleep(Duration::from_millis(100)).await;
    env.telegram.clear_faults();
    wait_until("all is there", async || received(&env, &support).len() == 6).await;
    let shown = received(&env, &support);
    let texts: Vec<_> = shown.iter().map(|m| m.text.as_str()).collect();
    let expected = ["number 0", "number 1", "number 2", "number 3", "number 4"];
    assert_eq!(texts[..5], expected);
    assert!(texts[5].contains("and you?"), "{texts:?}");
}

#[tokio::test]
async fn message_to_who_blocked_the_bot_fails_with_that_reason() {
    let (env, support) = env_with_support().await;
    env.telegram.block(support.id, ANN, true);
    send(&env, request("hello", "hello")).await;
    let failed = ended(&env, "hello").await;
    assert_eq!(failed.phase, OutgoingPhase::Failed);
    let reason = failed.reason.unwrap();
    assert!(reason.contains("blocked"), "{reason}");
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn refused_message_is_a_dead_letter_until_retried() {
    let (env, support) = env_with_support().await;
    let refused = FaultKind::Status {
        code: 400,
        description: "Bad Request: message is too strange".into(),
    };
    let fault = Fault::new(refused).method("sendMessage");
    env.telegram.add_fault(fault);
    send(&env, request("hello", "hello")).await;
    let failed = ended(&env, "hello").await;
    assert!(failed.reason.unwrap().contains("too strange"));
    env.telegram.clear_faults();
    let dead = env.dead_letters().await;
    env.store.retry_dead_letters(&[dead[0].id]).await.unwrap();
    let sent = ended(&env, "hello").await;
    assert_eq!((sent.phase, sent.reason), (OutgoingPhase::Sent, None));
    assert_eq!(received(&env, &support).len(), 1);
}

#[tokio::test]
async fn throttled_message_is_sent_once_and_later() {
    let (env, support) = env_with_support().await;
    let throttled = FaultKind::TooManyRequests { retry_after: 1 };
    env.telegram
        .add_fault(Fault::new(throttled).method("sendMessage").times(1));
    send(&env, request("hello", "hello")).await;
    let sent = ended(&env, "hello").await;
    assert!(
        sent.phase == OutgoingPhase::Sent && !sent.ambiguous,
        "{sent:?}"
    );
    assert_eq!(received(&env, &support).len(), 1);
}

#[tokio::test]
async fn message_whose_acceptance_was_lost_is_listed_as_ambiguous() {
    let (env, support) = env_with_support().await;
    let lost = Fault::new(FaultKind::DropAfter).method("sendMessage");
    env.telegram.add_fault(lost.times(1));
    send(&env, request("hello", "hello")).await;
    let sent = ended(&env, "hello").await;
    assert!(
        sent.phase == OutgoingPhase::Sent && sent.ambiguous,
        "{sent:?}"
    );
    assert_eq!(received(&env, &support).len(), 2);
}

#[tokio::test]
async fn same_key_is_the_same_message_or_refused() {
    let (env, support) = env_with_support().await;
    let keyed = |name: &str, text: &str| SendRequest {
        idempotency_key: Some("deploy-7".into()),
        ..request(name, text)
    };
    let first = send(&env, keyed("first", "done")).await;
    let again = send_message(
        &env.registry,
        &*env.store,
        keyed("second", "done"),
        Timestamp::now(),
    )
    .await;
    let Ok(SendOutcome::Known(known)) = again else {
        panic!("{again:?}");
    };
    assert_eq!((known.id, known.name.as_str()), (first.id, "first"));
    let other = send_message(
        &env.registry,
        &*env.store,
        keyed("third", "failed"),
        Timestamp::now(),
    )
    .await;
    assert_eq!(refused_field(other), SendField::IdempotencyKey);
    ended(&env, "first").await;
    assert_eq!(received(&env, &support).len(), 1);
}

fn refused_field(outcome: Result<SendOutcome, SendError>) -> SendField {
    match outcome {
        Err(SendError::Refused(refusal)) => refusal.field(),
        other => panic!("{other:?}"),
    }
}

#[rstest]
#[case::unknown_connector(|r: &mut SendRequest| r.connector = "sales".into(), SendField::Connector)]
#[case::other_namespace(|r: &mut SendRequest| r.namespace = "other".into(), SendField::Connector)]
#[case::denied(|r: &mut SendRequest| r.user = Some(EVE), SendField::User)]
#[case::never_met(|r: &mut SendRequest| (r.user, r.chat) = (None, Some(-5)), SendField::To)]
#[case::no_words(|r: &mut SendRequest| r.text = "  ".into(), SendField::Text)]
#[tokio::test]
async fn message_is_refused_by_the_field_that_is_wrong(
    #[case] edit: fn(&mut SendRequest),
    #[case] field: SendField,
) {
    let (env, support) = env_with_support().await;
    let mut asked = request("hello", "hello");
    edit(&mut asked);
    let refused = send_message(&env.registry, &*env.store, asked, Timestamp::now()).await;
    assert_eq!(refused_field(refused), field);
    let found = env.store.outgoing_message("acme", "hello").await.unwrap();
    assert_eq!(found, None);
    assert!(received(&env, &support).is_empty());
}

#[tokio::test]
async fn connector_that_is_suspended_or_silent_sends_nothing() {
    let (env, support) = env_with_support().await;
    env.update_connector(&support, |c| c.sending_per_minute = None);
    let off = send_message(
        &env.registry,
        &*env.store,
        request("a", "a"),
        Timestamp::now(),
    )
    .await;
    let off = off.unwrap_err().to_string();
    assert!(off.contains("spec.sending.perMinute"), "{off}");
    env.registry.withdraw(&support.uid);
    let suspended = send_message(
        &env.registry,
        &*env.store,
        request("a", "a"),
        Timestamp::now(),
    )
    .await;
    let suspended = suspended.unwrap_err().to_string();
    assert!(suspended.contains("suspended"), "{suspended}");
}

#[tokio::test]
async fn rate_of_a_connector_is_bounded() {
    let (env, support) = env_with_support().await;
    env.update_connector(&support, |c| c.sending_per_minute = Some(2));
    for name in ["a", "b"] {
        send(&env, request(name, name)).await;
    }
    let tried = SendRequest {
        dry_run: true,
        ..request("c", "c")
    };
    let refused = send_message(&env.registry, &*env.store, tried, Timestamp::now()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("2 messages a minute"), "{refused}");
    tokio::time::timeout(TIMEOUT, ended(&env, "b"))
        .await
        .unwrap();
}
