//! Kills under load, and what came of them.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bot_api_simulator::sample_assistant::Behaviour;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::faults;
use crate::tally::{Said, Tally};
use crate::world::{Way, World};

const BOTS: usize = 3;
/// Who writes to each of them.
const PEOPLE: std::ops::Range<i64> = 1000..if cfg!(debug_assertions) { 1003 } else { 1015 };
/// How long the operator has after the last kill to answer everything.
const TO_DRAIN: Duration = Duration::from_mins(4);
/// Messages a second, unless `TORTURE_RATE` says otherwise. What a kill doubles is what is on its way between Telegram's acceptance and
/// its record at that moment: the rate times that time, which a debug build takes some ten times of.
const RATE: u64 = if cfg!(debug_assertions) { 10 } else { 60 };
/// One at a time: what is counted depends on how quickly a sent part is recorded.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// How long it lives, in milliseconds: from before it has started up to well under way.
const LIFE: std::ops::Range<u64> = 100..2500;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}

/// Messages that are neither answered nor listed as dead letters.
fn lost(tally: &Tally, dead: &[serde_json::Value]) -> usize {
    let listed: HashSet<(i64, i64)> = dead
        .iter()
        .map(|d| (d["bot"].as_i64().unwrap(), d["updateId"].as_i64().unwrap()))
        .collect();
    tally.unanswered.difference(&listed).count()
}

/// Waits until nothing is missing but what is listed as a dead letter.
async fn drained(world: &World, said: &Said) -> (Tally, Vec<serde_json::Value>) {
    let deadline = Instant::now() + TO_DRAIN;
    loop {
        let before = Tally::of(said, &world.telegram).unanswered;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let tally = Tally::of(said, &world.telegram);
        // Something still moves.
        if before != tally.unanswered && Instant::now() < deadline {
            continue;
        }
        let dead = world.dead_letters();
        if lost(&tally, &dead) == 0 || Instant::now() >= deadline {
            return (tally, dead);
        }
    }
}

async fn torture(way: Way) {
    let _alone = ALONE.lock().await;
    let kills = number("TORTURE_KILLS", 8);
    let seed = number("TORTURE_SEED", 1);
    let rate = number("TORTURE_RATE", RATE);
    let mut rng = StdRng::seed_from_u64(seed);
    let world = World::new(way, BOTS, seed).await;
    let telegram = &world.telegram;
    faults::at_telegram(telegram);
    let began = Instant::now();
    let mut said = Said::nothing();
    let mut store_faults = 0_u64;
    let mut in_work = 0;
    let mut operator = world.start();
    for _ in 0..kills {
        let dies = Instant::now() + Duration::from_millis(rng.random_range(LIFE));
        let store_fails = rng
            .random_bool(0.5)
            .then(|| Duration::from_millis(rng.random_range(LIFE)));
        let load = async {
            let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
            while Instant::now() < dies {
                tick.tick().await;
                let bot = world.bots[rng.random_range(0..BOTS)];
                let chat = rng.random_range(PEOPLE);
                said.say(telegram, bot, chat, rng.random_bool(0.1));
                if rng.random_bool(0.03) {
                    world.assistant.set_behaviour(faults::mood(&mut rng));
                }
            }
        };
        let store = async {
            if let Some(after) = store_fails {
                tokio::time::sleep(after).await;
                faults::at_the_store(&world, &operator, &mut StdRng::seed_from_u64(seed)).await;
            }
        };
        // The load's end is the kill, in whatever the store's fault is doing then.
        tokio::select! {
            () = load => {}
            () = async { store.await; store_faults += 1; std::future::pending().await } => {}
        }
        in_work += said.messages - Tally::of(&said, telegram).answered;
        operator.kill();
        operator = world.start();
    }
    let under_load = began.elapsed();
    telegram.clear_faults();
    world.assistant.set_behaviour(Behaviour::default());
    let (first, dead) = drained(&world, &said).await;
    let unlisted = lost(&first, &dead);
    world.retry_dead_letters();
    let (_, dead_again) = drained(&world, &said).await;
    // Whatever comes late would be a double.
    tokio::time::sleep(Duration::from_secs(2)).await;
    operator.kill();
    let last = Tally::of(&said, telegram);

    let counted = |count: fn(&bot_api_simulator::BotCounters) -> u64| {
        let all = world.bots.iter().map(|bot| count(&telegram.counters(*bot)));
        all.sum::<u64>()
    };
    let say = |line: String| println!("torture ({way:?}, seed {seed}): {line}");
    say(format!(
        "{} build, {} cores; {BOTS} bots, {} chats, {rate} messages/s offered for {:.0} s, one in ten answered in two parts",
        if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        },
        std::thread::available_parallelism().map_or(0, usize::from),
        BOTS * PEOPLE.count(),
        under_load.as_secs_f64(),
    ));
    say(format!(
        "faults: {} 429s, {} updates given out twice, {} webhook requests without 2xx, {store_faults} moments without a store",
        counted(|c| c.throttled),
        counted(|c| c.redelivered),
        counted(|c| c.failed_deliveries),
    ));
    say(format!(
        "kills {kills}, with {} messages in work on average",
        in_work as u64 / kills.max(1)
    ));
    say(format!("messages {}", said.messages));
    say(format!("answered {}", last.answered));
    say(format!("lost {}", last.unanswered.len()));
    say(format!("out of order {}", first.out_of_order));
    say(format!(
        "doubled parts {} by kills, {} by answers of Telegram that were lost",
        last.doubled, last.doubled_by_lost_answers
    ));
    say(format!(
        "dead letters {} (each listed), {} after `dead-letters --retry all`",
        dead.len(),
        dead_again.len()
    ));
    if let Some(path) = std::env::var_os("TORTURE_KEEP_LOG") {
        std::fs::write(path, world.log()).unwrap();
    }

    assert_eq!(
        unlisted, 0,
        "neither answered nor listed: {:?}",
        first.unanswered
    );
    assert!(
        last.unanswered.is_empty(),
        "{:?}\n{dead_again:?}",
        last.unanswered
    );
    assert_eq!(first.out_of_order, 0);
    let doubled = u64::try_from(last.doubled).unwrap();
    assert!(doubled <= kills, "{doubled} parts doubled by {kills} kills");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_while_polling_it_loses_nothing_and_keeps_the_order() {
    torture(Way::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_behind_a_webhook_it_loses_nothing_and_keeps_the_order() {
    torture(Way::Webhook).await;
}
