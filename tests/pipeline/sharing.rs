//! Many connectors, many chats, two processes: nobody waits for somebody else, and nothing is handled twice.

use std::collections::HashSet;
use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule};
use proptest::prelude::*;
use telegram_connector_operator::store::place;

use crate::world::{ANN, SOON, World, open, specific};

#[tokio::test]
async fn a_connector_whose_assistant_hangs_in_every_chat_holds_up_no_other() {
    let mut world = World::with(|limits| {
        limits.lanes = 8;
        limits.lanes_per_connector = 8;
    })
    .await;
    let users: Vec<i64> = (2000..2040).collect();
    let stuck = world.connector_with("stuck", |c| c.access = specific(&users));
    let brisk = world.connector("brisk");
    world.assistant.set_behaviour(Behaviour {
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
        world.telegram.send_private_message(stuck.id, user, "hang");
    }
    assert!(world.assistant.wait_for_requests(7, SOON).await);
    for n in 0..5 {
        let began = tokio::time::Instant::now();
        world.ask(&brisk, &format!("message {n}")).await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
    world.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn two_processes_on_one_store_answer_each_message_once() {
    answered_once_and_in_order(World::new().await, 3000..3020).await;
}

/// Two processes share the work: each of these people has each answer once, in order.
pub(crate) async fn answered_once_and_in_order(mut world: World, people: std::ops::Range<i64>) {
    let users: Vec<i64> = people.collect();
    let support = world.connector_with("support", |c| c.access = specific(&users));
    let second = world.second_process(open(&world.address).await);
    for n in 0..5 {
        for user in &users {
            world
                .telegram
                .send_private_message(support.id, *user, &format!("message {n}"));
        }
    }
    for user in &users {
        let sent = world
            .telegram
            .wait_for_sent_messages(support.id, *user, 4, SOON)
            .await;
        let first_lines: Vec<_> = sent
            .iter()
            .map(|s| s.text.lines().next().unwrap_or_default().to_owned())
            .collect();
        let expected: Vec<_> = (0..5).map(|n| format!("You said: message {n}")).collect();
        assert_eq!(first_lines, expected);
    }
    world.drained().await;
    assert_eq!(world.assistant.request_count(), 5 * users.len() as u64);
    second.shutdown(SOON).await;
    world.stop(SOON).await;
}

#[tokio::test]
async fn a_stop_that_one_process_accepts_ends_the_answer_that_another_one_writes() {
    stopped_elsewhere(World::new().await).await;
}

pub(crate) async fn stopped_elsewhere(mut world: World) {
    let support = world.connector("support");
    // From here on this process only accepts.
    world.stop(Duration::ZERO).await;
    let second = world.second_process(open(&world.address).await);
    world.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    world
        .telegram
        .send_private_message(support.id, ANN, "think");
    assert!(world.assistant.wait_for_requests(0, SOON).await);
    let stopped = world.ask(&support, "/stop").await;
    assert_eq!(stopped.text, "Stopped.");
    world.drained().await;
    second.shutdown(SOON).await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_the_work_loses_nothing() {
    let mut world = World::new().await;
    let support = world.connector("support");
    for n in 0..30 {
        world
            .telegram
            .send_private_message(support.id, ANN, &format!("message {n}"));
    }
    world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 3, SOON)
        .await;
    // No grace at all: whatever is in work is dropped where it stands.
    world.restart(Duration::ZERO).await;
    world.drained().await;
    let sent = world
        .telegram
        .wait_for_sent_messages(support.id, ANN, 29, SOON)
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
    fn any_bytes_have_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        place(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn an_update_with_any_numbers_has_the_place_it_says(chat in any::<i64>(), topic in any::<i64>(), date in any::<i64>()) {
        let json = format!(r#"{{"update_id":1,"message":{{"is_topic_message":true,"message_thread_id":{topic},"date":{date},"chat":{{"id":{chat}}}}}}}"#);
        let found = place(&json);
        prop_assert_eq!(found.chat, chat);
        prop_assert_eq!(found.topic, if topic == 1 { 0 } else { topic });
        prop_assert_eq!(found.date, date.max(0));
    }
}
