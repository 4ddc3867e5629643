//! Kills the operator at random instants under load, with faults at Telegram and at the assistant, and counts what was lost,
//! doubled or out of order.
//!
//! A short run is part of `cargo test`. The long one:
//! `TORTURE_KILLS=100 TORTURE_SEED=7 cargo test --release --test torture -- --nocapture`
//!
//! The operator under torture is this very binary, started again as a process of its own with store, pollers and pipeline; the
//! simulator and the sample assistant live on in the parent.

#![allow(clippy::unwrap_used, missing_docs)]

mod operator;

use std::collections::HashMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use telegram_connector_operator::dev::assistant::{Behaviour, Failing, SampleAssistant};
use telegram_connector_operator::dev::telegram::{Break, Fault, Options, Simulator};
use telegram_connector_operator::identity::BotId;
use telegram_connector_operator::store::{self, Listing};

const BOTS: usize = 3;
const CHATS: i64 = 15;
/// Messages a second, over all chats.
const RATE: u64 = 60;
/// Sends that take effect and lose their answer: each may double one part, besides the kills.
const DROPPED_ANSWERS: u64 = 10;
/// How long the operator has after the last kill to answer everything.
const TO_DRAIN: Duration = Duration::from_mins(3);

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// The operator's process; killed when dropped.
struct Operator(Child);

impl Operator {
    fn start(store: &str, telegram: &str, assistant: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "operator::operator_under_torture", "--nocapture"])
            .env("TORTURED", "1")
            .env("TORTURED_STORE", store)
            .env("TORTURED_TELEGRAM", telegram)
            .env("TORTURED_ASSISTANT", assistant)
            .env("TORTURED_BOTS", BOTS.to_string())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// SIGKILL: no destructor, no flush, no farewell.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn faults(telegram: &Simulator) {
    let broken = |code| Break::Status {
        code,
        description: "Internal Server Error".into(),
    };
    let send = |fault| Fault::new(fault).method("sendMessage");
    let poll = |fault| Fault::new(fault).method("getUpdates");
    for fault in [
        send(Break::TooManyRequests { retry_after: 1 }).probability(0.02),
        send(broken(500)).probability(0.03),
        send(Break::Html { code: 502 }).probability(0.02),
        send(Break::Delay { ms: 50 }).probability(0.05),
        send(Break::DropAfter)
            .probability(0.01)
            .times(DROPPED_ANSWERS),
        poll(broken(500)).probability(0.05),
        poll(Break::Reset).probability(0.05),
        poll(Break::DropAfter).probability(0.05),
        poll(Break::Duplicate).probability(0.1),
        poll(Break::Reorder).probability(0.2),
    ] {
        telegram.add_fault(fault);
    }
}

/// The assistant's mood at this moment.
fn mood(rng: &mut StdRng) -> Behaviour {
    let fail = |status, times| Behaviour {
        fail: Some(Failing {
            status,
            times: Some(times),
            retry_after: None,
        }),
        ..Behaviour::default()
    };
    match rng.random_range(0..6) {
        0 => fail(500, 3),
        1 => fail(429, 3),
        2 => Behaviour {
            latency_ms: 150,
            ..Behaviour::default()
        },
        3 => Behaviour {
            word_delay_ms: 5,
            ..Behaviour::default()
        },
        _ => Behaviour::default(),
    }
}

#[derive(Debug, Default)]
struct Count {
    answered: usize,
    lost: usize,
    out_of_order: usize,
    doubled: usize,
    worst: usize,
}

/// The messages that an answer is about: what was said quickly one after the other is answered together.
fn answered(text: &str) -> impl Iterator<Item = usize> {
    let said = text.strip_prefix("You said: ").unwrap_or_default();
    said.lines()
        .filter_map(|line| line.strip_prefix("message ")?.trim().parse().ok())
}

/// The answers of one chat against what was said there.
fn count(telegram: &Simulator, bot: BotId, chat: i64, said: usize, count: &mut Count) {
    let mut times: HashMap<usize, usize> = HashMap::new();
    let mut latest = None;
    for sent in telegram.sent(bot, chat) {
        for n in answered(&sent.text) {
            let seen = times.entry(n).or_default();
            *seen += 1;
            if *seen == 1 {
                if latest.is_some_and(|latest| n < latest) {
                    count.out_of_order += 1;
                }
                latest = latest.max(Some(n));
            }
        }
    }
    count.answered += times.len();
    count.lost += said - times.len();
    for seen in times.values() {
        count.doubled += seen - 1;
        count.worst = count.worst.max(*seen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_it_loses_nothing_and_keeps_the_order() {
    let kills = number("TORTURE_KILLS", 12);
    let seed = number("TORTURE_SEED", 1);
    let mut rng = StdRng::seed_from_u64(seed);
    let telegram = Simulator::start(Options {
        seed,
        ..Options::default()
    })
    .await
    .unwrap();
    let assistant = SampleAssistant::start().await.unwrap();
    let bots: Vec<BotId> = (0..BOTS)
        .map(|n| telegram.add_bot(&operator::token(n), &format!("bot{n}_bot"), "Bot"))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite:{}/connectors.db", folder.path().display());
    let start = || Operator::start(&store, telegram.url().as_str(), assistant.url().as_str());
    faults(&telegram);
    let began = Instant::now();
    let mut operator = start();
    let mut said: HashMap<(BotId, i64), usize> = HashMap::new();
    for _ in 0..kills {
        let life = Duration::from_millis(rng.random_range(300..1500));
        let dies = Instant::now() + life;
        while Instant::now() < dies {
            let bot = bots[rng.random_range(0..BOTS)];
            let chat = 1000 + rng.random_range(0..CHATS);
            let n = said.entry((bot, chat)).or_default();
            telegram.say(bot, chat, &format!("message {n}"));
            *n += 1;
            if rng.random_bool(0.02) {
                assistant.behave(mood(&mut rng));
            }
            tokio::time::sleep(Duration::from_micros(1_000_000 / RATE)).await;
        }
        operator.kill();
        operator = start();
    }
    telegram.clear_faults();
    assistant.behave(Behaviour::default());
    let total: usize = said.values().sum();
    let deadline = Instant::now() + TO_DRAIN;
    while Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let mut now = Count::default();
        for ((bot, chat), n) in &said {
            count(&telegram, *bot, *chat, *n, &mut now);
        }
        if now.lost == 0 {
            break;
        }
    }
    // Whatever comes late would be a double.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut result = Count::default();
    for ((bot, chat), n) in &said {
        count(&telegram, *bot, *chat, *n, &mut result);
    }
    operator.kill();
    let opened = store::open(&store).await.unwrap();
    let mut dead = opened
        .dead_letters(&Listing {
            limit: 1000,
            ..Listing::default()
        })
        .await
        .unwrap()
        .rows;
    println!(
        "torture: seed {seed}, {kills} kills in {:.0} s, {BOTS} bots, {CHATS} chats each, {RATE} messages/s, {DROPPED_ANSWERS} answers of Telegram dropped at most",
        began.elapsed().as_secs_f64()
    );
    println!(
        "torture: {total} said, {} answered, {} lost, {} out of order, {} doubled (none more than {} times), {} dead letters",
        result.answered,
        result.lost,
        result.out_of_order,
        result.doubled,
        result.worst,
        dead.len()
    );
    // A part that was sent twice without an answer is given up rather than sent a third time: it is listed, not lost.
    dead.retain(|d| !d.reason.starts_with("sent twice"));
    assert!(dead.is_empty(), "{dead:?}");
    assert_eq!((result.lost, result.out_of_order), (0, 0));
    // A kill doubles the part that a chat has in flight; a dropped answer the part that it was about.
    assert!(result.worst <= 3, "{result:?}");
}
