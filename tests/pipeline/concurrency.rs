//! Many connectors, many chats, two processes: nobody waits for somebody else, and nothing is handled twice.

use std::collections::HashSet;
use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule};
use proptest::prelude::*;
use telegram_connector_operator::telegram::RawUpdate;

use crate::test_env::{ANN, TIMEOUT, TestEnv, open, specific_users};

#[tokio::test]
async fn hanging_assistant_does_not_delay_other_connectors() {
    let mut env = TestEnv::with(|limits| {
        limits.lanes = 8;
        limits.lanes_per_connector = 8;
    })
    .await;
    let users: Vec<i64> = (2000..2040).collect();
    let stuck = env.connector_with("stuck", |c| c.access = specific_users(&users));
    let brisk = env.connector("brisk");
    env.assistant.set_behaviour(Behaviour {
        rules: vec![BehaviourRule {
            when: "hang".into(),
            then: Behaviour {
                hang: true,
                ..Behaviour::default()
            },
        }],
        ..Behaviour::default()
    });
    for user in users {
        env.telegram.send_private_message(stuck.id, user, "hang");
    }
    assert!(env.assistant.wait_for_requests(7, TIMEOUT).await);
    for n in 0..5 {
        let began = tokio::time::Instant::now();
        env.ask(&brisk, &format!("message {n}")).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    env.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn two_processes_answer_each_message_once() {
    answered_once_and_in_order(TestEnv::new().await, 3000..3020).await;
}

/// Two processes share the work: each of these people has each answer once, in order.
pub(crate) async fn answered_once_and_in_order(mut env: TestEnv, people: std::ops::Range<i64>) {
    let users: Vec<i64> = people.collect();
    let support = env.connector_with("support", |c| c.access = specific_users(&users));
    let second = env.second_process(open(&env.address).await);
    for n in 0..5 {
        for user in &users {
            env.telegram
                .send_private_message(support.id, *user, &format!("message {n}"));
        }
    }
    for user in &users {
        let sent = env
            .telegram
            .wait_for_sent_messages(support.id, *user, 4, TIMEOUT)
            .await;
        let first_lines: Vec<_> = sent
            .iter()
            .map(|s| s.text.lines().next().unwrap_or_default().to_owned())
            .collect();
        let expected: Vec<_> = (0..5).map(|n| format!("You said: message {n}")).collect();
        assert_eq!(first_lines, expected);
    }
    env.wait_until_drained().await;
    assert_eq!(env.assistant.request_count(), 5 * users.len() as u64);
    second.shutdown(TIMEOUT).await;
    env.stop(TIMEOUT).await;
}

#[tokio::test]
async fn stop_command_ends_an_answer_of_another_process() {
    stop_command_reaches_the_other_process(TestEnv::new().await).await;
}

pub(crate) async fn stop_command_reaches_the_other_process(mut env: TestEnv) {
    let support = env.connector("support");
    // From here on this process only accepts.
    env.stop(Duration::ZERO).await;
    let second = env.second_process(open(&env.address).await);
    env.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    env.telegram.send_private_message(support.id, ANN, "think");
    assert!(env.assistant.wait_for_requests(0, TIMEOUT).await);
    let stopped = env.ask(&support, "/stop").await;
    assert_eq!(stopped.text, "Stopped.");
    env.wait_until_drained().await;
    second.shutdown(TIMEOUT).await;
}

#[tokio::test]
async fn crash_loses_no_message() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    for n in 0..30 {
        env.telegram
            .send_private_message(support.id, ANN, &format!("message {n}"));
    }
    env.telegram
        .wait_for_sent_messages(support.id, ANN, 3, TIMEOUT)
        .await;
    // No grace at all: whatever is in work is dropped where it stands.
    env.restart(Duration::ZERO).await;
    env.wait_until_drained().await;
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 29, TIMEOUT)
        .await;
    let mut order: Vec<String> = sent
        .iter()
        .map(|s| s.text.lines().next().unwrap_or_default().to_owned())
        .collect();
    let doubled = order.len() - order.iter().collect::<HashSet<_>>().len();
    assert!(doubled <= 1, "{order:?}");
    order.dedup();
    let expected: Vec<_> = (0..30).map(|n| format!("You said: message {n}")).collect();
    assert_eq!(order, expected);
}

proptest! {
    #[test]
    fn an_update_with_any_numbers_has_the_place_it_says(chat in any::<i64>(), topic in any::<i64>(), date in any::<i64>()) {
        let json = format!(r#"{{"update_id":1,"message":{{"is_topic_message":true,"message_thread_id":{topic},"date":{date},"chat":{{"id":{chat}}}}}}}"#);
        let found = RawUpdate::from_body(json.as_bytes()).unwrap().route;
        prop_assert_eq!(found.chat, chat);
        prop_assert_eq!(found.topic, if topic == 1 { 0 } else { topic });
        prop_assert_eq!(found.date, date.max(0));
    }
}
