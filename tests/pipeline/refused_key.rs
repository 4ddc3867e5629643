//! An assistant that refuses the bot's key is not asked again: messages wait until the key changes, or until it is accepted after all.

use std::sync::Arc;
use std::time::Duration;

use bot_api_simulator::User;
use bot_api_simulator::sample_assistant::Behaviour;
use telegram_connector_operator::assistant::Assistant;
use telegram_connector_operator::observation::AssistantFact;

use crate::postgres::Postgres;
use crate::test_env::{ANN, Connector, TIMEOUT, TestEnv, specific_users, wait_until};

const OTHERS: [i64; 2] = [1002, 1003];
const TOLD: &str = "The assistant refuses the bot's key at the moment. Your message is kept and will be answered when that is repaired; you need not send it again.";

fn accepts(key: &str) -> Behaviour {
    Behaviour {
        api_key: Some(key.into()),
        ..Behaviour::default()
    }
}

/// A connector with this key in its Secret, at an assistant that wants "right".
fn connector_with_key(env: &mut TestEnv, key: &str) -> Connector {
    env.assistant.set_behaviour(accepts("right"));
    let assistant = env.openai_with_key(key);
    env.connector_with("support", |c| {
        c.assistant = Some(assistant);
        c.access = specific_users(&[ANN, OTHERS[0], OTHERS[1]]);
    })
}

async fn wait_until_told(env: &TestEnv, support: &Connector, user: i64) {
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, user, 0, TIMEOUT)
        .await;
    assert_eq!(sent[0].text, TOLD);
}

/// All chats ask, the first before the others; each is told to wait.
async fn ask_in_vain(env: &TestEnv, support: &Connector) {
    for user in [ANN, OTHERS[0], OTHERS[1]] {
        env.telegram.send_private_message(support.id, user, "one");
        wait_until_told(env, support, user).await;
    }
}

async fn check_that_chats_wait_for_another_key(mut env: TestEnv) {
    let support = connector_with_key(&mut env, "wrong");
    ask_in_vain(&env, &support).await;
    env.telegram.send_private_message(support.id, ANN, "two");
    env.wait_until_waiting(4).await;
    assert_eq!(env.assistant.request_count(), 1);
    let fact = env.observations.facts(&support.uid).assistant;
    assert!(matches!(fact, AssistantFact::KeyRefused { .. }), "{fact:?}");
    // A change of something else is no other key.
    env.update_connector(&support, |c| c.greeting = Some("Hello".into()));
    let listed = env.waiting_messages().await;
    assert_eq!((listed, env.assistant.request_count()), (4, 1));

    let right = env.openai_with_key("right");
    env.update_connector(&support, |c| c.assistant = Some(right));
    env.wait_until_drained().await;
    for user in OTHERS {
        let sent = env.telegram.sent_messages(support.id, user);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert!(sent[1].text.starts_with("You said: one"), "{sent:?}");
    }
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 2, TIMEOUT)
        .await;
    assert!(sent[1].text.starts_with("You said: one"), "{sent:?}");
    assert!(sent[2].text.starts_with("You said: two"), "{sent:?}");
    assert_eq!((sent.len(), env.assistant.request_count()), (3, 5));
    assert!(env.dead_letters().await.is_empty());
    env.stop(TIMEOUT).await;
}

#[tokio::test]
async fn chats_wait_for_another_key_after_one_refusal() {
    check_that_chats_wait_for_another_key(TestEnv::new().await).await;
}

#[tokio::test]
async fn chats_on_postgres_wait_for_another_key() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_that_chats_wait_for_another_key(TestEnv::on(&postgres.address()).await).await;
}

#[tokio::test]
async fn chats_that_ask_at_once_ask_once_each_and_wait() {
    let mut env = TestEnv::new().await;
    let support = connector_with_key(&mut env, "wrong");
    let users = [ANN, OTHERS[0], OTHERS[1]];
    for user in users {
        env.telegram.send_private_message(support.id, user, "one");
    }
    for user in users {
        wait_until_told(&env, &support, user).await;
    }
    let in_vain = env.assistant.request_count();
    assert!(in_vain <= 3, "{in_vain}");
    let right = env.openai_with_key("right");
    env.update_connector(&support, |c| c.assistant = Some(right));
    env.wait_until_drained().await;
    assert_eq!(env.assistant.request_count(), in_vain + 3);
}

#[tokio::test]
async fn key_that_is_accepted_after_all_lets_every_chat_go() {
    let interval = Duration::from_millis(1500);
    let mut env = TestEnv::with(|limits| limits.retry.key_probe_interval = interval).await;
    let support = connector_with_key(&mut env, "late");
    ask_in_vain(&env, &support).await;
    assert!(env.assistant.wait_for_requests(2, TIMEOUT).await);
    env.assistant.set_behaviour(accepts("late"));
    env.wait_until_drained().await;
    let times: Vec<_> = env.assistant.requests().iter().map(|r| r.at).collect();
    assert_eq!(times.len(), 3 + 3, "three in vain, then each chat's");
    let between = |a: usize, b: usize| Duration::try_from(times[b] - times[a]).unwrap();
    // Three chats wait, and there is one question an interval.
    for (first, second) in [(0, 1), (1, 2), (2, 3)] {
        let waited = between(first, second);
        assert!(waited > interval.mul_f32(0.9), "{waited:?}");
    }
    // Once one is answered, the others follow at once.
    assert!(between(3, 5) < interval, "{:?}", between(3, 5));
    wait_until("the fault is over", async || {
        env.observations.facts(&support.uid).assistant == AssistantFact::Succeeding
    })
    .await;
    for user in [ANN, OTHERS[0], OTHERS[1]] {
        let sent = env
            .telegram
            .wait_for_sent_messages(support.id, user, 1, TIMEOUT)
            .await;
        assert_eq!(sent.len(), 2, "told once, answered once: {sent:?}");
    }
}

#[tokio::test]
async fn message_that_waits_for_a_key_can_be_stopped() {
    let mut env = TestEnv::new().await;
    let support = connector_with_key(&mut env, "wrong");
    env.telegram.send_private_message(support.id, ANN, "one");
    wait_until_told(&env, &support, ANN).await;
    let stopped = env.ask(&support, "/stop").await;
    assert_eq!(stopped.text, "Stopped.");
    env.wait_until_drained().await;
    assert_eq!(env.assistant.request_count(), 1);
}

#[tokio::test]
async fn message_that_waits_for_a_key_counts_once_for_its_sender() {
    let interval = Duration::from_millis(100);
    let mut env = TestEnv::with(|limits| limits.retry.key_probe_interval = interval).await;
    let support = connector_with_key(&mut env, "late");
    env.update_connector(&support, |c| c.messages_per_minute = 1);
    env.telegram.send_private_message(support.id, ANN, "one");
    assert!(env.assistant.wait_for_requests(3, TIMEOUT).await);
    env.assistant.set_behaviour(accepts("late"));
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    assert!(sent[1].text.starts_with("You said: one"), "{sent:?}");
}

#[tokio::test]
async fn user_is_told_once_across_restarts_and_in_their_language() {
    let mut env = TestEnv::new().await;
    env.telegram.add_user(User {
        language_code: Some("de".into()),
        ..User::new(ANN, "Ann")
    });
    let support = connector_with_key(&mut env, "wrong");
    let answer = env.ask(&support, "one").await;
    assert!(answer.text.starts_with("Der Assistent"), "{}", answer.text);
    for restarts in 1..=2 {
        env.restart(TIMEOUT).await;
        // A process that does not know it finds out once; no attempt of the message's is counted.
        let wrong = env.openai_with_key("wrong");
        env.update_connector(&support, |c| c.assistant = Some(wrong));
        assert!(env.assistant.wait_for_requests(restarts, TIMEOUT).await);
    }
    let right: Arc<dyn Assistant> = env.openai_with_key("right");
    env.update_connector(&support, |c| c.assistant = Some(right));
    let sent = env
        .telegram
        .wait_for_sent_messages(support.id, ANN, 1, TIMEOUT)
        .await;
    assert!(sent[1].text.starts_with("You said: one"), "{sent:?}");
    assert_eq!(env.telegram.sent_messages(support.id, ANN).len(), 2);
}
