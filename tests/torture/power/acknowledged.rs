//! The promise at its sharpest: a message is acknowledged to Telegram, and the next thing that happens is a power cut that takes all that
//! was not synced.

use std::time::{Duration, Instant};

use bot_api_simulator::sample_assistant::Behaviour;

use super::PowerTest;
use super::cut::UnsyncedWrites;
use crate::tally::Tally;
use crate::test_env::DeliveryMode;
use crate::torture::EXCLUSIVE;

const MESSAGES: usize = 20;
/// A test that has to wait longer fails.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Waits until the condition holds.
async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "timeout: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Has messages acknowledged that cannot be answered yet, and cuts the power at once.
async fn cut_once_acknowledged(test: &mut PowerTest) {
    let operator = test.start();
    let bot = test.env.bots[0];
    // An answer to each chat, so that connections and lanes are there.
    for chat in super::USERS {
        test.sent.send(&test.env.telegram, bot, chat, false);
    }
    let chats = super::USERS.count();
    wait_until("the first are answered", || {
        Tally::of(&test.sent, &test.env.telegram).answered == chats
    })
    .await;
    test.env.assistant.set_behaviour(Behaviour {
        hang: true,
        ..Behaviour::default()
    });
    for chat in super::USERS.cycle().take(MESSAGES) {
        test.sent.send(&test.env.telegram, bot, chat, false);
    }
    wait_until("all are acknowledged", || {
        test.env.telegram.pending(bot) == 0
    })
    .await;
    test.cut(operator, UnsyncedWrites::AllLost).await;
    test.env.assistant.set_behaviour(Behaviour::default());
}

async fn keep_what_was_acknowledged(mode: DeliveryMode) {
    let _exclusive = EXCLUSIVE.lock().await;
    let mut test = PowerTest::new(mode, 1).await;
    cut_once_acknowledged(&mut test).await;
    let (tally, lost) = test.finish().await;
    assert_eq!(lost, 0, "{:?}", tally.unanswered);
    assert_eq!(tally.answered, super::USERS.count() + MESSAGES);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polled_message_survives_power_cut_once_acknowledged() {
    keep_what_was_acknowledged(DeliveryMode::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhook_message_survives_power_cut_once_acknowledged() {
    keep_what_was_acknowledged(DeliveryMode::Webhook).await;
}

/// Shows that these tests can fail: the same on a disk on which no sync does anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_lost_on_a_disk_that_ignores_syncs() {
    let _exclusive = EXCLUSIVE.lock().await;
    let mut test = PowerTest::new(DeliveryMode::Polling, 1).await;
    test.cache.ignores_syncs = true;
    cut_once_acknowledged(&mut test).await;
    let operator = test.start();
    let bot = test.env.bots[0];
    let answer = test
        .env
        .telegram
        .send_and_wait(bot, 1, "after the cut", TIMEOUT)
        .await;
    assert!(answer.text.starts_with("You said: after the cut"));
    operator.kill();
    let tally = Tally::of(&test.sent, &test.env.telegram);
    assert_eq!(tally.unanswered.len(), MESSAGES);
}
