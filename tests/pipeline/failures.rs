//! What goes wrong in the field, and what comes of it here.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule, InjectedFailure};
use bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::api::connector::RespondTo;
use telegram_connector_operator::observation::{AssistantFact, IdentityFact};
use telegram_connector_operator::registry::GroupPolicy;
use telegram_connector_operator::store::ListingQuery;
use telegram_connector_operator::telegram::RawUpdate;

use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, specific_users, wait_until};

fn failing_assistant(status: u16, times: Option<u64>) -> Behaviour {
    Behaviour {
        fail: Some(InjectedFailure {
            status,
            times,
            retry_after: None,
        }),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn failed_question_is_retried_with_the_same_key() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(failing_assistant(500, Some(2)));
    let sent = env.ask(&support, "hello").await;
    assert!(sent.text.contains("You said: hello"), "{}", sent.text);
    let keys: std::collections::HashSet<_> = env
        .assistant
        .requests()
        .iter()
        .flat_map(|a| a.headers.clone())
        .filter(|(name, _)| name.contains("idempotency"))
        .collect();
    assert_eq!((env.assistant.request_count(), keys.len()), (3, 1));
    assert!(env.dead_letters().await.is_empty());
}

#[tokio::test]
async fn timed_out_question_is_retried_once_then_reported() {
    let mut env = TestEnv::new().await;
    let within_a_second = env.openai_within(1);
    let support = env.connector_with("support", |c| c.assistant = Some(within_a_second));
    env.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    let sorry = env.ask(&support, "hello").await;
    assert!(sorry.text.contains("took too long"), "{}", sorry.text);
    assert_eq!(env.assistant.request_count(), 2);
    assert_eq!(env.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn unanswerable_message_becomes_a_dead_letter() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "poison".into(),
            then: failing_assistant(500, None),
        }],
        ..Behaviour::default()
    });
    let sorry = env.ask(&support, "poison").await;
    assert!(sorry.text.contains("cannot answer"), "{}", sorry.text);
    let sent = env.ask(&support, "and this?").await;
    assert!(sent.text.contains("and this?"), "{}", sent.text);
    let dead = env.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].name.as_str(), dead[0].kind.as_str()),
        ("support", "message")
    );
    // It can be tried again by command.
    env.assistant.set_behaviour(Behaviour::default());
    let before = env.telegram.sent_messages(support.id, ANN).len();
    env.store.retry_dead_letters(&[dead[0].id]).await.unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, before, TIMEOUT)
        .await;
    assert!(sent[before].text.contains("You said: poison"));
}

#[tokio::test]
async fn assistant_failures_and_recovery_are_observed() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(failing_assistant(503, None));
    env.ask(&support, "hello").await;
    let facts = env.observations.facts(&support.uid);
    assert!(
        matches!(facts.assistant, AssistantFact::Failing { .. }),
        "{facts:?}"
    );
    env.assistant.set_behaviour(Behaviour::default());
    env.ask(&support, "hello").await;
    let facts = env.observations.facts(&support.uid);
    assert_eq!(facts.assistant, AssistantFact::Succeeding);
}

#[tokio::test]
async fn empty_answer_gets_a_reply_and_is_not_retried() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(Behaviour {
        empty: true,
        ..Behaviour::default()
    });
    let sent = env.ask(&support, "hello").await;
    assert!(!sent.text.is_empty());
    env.wait_until_drained().await;
    env.assistant.set_behaviour(Behaviour::default());
    let sent = env.ask(&support, "again").await;
    assert!(sent.text.contains("You said: again"), "{}", sent.text);
}

#[tokio::test]
async fn rate_limited_chat_waits_alone_for_retry_after() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.access = specific_users(&[ANN, 1002]));
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 2 })
            .chat(ANN)
            .method("sendMessage")
            .times(1),
    );
    let began = tokio::time::Instant::now();
    env.telegram.send_private_message(support.id, ANN, "hello");
    wait_until("the 429 came", async || {
        env.telegram.counters(support.id).throttled == 1
            || env
                .telegram
                .calls(support.id)
                .iter()
                .any(|c| c.status == 429)
    })
    .await;
    let throttled = tokio::time::Instant::now();
    env.telegram
        .send_and_wait(support.id, 1002, "me", TIMEOUT)
        .await;
    assert!(began.elapsed() < Duration::from_secs(2), "others waited");
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    let waited = throttled.elapsed();
    assert!(waited >= Duration::from_millis(1950), "{waited:?}");
    assert!(waited < Duration::from_millis(2900), "{waited:?}");
    let sends = env
        .telegram
        .calls(support.id)
        .iter()
        .filter(|c| {
            c.method.eq_ignore_ascii_case("sendMessage")
                && c.params["chat_id"].to_string().contains(&ANN.to_string())
        })
        .count();
    assert_eq!(sends, 2);
    assert_eq!(env.assistant.request_count(), 2);
}

/// Makes Telegram refuse the next message to a chat for so long that nobody else may wait for it.
fn refuse_next_message(env: &TestEnv, chat: i64) {
    env.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 35 })
            .chat(chat)
            .method("sendMessage")
            .times(1),
    );
}

async fn wait_for_429s(env: &TestEnv, support: &Connector, expected: usize) {
    wait_until("the 429s came", async || {
        let calls = env.telegram.calls(support.id);
        calls.iter().filter(|c| c.status == 429).count() == expected
    })
    .await;
}

#[tokio::test]
async fn busy_groups_with_429s_do_not_delay_a_private_chat() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.groups = Some(GroupPolicy {
            read_along: 0,
            respond_to: RespondTo::All,
            chats: None,
        });
    });
    let group = || {
        env.telegram
            .add_group("supergroup", "Team", &[support.id.0])
    };
    let groups = [group(), group()];
    for group in groups {
        for _ in 0..20 {
            env.telegram.send_group_message(group, ANN, "/id");
        }
    }
    for group in groups {
        env.telegram
            .wait_for_sent_messages(support.id, group, 19, TIMEOUT)
            .await;
    }
    for group in groups {
        refuse_next_message(&env, group);
        env.telegram.send_group_message(group, ANN, "/id");
    }
    wait_for_429s(&env, &support, 2).await;
    let began = tokio::time::Instant::now();
    env.ask(&support, "me").await;
    assert!(began.elapsed() < Duration::from_secs(2), "Ann waited");
}

#[tokio::test]
async fn bot_wide_limit_is_probed_not_waited_out() {
    let mut env = TestEnv::new().await;
    let users = [ANN, 1002, 1003, 1004];
    let support = env.connector_with("support", |c| c.access = specific_users(&users));
    for user in [1002, 1003] {
        refuse_next_message(&env, user);
        env.telegram.send_private_message(support.id, user, "hello");
    }
    wait_for_429s(&env, &support, 2).await;
    // Well before the 35 s that Telegram asked the other two to wait.
    env.telegram.send_private_message(support.id, 1004, "me");
    env.ask(&support, "me too").await;
    env.telegram
        .wait_for_sent_messages(support.id, 1004, 0, TIMEOUT)
        .await;
    assert!(env.telegram.sent_messages(support.id, 1002).is_empty());
}

#[tokio::test]
async fn reply_to_a_user_who_blocked_the_bot_is_dropped() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.access = specific_users(&[ANN, 1002]));
    env.telegram.send_private_message(support.id, ANN, "hello");
    env.telegram.block(support.id, ANN, true);
    env.telegram
        .send_and_wait(support.id, 1002, "me", TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert!(env.dead_letters().await.is_empty());
    env.telegram.block(support.id, ANN, false);
    let sent = env.ask(&support, "I am back").await;
    assert!(sent.text.contains("I am back"));
}

#[tokio::test]
async fn send_with_a_lost_response_is_repeated_once() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::DropAfter)
            .method("sendMessage")
            .times(1),
    );
    env.telegram.send_private_message(support.id, ANN, "hello");
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    assert_eq!(sent[0].text, sent[1].text);
    let sent = env.ask(&support, "next").await;
    assert!(sent.text.contains("next"), "{}", sent.text);
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 3);
}

#[tokio::test]
async fn failed_send_is_never_duplicated() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 502,
            description: "Bad Gateway".into(),
        })
        .method("sendMessage")
        .times(4),
    );
    env.ask(&support, "hello").await;
    env.ask(&support, "next").await;
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 2);
    assert_eq!(env.assistant.request_count(), 2);
}

fn unauthorized() -> Fault {
    Fault::new(FaultKind::Status {
        code: 401,
        description: "Unauthorized".into(),
    })
}

#[tokio::test]
async fn single_401_of_a_send_that_get_me_denies_is_retried() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram
        .add_fault(unauthorized().method("sendMessage").times(1));
    env.telegram.send_private_message(support.id, ANN, "hello");
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    assert!(
        !matches!(
            env.observations.facts(&support.uid).identity,
            Some(IdentityFact::Refused { .. })
        ),
        "the bot is cut off"
    );
    assert_eq!(env.assistant.request_count(), 1);
}

#[tokio::test]
async fn revoked_token_delays_the_reply_until_a_change() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram
        .add_fault(unauthorized().method("sendMessage").times(1));
    env.telegram
        .add_fault(unauthorized().method("getMe").times(1));
    env.telegram.send_private_message(support.id, ANN, "hello");
    wait_until("the 401 is noted", async || {
        matches!(
            env.observations.facts(&support.uid).identity,
            Some(IdentityFact::Refused { .. })
        )
    })
    .await;
    assert!(env.telegram.sent_messages(support.id, ANN).is_empty());
    env.update_connector(&support, |c| c.generation += 1);
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    assert_eq!(env.assistant.request_count(), 1);
}

#[tokio::test]
async fn messages_of_the_old_bot_wait_after_a_token_change() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let other = env.connector("other");
    let old = env.registry.get(&support.uid).unwrap();
    // Ann knows the other bot, and nothing of hers is on its way to it when it changes hands.
    env.telegram.send_private_message(other.id, ANN, "/start");
    env.telegram
        .wait_for_sent_messages(other.id, ANN, 0, TIMEOUT)
        .await;
    // The other connector's bot is given to this one, before its messages are handled.
    env.registry.withdraw(&support.uid);
    env.telegram
        .send_private_message(support.id, ANN, "to the old bot");
    wait_until("it is in the inbox", async || {
        env.waiting_messages().await == 1
    })
    .await;
    env.registry.withdraw(&other.uid);
    let mut rotated = (*old).clone();
    rotated.bot = other.bot.clone();
    env.registry.publish(std::sync::Arc::new(rotated));
    let json = serde_json::json!({"update_id": 5, "message": {"message_id": 1, "date": 1_790_000_000, "text": "to the new bot",
        "chat": {"id": ANN, "type": "private"}, "from": {"id": ANN, "is_bot": false, "first_name": "Ann"}}});
    let raw = RawUpdate::from_body(json.to_string().as_bytes()).unwrap();
    env.store
        .accept(&support.uid, other.id, vec![raw])
        .await
        .unwrap();
    let sent = env
        .telegram
        .wait_for_sent_messages(other.id, ANN, 1, TIMEOUT)
        .await;
    assert!(sent[1].text.contains("to the new bot"), "{}", sent[1].text);
    assert!(env.telegram.sent_messages(support.id, ANN).is_empty());
    let now = jiff::Timestamp::now();
    let later = now.checked_add(Duration::from_secs(1)).unwrap();
    let dead_letters = env
        .store
        .dead_letter_other_bots(&support.uid, other.id, later)
        .await
        .unwrap();
    assert_eq!(dead_letters, 1);
}

#[tokio::test]
async fn shutdown_releases_unfinished_work_for_the_next_start() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    env.telegram.send_private_message(support.id, ANN, "one");
    env.telegram.send_private_message(support.id, ANN, "two");
    assert!(env.assistant.wait_for_requests(0, TIMEOUT).await);
    let began = tokio::time::Instant::now();
    env.stop(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(env.waiting_messages().await, 2);
    env.assistant.set_behaviour(Behaviour::default());
    env.restart(TIMEOUT).await;
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    assert!(sent[0].text.contains("one") && sent[1].text.contains("two"));
}

#[tokio::test]
async fn invalid_updates_block_nothing() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    for (n, json) in [
        r#"{"update_id":1}"#,
        r#"{"update_id":2,"message":null}"#,
        r#"{"update_id":3,"message":{"chat":{"id":"x"}}}"#,
        r#"{"update_id":4,"message":{"chat":{"id":1001,"type":"private"},"text":"\ud800"}}"#,
        r#"{"update_id":5,"poll":{"id":"1"}}"#,
        r"[]",
        r#"{"update_id":7,"message":{"message_id":1,"date":-9223372036854775808,"chat":{"id":-9223372036854775808},"text":"x"}}"#,
    ]
    .iter()
    .enumerate()
    {
        let raw = RawUpdate {
            update_id: i64::try_from(n).unwrap(),
            route: RawUpdate::from_body(json.as_bytes())
                .map(|update| update.route)
                .unwrap_or_default(),
            json: serde_json::value::RawValue::from_string((*json).to_owned()).unwrap(),
        };
        env
            .store
            .accept(&support.uid, support.id, vec![raw])
            .await
            .unwrap();
    }
    env.wait_until_drained().await;
    env.ask(&support, "still alive?").await;
    let all = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    let dead = env.store.dead_letters(&all).await.unwrap().rows;
    assert_eq!(dead.len(), 1, "only what is no update at all: {dead:?}");
}
