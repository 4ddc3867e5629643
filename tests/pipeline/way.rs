//! The way of a message: who gets to the assistant, in what order, and what comes back.

use std::time::Duration;

use bot_api_simulator::UserAction;
use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule};
use telegram_connector_operator::registry::{DeniedReply, SessionDuration};
use telegram_connector_operator::store::Listing;

use crate::world::{ANN, EVE, SOON, World, specific, until};

#[tokio::test]
async fn an_allowed_user_gets_the_assistants_answer() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let answer = world.ask(&support, "where is my order?").await;
    assert!(
        answer.text.contains("You said: where is my order?"),
        "{}",
        answer.text
    );
    world.drained().await;
    assert_eq!(world.assistant.request_count(), 1);
    let asked = &world.assistant.requests()[0];
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
async fn a_denied_user_is_stored_and_answered_once_and_never_reaches_the_assistant() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let said = world
        .telegram
        .send_and_wait(support.id, EVE, "let me in", SOON)
        .await;
    assert!(said.text.contains("6666"), "{}", said.text);
    world
        .telegram
        .send_private_message(support.id, EVE, "please");
    world
        .telegram
        .send_private_message(support.id, EVE, "/start");
    let listing = Listing {
        namespace: Some("acme".into()),
        name: Some("support".into()),
        limit: 100,
        ..Listing::default()
    };
    until("three denials are stored", async || {
        world.store.denied(&listing).await.unwrap().rows.len() == 3
    })
    .await;
    world.drained().await;
    let denied = world.store.denied(&listing).await.unwrap().rows;
    assert_eq!(denied[1].text.as_deref(), Some("please"));
    assert_eq!(
        (denied[1].user_id, denied[1].level.as_str()),
        (Some(EVE), "Specific")
    );
    assert_eq!(world.telegram.sent_messages(support.id, EVE).len(), 1);
    assert_eq!(world.assistant.request_count(), 0);
}

#[tokio::test]
async fn nothing_of_a_denied_message_is_kept_unless_it_is_wanted_and_nothing_said_if_silent() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| {
        c.save_denied_conversations = false;
        c.denied_reply = DeniedReply::Silent;
    });
    world
        .telegram
        .send_private_message(support.id, EVE, "super secret words");
    world.ask(&support, "hello").await;
    world.drained().await;
    let all = Listing {
        limit: 10,
        ..Listing::default()
    };
    assert!(world.store.denied(&all).await.unwrap().rows.is_empty());
    assert!(world.telegram.sent_messages(support.id, EVE).is_empty());
}

#[tokio::test]
async fn a_change_of_the_list_counts_for_the_next_message() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world
        .telegram
        .send_and_wait(support.id, EVE, "let me in", SOON)
        .await;
    world.change(&support, |c| c.access = specific(&[EVE]));
    let sent = world
        .telegram
        .send_and_wait(support.id, EVE, "and now?", SOON)
        .await;
    assert!(sent.text.contains("and now?"), "{}", sent.text);
    let sent = world.ask(&support, "still me?").await;
    assert!(sent.text.contains("1001"), "{}", sent.text);
    assert_eq!(world.assistant.request_count(), 1);
}

#[tokio::test]
async fn messages_of_a_chat_are_answered_in_order_and_chats_do_not_wait_for_each_other() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.access = specific(&[ANN, 1002]));
    world.assistant.set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "slow".into(),
            then: Behaviour {
                latency_ms: 1500,
                ..Behaviour::default()
            },
        }],
        ..Behaviour::default()
    });
    world
        .telegram
        .send_private_message(support.id, ANN, "slow 0");
    for n in 1..20 {
        world
            .telegram
            .send_private_message(support.id, ANN, &format!("quick {n}"));
    }
    let began = tokio::time::Instant::now();
    world
        .telegram
        .send_and_wait(support.id, 1002, "me too", SOON)
        .await;
    assert!(
        began.elapsed() < Duration::from_millis(1400),
        "{:?}",
        began.elapsed()
    );
    assert!(world.telegram.sent_messages(support.id, ANN).is_empty());
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 19, SOON)
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
async fn a_connector_that_is_suspended_keeps_its_messages_until_it_is_back() {
    let mut world = World::new().await;
    let support = world.connector("support");
    let resolved = world.registry.get(&support.uid).unwrap();
    world.registry.withdraw(&support.uid);
    world
        .telegram
        .send_private_message(support.id, ANN, "are you there?");
    until("the message is in the inbox", async || {
        world.waiting().await == 1
    })
    .await;
    assert_eq!(world.assistant.request_count(), 0);
    world.registry.publish(resolved);
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, SOON)
        .await;
    assert!(sent[0].text.contains("are you there?"));
}

#[tokio::test]
async fn without_the_assistants_key_permitted_messages_wait_and_denials_do_not() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.assistant = None);
    world
        .telegram
        .send_private_message(support.id, ANN, "are you there?");
    world
        .telegram
        .send_and_wait(support.id, EVE, "and for me?", SOON)
        .await;
    assert_eq!(world.waiting().await, 1);
    let assistant = world.openai();
    world.change(&support, |c| c.assistant = Some(assistant));
    world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 0, SOON)
        .await;
}

#[tokio::test]
async fn sessions_end_by_the_messages_own_dates() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| {
        c.session.duration = SessionDuration::Hours(1);
    });
    let said = async |date: i64| {
        let before = world.telegram.sent_messages(support.id, ANN).len();
        world
            .telegram
            .perform(&UserAction {
                bot: Some(support.id.0),
                from: Some(ANN),
                text: Some("hi".into()),
                date: Some(date),
                ..UserAction::default()
            })
            .unwrap();
        let sent = world
            .telegram
            .wait_for_sent_messages(support.id, ANN, before, SOON)
            .await;
        sent[before].text.clone()
    };
    let began = 1_790_000_000;
    assert_contains(&said(began).await, "first message");
    assert_contains(&said(began + 3599).await, "I remember 2 earlier messages");
    assert_contains(&said(began + 3600).await, "first message");
    assert_contains(&said(began + 3601).await, "I remember 2 earlier messages");
    // The new value counts for the session that exists.
    world.change(&support, |c| c.session.duration = SessionDuration::Infinite);
    assert_contains(
        &said(began + 500_000).await,
        "I remember 4 earlier messages",
    );
    world.change(&support, |c| c.session.duration = SessionDuration::None);
    assert_contains(&said(began + 500_001).await, "first message");
    assert_contains(&said(began + 500_002).await, "first message");
    world.change(&support, |c| c.session.duration = SessionDuration::Infinite);
    assert_contains(&said(began + 500_003).await, "first message");
}

#[tokio::test]
async fn new_begins_a_session_and_says_so_and_history_is_cut_at_whole_exchanges() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.session.max_messages = 5);
    for n in 0..4 {
        let sent = world.ask(&support, &format!("message {n}")).await;
        let remembered = match n {
            0 => "first message",
            1 => "I remember 2 earlier",
            _ => "I remember 4 earlier",
        };
        assert!(sent.text.contains(remembered), "{n}: {}", sent.text);
    }
    let sent = world.ask(&support, "/new").await;
    assert!(sent.text.contains("new conversation"), "{}", sent.text);
    let sent = world.ask(&support, "hello again").await;
    assert!(sent.text.contains("first message"), "{}", sent.text);
    let all = Listing {
        limit: 10,
        texts: true,
        ..Listing::default()
    };
    let sessions = world.store.sessions(&all).await.unwrap().rows;
    let told: Vec<_> = sessions
        .iter()
        .map(|s| (s.current, s.exchanges, s.history.as_ref().unwrap().len()))
        .collect();
    assert_eq!(told, [(false, 4, 8), (true, 1, 2)]);
}

#[tokio::test]
async fn a_session_survives_a_restart() {
    let mut world = World::new().await;
    let support = world.connector("support");
    world.ask(&support, "one").await;
    world.drained().await;
    world.restart(SOON).await;
    // The poller of the old store goes on accepting into the same file; the new pipeline finds it.
    let sent = world.ask(&support, "two").await;
    assert!(sent.text.contains("I remember 2 earlier"), "{}", sent.text);
}

#[tokio::test]
async fn a_user_who_writes_too_fast_is_told_once() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| c.messages_per_minute = 2);
    for n in 0..5 {
        world
            .telegram
            .perform(&UserAction {
                bot: Some(support.id.0),
                from: Some(ANN),
                text: Some(format!("message {n}")),
                date: Some(1_790_000_000),
                ..UserAction::default()
            })
            .unwrap();
    }
    world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 2, SOON)
        .await;
    world.drained().await;
    assert_eq!(world.telegram.sent_messages(support.id, ANN).len(), 3);
    assert_eq!(world.assistant.request_count(), 2);
}

#[tokio::test]
async fn start_greets_and_a_group_hears_nothing_without_settings() {
    let mut world = World::new().await;
    let support = world.connector_with("support", |c| {
        c.greeting = Some("Hello! Ask me about orders.".into());
    });
    let group = world
        .telegram
        .add_group("supergroup", "Team", &[support.id.0]);
    world.telegram.set_privacy(support.id, false);
    world
        .telegram
        .send_group_message(group, ANN, "hello everybody");
    let sent = world.ask(&support, "/start").await;
    assert_eq!(sent.text, "Hello! Ask me about orders.");
    world.drained().await;
    assert!(world.telegram.sent_messages(support.id, group).is_empty());
    assert_eq!(world.assistant.request_count(), 0);
}

fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}
