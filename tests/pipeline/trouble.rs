//! What goes wrong in the field, and what comes of it here.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule, InjectedFailure};
use bot_api_simulator::{Fault, FaultKind};
use telegram_connector_operator::observation::{AssistantFact, IdentityFact};
use telegram_connector_operator::store::Listing;

use crate::world::{ANN, SOON, World, specific, until};

fn failing(status: u16, times: Option<u64>) -> Behaviour {
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
async fn an_assistant_that_fails_is_asked_again_with_the_same_key() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(failing(500, Some(2)));
    let sent = world.ask(&support, "hello").await;
    assert!(sent.text.contains("You said: hello"), "{}", sent.text);
    let keys: std::collections::HashSet<_> = world
        .assistant
        .requests()
        .iter()
        .flat_map(|a| a.headers.clone())
        .filter(|(name, _)| name.contains("idempotency"))
        .collect();
    assert_eq!((world.assistant.request_count(), keys.len()), (3, 1));
    assert!(world.dead_letters().await.is_empty());
}

#[tokio::test]
async fn an_assistant_that_takes_too_long_is_asked_twice_and_then_the_user_hears_so() {
    let mut world = World::new().await;
    let within_a_second = world.openai_within(1);
    let support = world.connector_with("support", |c| c.assistant = Some(within_a_second));
    world.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    let sorry = world.ask(&support, "hello").await;
    assert!(sorry.text.contains("took too long"), "{}", sorry.text);
    assert_eq!(world.assistant.request_count(), 2);
    assert_eq!(world.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_answered_becomes_a_dead_letter_and_blocks_nothing() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "poison".into(),
            then: failing(500, None),
        }],
        ..Behaviour::default()
    });
    let sorry = world.ask(&support, "poison").await;
    assert!(sorry.text.contains("cannot answer"), "{}", sorry.text);
    let sent = world.ask(&support, "and this?").await;
    assert!(sent.text.contains("and this?"), "{}", sent.text);
    let dead = world.dead_letters().await;
    assert_eq!(dead.len(), 1);
    assert_eq!(
        (dead[0].name.as_str(), dead[0].kind.as_str()),
        ("support", "message")
    );
    // It can be tried again by command.
    world.assistant.set_behaviour(Behaviour::default());
    let before = world.telegram.sent_messages(support.id, ANN).len();
    world.store.retry_dead_letters(&[dead[0].id]).await.unwrap();
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, before, SOON)
        .await;
    assert!(sent[before].text.contains("You said: poison"));
}

#[tokio::test]
async fn three_failures_in_a_row_are_noted_and_the_next_success_too() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(failing(503, None));
    world.ask(&support, "hello").await;
    let facts = world.observations.facts(&support.uid);
    assert!(
        matches!(facts.assistant, AssistantFact::Failing { .. }),
        "{facts:?}"
    );
    world.assistant.set_behaviour(Behaviour::default());
    world.ask(&support, "hello").await;
    let facts = world.observations.facts(&support.uid);
    assert_eq!(facts.assistant, AssistantFact::Succeeding);
}

#[tokio::test]
async fn an_empty_answer_is_said_politely_and_is_not_repeated_for_ever() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(Behaviour {
        empty: true,
        ..Behaviour::default()
    });
    let sent = world.ask(&support, "hello").await;
    assert!(!sent.text.is_empty());
    world.drained().await;
    world.assistant.set_behaviour(Behaviour::default());
    let sent = world.ask(&support, "again").await;
    assert!(sent.text.contains("You said: again"), "{}", sent.text);
}

#[tokio::test]
async fn a_throttled_chat_waits_exactly_as_long_as_asked_and_no_other_does() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.access = specific(&[ANN, 1002]));
    world.telegram.add_fault(
        Fault::new(FaultKind::TooManyRequests { retry_after: 2 })
            .chat(ANN)
            .method("sendMessage")
            .times(1),
    );
    let began = tokio::time::Instant::now();
    world
        .telegram
        .send_private_message(support.id, ANN, "hello");
    until("the 429 came", async || {
        world.telegram.counters(support.id).throttled == 1
            || world
                .telegram
                .calls(support.id)
                .iter()
                .any(|c| c.status == 429)
    })
    .await;
    let throttled = tokio::time::Instant::now();
    world
        .telegram
        .send_and_wait(support.id, 1002, "me", SOON)
        .await;
    assert!(began.elapsed() < Duration::from_secs(2), "others waited");
    world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, SOON)
        .await;
    let waited = throttled.elapsed();
    assert!(waited >= Duration::from_millis(1950), "{waited:?}");
    assert!(waited < Duration::from_millis(2900), "{waited:?}");
    let sends = world
        .telegram
        .calls(support.id)
        .iter()
        .filter(|c| {
            c.method.eq_ignore_ascii_case("sendMessage")
                && c.params["chat_id"].to_string().contains(&ANN.to_string())
        })
        .count();
    assert_eq!(sends, 2);
    assert_eq!(world.assistant.request_count(), 2);
}

#[tokio::test]
async fn a_user_who_blocked_the_bot_ends_that_reply_quietly() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.access = specific(&[ANN, 1002]));
    world
        .telegram
        .send_private_message(support.id, ANN, "hello");
    world.telegram.block(support.id, ANN, true);
    world
        .telegram
        .send_and_wait(support.id, 1002, "me", SOON)
        .await;
    world.drained().await;
    assert!(world.dead_letters().await.is_empty());
    world.telegram.block(support.id, ANN, false);
    let sent = world.ask(&support, "I am back").await;
    assert!(sent.text.contains("I am back"));
}

#[tokio::test]
async fn a_send_whose_answer_was_lost_is_made_once_more() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.telegram.add_fault(
        Fault::new(FaultKind::DropAfter)
            .method("sendMessage")
            .times(1),
    );
    world
        .telegram
        .send_private_message(support.id, ANN, "hello");
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, SOON)
        .await;
    assert_eq!(sent[0].text, sent[1].text);
    let sent = world.ask(&support, "next").await;
    assert!(sent.text.contains("next"), "{}", sent.text);
    assert_eq!(world.telegram.sent_messages(support.id, ANN).len(), 3);
}

#[tokio::test]
async fn a_send_that_did_not_get_through_is_never_doubled() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 502,
            description: "Bad Gateway".into(),
        })
        .method("sendMessage")
        .times(4),
    );
    world.ask(&support, "hello").await;
    world.ask(&support, "next").await;
    assert_eq!(world.telegram.sent_messages(support.id, ANN).len(), 2);
    assert_eq!(world.assistant.request_count(), 2);
}

#[tokio::test]
async fn a_revoked_token_parks_the_reply_until_there_is_a_new_one() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.telegram.add_fault(
        Fault::new(FaultKind::Status {
            code: 401,
            description: "Unauthorized".into(),
        })
        .method("sendMessage")
        .times(1),
    );
    world
        .telegram
        .send_private_message(support.id, ANN, "hello");
    until("the 401 is noted", async || {
        matches!(
            world.observations.facts(&support.uid).identity,
            Some(IdentityFact::Refused { .. })
        )
    })
    .await;
    assert!(world.telegram.sent_messages(support.id, ANN).is_empty());
    world.change(&support, |c| c.generation += 1);
    world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, SOON)
        .await;
    assert_eq!(world.assistant.request_count(), 1);
}

#[tokio::test]
async fn messages_of_the_bot_before_a_rotation_wait_and_those_of_the_new_one_do_not() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let other = world.connector("other");
    let old = world.registry.get(&support.uid).unwrap();
    // Ann knows the other bot, and nothing of hers is on its way to it when it changes hands.
    world.telegram.send_private_message(other.id, ANN, "/start");
    world
        .telegram
        .wait_for_sent_messages(other.id, ANN, 0, SOON)
        .await;
    // The other connector's bot is given to this one, before its messages are handled.
    world.registry.withdraw(&support.uid);
    world
        .telegram
        .send_private_message(support.id, ANN, "to the old bot");
    until("it is in the inbox", async || world.waiting().await == 1).await;
    world.registry.withdraw(&other.uid);
    let mut rotated = (*old).clone();
    rotated.bot = other.bot.clone();
    world.registry.publish(std::sync::Arc::new(rotated));
    let json = serde_json::json!({"update_id": 5, "message": {"message_id": 1, "date": 1_790_000_000, "text": "to the new bot",
        "chat": {"id": ANN, "type": "private"}, "from": {"id": ANN, "is_bot": false, "first_name": "Ann"}}});
    let raw = telegram_connector_operator::telegram::RawUpdate {
        update_id: 5,
        json: serde_json::value::to_raw_value(&json).unwrap(),
    };
    world
        .store
        .accept(&support.uid, other.id, vec![raw])
        .await
        .unwrap();
    let sent = world
        .telegram
        .wait_for_sent_messages(other.id, ANN, 1, SOON)
        .await;
    assert!(sent[1].text.contains("to the new bot"), "{}", sent[1].text);
    assert!(world.telegram.sent_messages(support.id, ANN).is_empty());
    let now = jiff::Timestamp::now();
    let later = now.checked_add(Duration::from_secs(1)).unwrap();
    let buried = world
        .store
        .bury_other_bots(&support.uid, other.id, later)
        .await
        .unwrap();
    assert_eq!(buried, 1);
}

#[tokio::test]
async fn shutdown_gives_back_what_it_does_not_finish_and_the_next_start_does_it() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    world.telegram.send_private_message(support.id, ANN, "one");
    world.telegram.send_private_message(support.id, ANN, "two");
    assert!(world.assistant.wait_for_requests(0, SOON).await);
    let began = tokio::time::Instant::now();
    world.stop(Duration::from_millis(200)).await;
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(world.waiting().await, 2);
    world.assistant.set_behaviour(Behaviour::default());
    world.restart(SOON).await;
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, SOON)
        .await;
    assert!(sent[0].text.contains("one") && sent[1].text.contains("two"));
}

#[tokio::test]
async fn updates_that_make_no_sense_are_done_with_and_block_nothing() {
    let mut world = World::new().await;
    let support = world.connector("support");
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
        let raw = telegram_connector_operator::telegram::RawUpdate {
            update_id: i64::try_from(n).unwrap(),
            json: serde_json::value::RawValue::from_string((*json).to_owned()).unwrap(),
        };
        world
            .store
            .accept(&support.uid, support.id, vec![raw])
            .await
            .unwrap();
    }
    world.drained().await;
    world.ask(&support, "still alive?").await;
    let all = Listing {
        limit: 10,
        ..Listing::default()
    };
    let dead = world.store.dead_letters(&all).await.unwrap().rows;
    assert_eq!(dead.len(), 1, "only what is no update at all: {dead:?}");
}
