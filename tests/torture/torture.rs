//! Kills the operator again and again under load, and checks that no message is lost, doubled or reordered.

use std::cell::Cell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use bot_api_simulator::sample_assistant::Behaviour;
use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::faults;
use crate::notes::Notes;
use crate::postgres_server::Postgres;
use crate::tally::{SentMessages, Tally, count_by_interruption};
use crate::test_env::{DeliveryMode, TestEnv};

const BOTS: usize = 3;
/// The ids of the users who write to each bot.
const USERS: std::ops::Range<i64> = 1000..if cfg!(debug_assertions) { 1003 } else { 1015 };
/// What is neither answered nor listed is lost once nothing has been answered for so long. On `PostgreSQL` a killed process's claims hold
/// for half a minute, so that many kills leave a backlog of minutes.
const STALL_TIMEOUT: Duration = Duration::from_mins(2);
/// Messages per second, unless `TORTURE_RATE` is set. A kill doubles the parts that Telegram has accepted and the operator has not yet
/// recorded, which is the rate times the time between both. That time is about ten times longer in a debug build.
const RATE: u64 = if cfg!(debug_assertions) { 10 } else { 60 };
/// Of so many messages of users there is one that somebody sends through a bot.
const NOTE_INTERVAL: u64 = 2;
/// The runs take turns in killing, because the count depends on how quickly a sent part is recorded.
pub(crate) static EXCLUSIVE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// The time until a kill, in milliseconds: from before the start has ended until well into the work.
const LIFETIME_MS: std::ops::Range<u64> = 100..2500;

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// The number of messages that are neither answered nor listed as dead letters.
pub(crate) fn count_lost(tally: &Tally, dead_letters: &[serde_json::Value]) -> usize {
    let listed: HashSet<(i64, i64)> = dead_letters
        .iter()
        .map(|d| (d["bot"].as_i64().unwrap(), d["updateId"].as_i64().unwrap()))
        .collect();
    tally.unanswered.difference(&listed).count()
}

/// Waits until each message is answered or listed as a dead letter, or nothing happens any more.
pub(crate) async fn wait_until_drained(
    env: &TestEnv,
    sent: &SentMessages,
) -> (Tally, Vec<serde_json::Value>) {
    let mut deadline = Instant::now() + STALL_TIMEOUT;
    loop {
        let before = Tally::of(sent, &env.telegram).unanswered;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let tally = Tally::of(sent, &env.telegram);
        // Answers are still being sent.
        if before != tally.unanswered {
            deadline = Instant::now() + STALL_TIMEOUT;
            continue;
        }
        let dead_letters = env.dead_letters();
        if count_lost(&tally, &dead_letters) == 0 || Instant::now() >= deadline {
            return (tally, dead_letters);
        }
    }
}

async fn torture(mode: DeliveryMode, postgres: Option<&Postgres>) {
    let exclusive = EXCLUSIVE.lock().await;
    let database = if postgres.is_some() {
        "PostgreSQL"
    } else {
        "SQLite"
    };
    let kills = number("TORTURE_KILLS", 8);
    let seed = number("TORTURE_SEED", 1);
    let rate = number("TORTURE_RATE", RATE);
    let mut rng = StdRng::seed_from_u64(seed);
    let env = TestEnv::with_store(mode, BOTS, seed, postgres.map(Postgres::address)).await;
    let telegram = &env.telegram;
    faults::inject_telegram_faults(telegram);
    let started = Instant::now();
    let mut sent = SentMessages::new();
    let mut notes = Notes::new(&env).await;
    let mut note_rng = StdRng::seed_from_u64(seed + 1);
    let mut store_faults = 0_u64;
    let mut in_work = 0;
    let mut killed = Vec::new();
    let store_is_failing = Cell::new(false);
    let mut killed_without_store = HashSet::new();
    let mut operator = env.start();
    for _ in 0..kills {
        let killed_at = Instant::now() + Duration::from_millis(rng.random_range(LIFETIME_MS));
        let store_fails = rng
            .random_bool(0.5)
            .then(|| Duration::from_millis(rng.random_range(LIFETIME_MS)));
        let load = async {
            let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
            while Instant::now() < killed_at {
                tick.tick().await;
                let bot = env.bots[rng.random_range(0..BOTS)];
                let chat = rng.random_range(USERS);
                sent.send(telegram, bot, chat, rng.random_bool(0.1));
                if rng.random_bool(0.03) {
                    env.assistant
                        .set_behaviour(faults::random_behaviour(&mut rng));
                }
            }
        };
        let store = async {
            if let Some(after) = store_fails {
                tokio::time::sleep(after).await;
                store_is_failing.set(true);
                faults::inject_store_fault(&env, &operator, &mut StdRng::seed_from_u64(seed)).await;
                store_is_failing.set(false);
            }
        };
        let sending = async {
            let pause = Duration::from_micros(NOTE_INTERVAL * 1_000_000 / rate);
            loop {
                tokio::time::sleep(pause).await;
                let bot = note_rng.random_range(0..BOTS);
                notes.send(bot, note_rng.random_range(USERS)).await;
            }
        };
        // The kill comes at the end of the load, even if the store fault has not ended.
        tokio::select! {
            () = load => {}
            () = sending => {}
            () = async { store.await; store_faults += 1; std::future::pending().await } => {}
        }
        in_work += sent.count - Tally::of(&sent, telegram).answered;
        operator.kill();
        if store_is_failing.take() {
            killed_without_store.insert(killed.len());
        }
        killed.push(Timestamp::now());
        operator = env.start();
    }
    let under_load = started.elapsed();
    // The rest is mostly waiting: on PostgreSQL for the leases of the killed.
    drop(exclusive);
    telegram.clear_faults();
    env.assistant.set_behaviour(Behaviour::default());
    let (first, dead_letters) = wait_until_drained(&env, &sent).await;
    let unlisted = count_lost(&first, &dead_letters);
    notes.wait_until_ended(STALL_TIMEOUT).await;
    env.retry_dead_letters();
    let (_, dead_letters_after_retry) = wait_until_drained(&env, &sent).await;
    notes.wait_until_ended(STALL_TIMEOUT).await;
    // A part that is sent late would be a double.
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.kill();
    let last = Tally::of(&sent, telegram);
    let sent_notes = notes.tally(telegram).await;

    let sum = |count: fn(&bot_api_simulator::BotCounters) -> u64| {
        let all = env.bots.iter().map(|bot| count(&telegram.counters(*bot)));
        all.sum::<u64>()
    };
    let print = |line: String| println!("torture ({mode:?}, {database}, seed {seed}): {line}");
    print(format!(
        "{} build, {} cores; {BOTS} bots, {} chats, {rate} messages/s offered for {:.0} s, one in ten answered in two parts",
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        std::thread::available_parallelism().map_or(0, usize::from),
        BOTS * USERS.count(),
        under_load.as_secs_f64(),
    ));
    print(format!(
        "faults: {} 429s, {} updates given out twice, {} webhook requests without 2xx, {store_faults} moments without a store",
        sum(|c| c.throttled),
        sum(|c| c.redelivered),
        sum(|c| c.failed_deliveries),
    ));
    print(format!(
        "kills {kills}, with {} messages in work on average",
        in_work as u64 / kills.max(1)
    ));
    print(format!("messages {}", sent.count));
    print(format!("answered {}", last.answered));
    print(format!("lost {}", last.unanswered.len()));
    print(format!("out of order {}", first.out_of_order));
    print(format!(
        "doubled parts {} by kills, {} by answers of Telegram that were lost",
        last.doubled.len(),
        last.doubled_by_lost_answers
    ));
    let by_kill = count_by_interruption(&last.doubled, &killed);
    let without_store: usize = killed_without_store.iter().map(|n| by_kill[*n]).sum();
    print(format!(
        "doubled parts per kill: {:.2} on average, at most {} at one, none at {} of {kills}; {without_store} at the {} kills without a store",
        last.doubled.len() as f64 / killed.len() as f64,
        by_kill.iter().max().unwrap_or(&0),
        by_kill.iter().filter(|count| **count == 0).count(),
        killed_without_store.len()
    ));
    print(format!(
        "dead letters {} (each listed), {} after `dead-letters --retry all`",
        dead_letters.len(),
        dead_letters_after_retry.len()
    ));
    print(format!(
        "messages sent by others {}, lost {}, arrived twice and not listed {}, listed as ambiguous {}, failed {}",
        sent_notes.accepted,
        sent_notes.lost.len(),
        sent_notes.doubled.len(),
        sent_notes.ambiguous,
        sent_notes.failed.len()
    ));
    if let Some(path) = std::env::var_os("TORTURE_KEEP_LOG") {
        std::fs::write(path, env.log()).unwrap();
    }

    assert_eq!(
        unlisted, 0,
        "neither answered nor listed: {:?}",
        first.unanswered
    );
    assert!(
        last.unanswered.is_empty(),
        "{:?}\n{dead_letters_after_retry:?}",
        last.unanswered
    );
    assert!(sent_notes.accepted > 0, "nobody sent anything");
    assert!(
        sent_notes.lost.is_empty() && sent_notes.doubled.is_empty(),
        "{sent_notes:?}"
    );
    assert_eq!(first.out_of_order, 0);
    // A store that takes no writes takes no record either.
    let doubled = last.doubled.len() - without_store;
    // What is on its way at a kill is doubled. On PostgreSQL the record of it is on its way longer.
    let allowed = if postgres.is_some() {
        killed.len()
    } else {
        2 + killed.len() / 10
    };
    assert!(
        doubled <= allowed,
        "{doubled} parts doubled by {kills} kills, {allowed} allowed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_polling_loses_nothing_and_keeps_order() {
    torture(DeliveryMode::Polling, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_behind_webhook_loses_nothing_and_keeps_order() {
    torture(DeliveryMode::Webhook, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_polling_on_postgres_loses_nothing() {
    if let Some(postgres) = Postgres::start().await {
        torture(DeliveryMode::Polling, Some(&postgres)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_behind_webhook_on_postgres_loses_nothing() {
    if let Some(postgres) = Postgres::start().await {
        torture(DeliveryMode::Webhook, Some(&postgres)).await;
    }
}
