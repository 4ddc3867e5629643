//! Many connectors, many chats, two processes: nobody waits for somebody else, and nothing is handled twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bot_api_simulator::sample_assistant::{Behaviour, BehaviourRule};
use proptest::prelude::*;
use telegram_connector_operator::assistant::{
    AnswerPart, AnswerStream, Assistant, AssistantError, Question,
};
use telegram_connector_operator::telegram::RawUpdate;

use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, open, specific_users};

/// An assistant whose whole answer is there at once, in very many pieces; and how many of them were taken.
#[derive(Debug, Default, Clone)]
struct ManyPieces(Arc<AtomicUsize>);

#[async_trait]
impl Assistant for ManyPieces {
    async fn ask(&self, _: Question) -> Result<AnswerStream, AssistantError> {
        let taken = self.0.clone();
        let pieces = (0..20_000).map(move |_| {
            taken.fetch_add(1, Ordering::Relaxed);
            Ok(AnswerPart::Text("x ".into()))
        });
        Ok(Box::pin(futures::stream::iter(pieces)))
    }

    fn needs_history(&self) -> bool {
        false
    }

    fn protocol(&self) -> &'static str {
        "ManyPieces"
    }
}

/// On one thread: what else runs there has its turn after some of the pieces, not after all.
#[tokio::test]
async fn answer_in_many_pieces_lets_others_have_their_turn() {
    let mut env = TestEnv::new().await;
    let assistant = ManyPieces::default();
    let taken = assistant.0.clone();
    let support = env.connector_with("support", |c| c.assistant = Some(Arc::new(assistant)));
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let other = tokio::spawn(async move {
        let mut before = 0;
        loop {
            let now = taken.load(Ordering::Relaxed);
            seen.fetch_max(now - before, Ordering::Relaxed);
            before = now;
            tokio::task::yield_now().await;
        }
    });
    env.ask(&support, "go on").await;
    other.abort();
    let most = most.load(Ordering::Relaxed);
    assert!((1..=1_000).contains(&most), "{most} pieces in one turn");
}

#[tokio::test]
async fn hanging_assistant_does_not_delay_other_connectors() {
    let mut env = TestEnv::with(|limits| {
        limits.lanes = 8;
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

/// What the assistant does with the text "question"; it answers everything else at once.
fn on_question(then: Behaviour) -> Behaviour {
    Behaviour {
        rules: vec![BehaviourRule {
            when: "question".into(),
            then,
        }],
        ..Behaviour::default()
    }
}

/// A connector with ten users and a bound, and a question of each of them.
fn ten_questions(env: &mut TestEnv, concurrency: u16) -> (Connector, Vec<i64>) {
    let users: Vec<i64> = (2000..2010).collect();
    let local = env.connector_with("local", |c| {
        c.access = specific_users(&users);
        c.concurrency = concurrency;
    });
    for user in &users {
        env.telegram
            .send_private_message(local.id, *user, "question");
    }
    (local, users)
}

#[tokio::test]
async fn all_chats_are_answered_by_two_questions_at_once() {
    const THINKING: u64 = 300;
    let mut env = TestEnv::new().await;
    env.assistant.set_behaviour(on_question(Behaviour {
        latency_ms: THINKING,
        ..Behaviour::default()
    }));
    let (local, users) = ten_questions(&mut env, 2);
    for user in &users {
        env.telegram
            .wait_for_sent_messages(local.id, *user, 0, TIMEOUT)
            .await;
    }
    env.wait_until_drained().await;
    let mut began: Vec<i64> = env
        .assistant
        .requests()
        .iter()
        .map(|request| request.at.as_millisecond())
        .collect();
    began.sort_unstable();
    assert_eq!(began.len(), users.len());
    // A question is at the assistant for this long at least: a third one within that time would be one too many.
    let shortest = began.windows(3).map(|three| three[2] - three[0]).min();
    assert!(
        shortest >= Some(i64::try_from(THINKING).unwrap() - 5),
        "{began:?}"
    );
    env.stop(TIMEOUT).await;
}

#[tokio::test]
async fn raised_concurrency_counts_without_a_restart() {
    let mut env = TestEnv::new().await;
    env.assistant.set_behaviour(on_question(Behaviour {
        hang: true,
        ..Behaviour::default()
    }));
    let brisk = env.connector("brisk");
    let (local, _) = ten_questions(&mut env, 1);
    assert!(env.assistant.wait_for_requests(0, TIMEOUT).await);
    env.wait_until_waiting(10).await;
    // Another connector's answer comes at any time, and no second question meanwhile.
    env.ask(&brisk, "message 1").await;
    assert_eq!(env.assistant.request_count(), 1 + 1);
    env.update_connector(&local, |c| c.concurrency = 5);
    assert!(env.assistant.wait_for_requests(5, TIMEOUT).await);
    env.ask(&brisk, "message 2").await;
    assert_eq!(env.assistant.request_count(), 5 + 2);
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
