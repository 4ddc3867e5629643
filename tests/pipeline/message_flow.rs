//! The way of a message: who gets to the assistant, in what order, and what comes back.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule};
use bot_api_simulator::{SentMessage, User, UserAction};
use telegram_connector_operator::registry::{DeniedReply, SessionDuration};
use telegram_connector_operator::store::{self, ListingQuery};
use telegram_connector_operator::texts::texts_for;

use crate::test_env::{ANN, EVE, TIMEOUT, TestEnv, specific_users, wait_until};

#[tokio::test]
async fn allowed_user_gets_the_answer() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let answer = env.ask(&support, "where is my order?").await;
    assert!(
        answer.text.contains("You said: where is my order?"),
        "{}",
        answer.text
    );
    env.wait_until_drained().await;
    assert_eq!(env.assistant.request_count(), 1);
    let asked = &env.assistant.requests()[0];
    assert!(
        asked
            .headers
            .iter()
            .any(|(_, v)| v.starts_with(&format!("telegram-{}-", support.id))),
        "{:?}",
        asked.headers
    );
}

#[tokio::test]
async fn denied_user_is_stored_and_notified_once_per_hour() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let answer = env
        .telegram
        .send_and_wait(support.id, EVE, "let me in", TIMEOUT)
        .await;
    assert!(answer.text.contains("6666"), "{}", answer.text);
    env.telegram.send_private_message(support.id, EVE, "please");
    env.telegram.send_private_message(support.id, EVE, "/start");
    let listing = ListingQuery {
        namespace: Some("acme".into()),
        name: Some("support".into()),
        limit: 100,
        ..ListingQuery::default()
    };
    wait_until("three denials are stored", async || {
        env.store.denied(&listing).await.unwrap().rows.len() == 3
    })
    .await;
    env.wait_until_drained().await;
    let denied = env.store.denied(&listing).await.unwrap().rows;
    assert_eq!(denied[1].text.as_deref(), Some("please"));
    assert_eq!(
        (denied[1].user_id, denied[1].level.as_str()),
        (Some(EVE), "Specific")
    );
    assert_eq!(env.telegram.sent_messages(support.id, EVE).len(), 1);
    assert_eq!(env.assistant.request_count(), 0);
}

#[tokio::test]
async fn silent_denial_without_storage_leaves_no_trace() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.save_denied_conversations = false;
        c.denied_reply = DeniedReply::Silent;
    });
    env.telegram
        .send_private_message(support.id, EVE, "super secret words");
    env.ask(&support, "hello").await;
    env.wait_until_drained().await;
    let all = ListingQuery {
        limit: 10,
        ..ListingQuery::default()
    };
    assert!(env.store.denied(&all).await.unwrap().rows.is_empty());
    assert!(env.telegram.sent_messages(support.id, EVE).is_empty());
}

#[tokio::test]
async fn access_list_change_applies_to_the_next_message() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.telegram
        .send_and_wait(support.id, EVE, "let me in", TIMEOUT)
        .await;
    env.update_connector(&support, |c| c.access = specific_users(&[EVE]));
    let sent = env
        .telegram
        .send_and_wait(support.id, EVE, "and now?", TIMEOUT)
        .await;
    assert!(sent.text.contains("and now?"), "{}", sent.text);
    let sent = env.ask(&support, "still me?").await;
    assert!(sent.text.contains("1001"), "{}", sent.text);
    assert_eq!(env.assistant.request_count(), 1);
}

#[tokio::test]
async fn messages_are_ordered_per_chat_and_chats_are_independent() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.access = specific_users(&[ANN, 1002]));
    env.assistant.set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "slow".into(),
            then: Behaviour {
                latency_ms: 1500,
                ..Behaviour::default()
            },
        }],
        ..Behaviour::default()
    });
    env.telegram.send_private_message(support.id, ANN, "slow 0");
    for n in 1..20 {
        env.telegram
            .send_private_message(support.id, ANN, &format!("quick {n}"));
    }
    let began = tokio::time::Instant::now();
    env.telegram
        .send_and_wait(support.id, 1002, "me too", TIMEOUT)
        .await;
    assert!(
        began.elapsed() < Duration::from_millis(1400),
        "{:?}",
        began.elapsed()
    );
    assert!(env.telegram.sent_messages(support.id, ANN).is_empty());
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 19, TIMEOUT)
        .await;
    let order: Vec<_> = sent
        .iter()
        .map(|s| s.text.lines().next().unwrap_or_default().to_owned())
        .collect();
    let mut expected = vec!["You said: slow 0".to_owned()];
    expected.extend((1..20).map(|n| format!("You said: quick {n}")));
    assert_eq!(order, expected);
}

#[tokio::test]
async fn suspended_connector_keeps_its_messages() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let resolved = env.registry.get(&support.uid).unwrap();
    env.registry.withdraw(&support.uid);
    env.telegram
        .send_private_message(support.id, ANN, "are you there?");
    wait_until("the message is in the inbox", async || {
        env.waiting_messages().await == 1
    })
    .await;
    assert_eq!(env.assistant.request_count(), 0);
    env.registry.publish(resolved);
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
    assert!(sent[0].text.contains("are you there?"));
}

#[tokio::test]
async fn without_an_assistant_only_denials_are_handled() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.assistant = None);
    env.telegram
        .send_private_message(support.id, ANN, "are you there?");
    env.telegram
        .send_and_wait(support.id, EVE, "and for me?", TIMEOUT)
        .await;
    assert_eq!(env.waiting_messages().await, 1);
    let assistant = env.openai();
    env.update_connector(&support, |c| c.assistant = Some(assistant));
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 0, TIMEOUT)
        .await;
}

#[tokio::test]
async fn chat_that_waited_before_a_restart_is_answered_at_once() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.assistant = None;
        c.access = specific_users(&[ANN, EVE]);
    });
    let telegram = env.telegram.clone();
    telegram.send_private_message(support.id, ANN, "are you there?");
    wait_until("the chat waits for a change", async || {
        let path = store::sqlite_path(&env.address).unwrap();
        let db = rusqlite::Connection::open(path).unwrap();
        let later = "SELECT count(*) FROM lane WHERE owner IS NULL AND ready_at > (unixepoch() + 30) * 1000";
        db.query_row(later, (), |row| row.get(0)).unwrap_or(0_i64) == 1
    })
    .await;
    env.stop(Duration::ZERO).await;
    // Somebody else's message is ready when the next process starts, which finds the assistant there.
    telegram.send_private_message(support.id, EVE, "and for me?");
    env.wait_until_waiting(2).await;
    let assistant = env.openai();
    env.update_connector(&support, |c| c.assistant = Some(assistant));
    env.restart(Duration::ZERO).await;
    for user in [EVE, ANN] {
        let sent = telegram.wait_for_sent_messages(support.id, user, 0, TIMEOUT);
        assert!(sent.await[0].text.starts_with("You said:"));
    }
}

#[tokio::test]
async fn sessions_end_by_message_dates() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.session.duration = SessionDuration::Hours(1);
    });
    let answer_to_message_at = async |date: i64| {
        let before = env.telegram.sent_messages(support.id, ANN).len();
        env.telegram
            .perform(&UserAction {
                bot: Some(support.id.0),
                from: Some(ANN),
                text: Some("hi".into()),
                date: Some(date),
                ..UserAction::default()
            })
            .unwrap();
        let sent = env
            .telegram
            .wait_for_sent_messages(support.id, ANN, before, TIMEOUT)
            .await;
        sent[before].text.clone()
    };
    let began = 1_790_000_000;
    assert_contains(&answer_to_message_at(began).await, "first message");
    assert_contains(
        &answer_to_message_at(began + 3599).await,
        "I remember 2 earlier messages",
    );
    assert_contains(&answer_to_message_at(began + 3600).await, "first message");
    assert_contains(
        &answer_to_message_at(began + 3601).await,
        "I remember 2 earlier messages",
    );
    // The new value counts for the session that exists.
    env.update_connector(&support, |c| c.session.duration = SessionDuration::Infinite);
    assert_contains(
        &answer_to_message_at(began + 500_000).await,
        "I remember 4 earlier messages",
    );
    env.update_connector(&support, |c| c.session.duration = SessionDuration::None);
    assert_contains(
        &answer_to_message_at(began + 500_001).await,
        "first message",
    );
    assert_contains(
        &answer_to_message_at(began + 500_002).await,
        "first message",
    );
    env.update_connector(&support, |c| c.session.duration = SessionDuration::Infinite);
    assert_contains(
        &answer_to_message_at(began + 500_003).await,
        "first message",
    );
}

#[tokio::test]
async fn new_command_starts_a_session_with_bounded_history() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.session.max_messages = 5);
    for n in 0..4 {
        let sent = env.ask(&support, &format!("message {n}")).await;
        let remembered = match n {
            0 => "first message",
            1 => "I remember 2 earlier",
            _ => "I remember 4 earlier",
        };
        assert!(sent.text.contains(remembered), "{n}: {}", sent.text);
    }
    let sent = env.ask(&support, "/new").await;
    assert!(sent.text.contains("new conversation"), "{}", sent.text);
    let sent = env.ask(&support, "hello again").await;
    assert!(sent.text.contains("first message"), "{}", sent.text);
    let all = ListingQuery {
        limit: 10,
        texts: true,
        ..ListingQuery::default()
    };
    let sessions = env.store.sessions(&all).await.unwrap().rows;
    let listed: Vec<_> = sessions
        .iter()
        .map(|s| (s.current, s.exchanges, s.history.as_ref().unwrap().len()))
        .collect();
    assert_eq!(listed, [(false, 4, 8), (true, 1, 2)]);
}

#[tokio::test]
async fn session_survives_a_restart() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.ask(&support, "one").await;
    env.wait_until_drained().await;
    env.restart(TIMEOUT).await;
    // The poller of the old store goes on accepting into the same file; the new pipeline finds it.
    let sent = env.ask(&support, "two").await;
    assert!(sent.text.contains("I remember 2 earlier"), "{}", sent.text);
}

#[tokio::test]
async fn user_over_the_rate_limit_is_notified_once() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| c.messages_per_minute = 2);
    for n in 0..5 {
        env.telegram
            .perform(&UserAction {
                bot: Some(support.id.0),
                from: Some(ANN),
                text: Some(format!("message {n}")),
                date: Some(1_790_000_000),
                ..UserAction::default()
            })
            .unwrap();
    }
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 2, TIMEOUT)
        .await;
    env.wait_until_drained().await;
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 3);
    assert_eq!(env.assistant.request_count(), 2);
}

#[tokio::test]
async fn start_greets_and_groups_are_ignored_without_settings() {
    let mut env = TestEnv::new().await;
    let support = env.connector_with("support", |c| {
        c.greeting = Some("Hello! Ask me about orders.".into());
    });
    let group = env
        .telegram
        .add_group("supergroup", "Team", &[support.id.0]);
    env.telegram.set_privacy(support.id, false);
    env.telegram
        .send_group_message(group, ANN, "hello everybody");
    let sent = env.ask(&support, "/start").await;
    assert_eq!(sent.text, "Hello! Ask me about orders.");
    env.wait_until_drained().await;
    assert!(env.telegram.sent_messages(support.id, group).is_empty());
    assert_eq!(env.assistant.request_count(), 0);
}

#[tokio::test]
async fn endless_answer_is_cut_at_40_messages_and_says_so() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    // Telegram keeps 100 entities of a message, so an answer of so many becomes hundreds of messages.
    env.assistant.set_behaviour(Behaviour {
        answer: Some("**bold** `code` _italics_\n".repeat(4_000)),
        ..Behaviour::default()
    });
    let mut ann = User::new(ANN, "Ann");
    ann.language_code = Some("it".into());
    env.telegram.add_user(ann);
    env.telegram.send_private_message(support.id, ANN, "go on");
    env.telegram
        .wait_until(support.id, TIMEOUT, |telegram| {
            (telegram.sent_messages(support.id, ANN).len() >= 40).then_some(())
        })
        .await
        .expect("the answer");
    env.wait_until_drained().await;
    let sent = env.telegram.sent_messages(support.id, ANN);
    assert_eq!(sent.len(), 40);
    let mark = &texts_for(Some("it")).answer_cut;
    let marked = |m: &SentMessage| m.text.ends_with(mark.as_str());
    assert!(marked(&sent[39]), "{}", sent[39].text);
    assert_eq!(sent.iter().filter(|m| marked(m)).count(), 1);
    assert!(sent[39].text.contains("italics"), "nothing but the mark");
}

#[tokio::test]
async fn answer_that_would_be_slow_to_format_is_sent_plain() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    let bomb = format!("{} x\n{}", ">".repeat(1_500), "**b**\n".repeat(400));
    env.assistant.set_behaviour(Behaviour {
        answer: Some(bomb.clone()),
        ..Behaviour::default()
    });
    let answer = env.ask(&support, "quote").await;
    assert_eq!(answer.text, bomb.trim_end());
    assert!(answer.entities.is_empty(), "{:?}", answer.entities);
}

fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}
