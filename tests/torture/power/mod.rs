//! Cuts the power again and again under load: SIGKILL, and then the store's files hold only what was synced, or that and a part of the
//! rest. No message that was acknowledged to Telegram may be lost, and only the answers of the last instant may be sent twice.

mod acknowledged;
mod cut;
mod model;
mod volatile_cache;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bot_api_simulator::sample_assistant::Behaviour;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::operator::{Operator, ProcessEnvironment};
use crate::tally::{SentMessages, Tally, count_by_interruption, interruption_after};
use crate::test_env::{DeliveryMode, TestEnv};
use crate::torture::{EXCLUSIVE, count_lost, number, wait_until_drained};
use cut::{UnsyncedWrites, cut_power};
use volatile_cache::VolatileCache;

const BOTS: usize = 3;
/// The ids of the users who write to each bot.
const USERS: std::ops::Range<i64> = 1000..1015;
/// Messages per second, unless `TORTURE_RATE` is set.
const RATE: u64 = if cfg!(debug_assertions) { 30 } else { 60 };
/// The time until a cut, in milliseconds: from before the start has ended until well into the work.
const LIFETIME_MS: std::ops::Range<u64> = 300..2500;
/// Each sync takes so much longer than on this machine's disk: what is acknowledged before its sync has ended is likely to be caught.
const SYNC_DELAY: Duration = Duration::from_millis(15);
/// An answer is sent again only if it was sent so long before the cut, or later.
const LAST_INSTANT: SignedDuration = SignedDuration::from_secs(2);

/// An operator on a disk with a volatile write cache.
struct PowerTest {
    env: TestEnv,
    cache: VolatileCache,
    durable: PathBuf,
    rng: StdRng,
    sent: SentMessages,
    cuts: Vec<Timestamp>,
}

impl PowerTest {
    async fn new(mode: DeliveryMode, seed: u64) -> Self {
        let env = TestEnv::new(mode, BOTS, seed).await;
        env.assistant.set_behaviour(Behaviour {
            latency_ms: 30,
            ..Behaviour::default()
        });
        let mut cache = VolatileCache::build(env.folder()).unwrap();
        let durable = env.folder().join("durable");
        std::fs::create_dir(&durable).unwrap();
        cache.model(env.volume(), durable.clone());
        cache.delay = SYNC_DELAY;
        Self {
            env,
            cache,
            durable,
            rng: StdRng::seed_from_u64(seed),
            sent: SentMessages::new(),
            cuts: Vec::new(),
        }
    }

    fn start(&self) -> Operator {
        self.env.start_with(&ProcessEnvironment {
            env: self.cache.environment(),
            hosts: None,
        })
    }

    /// Sends messages until a random moment.
    async fn load(&mut self) {
        let cut_at = Instant::now() + Duration::from_millis(self.rng.random_range(LIFETIME_MS));
        let rate = number("TORTURE_RATE", RATE);
        let mut tick = tokio::time::interval(Duration::from_micros(1_000_000 / rate));
        while Instant::now() < cut_at {
            tick.tick().await;
            let bot = self.env.bots[self.rng.random_range(0..BOTS)];
            let chat = self.rng.random_range(USERS);
            let long = self.rng.random_bool(0.1);
            self.sent.send(&self.env.telegram, bot, chat, long);
        }
    }

    /// Kills the operator and leaves of its files what a power cut leaves.
    async fn cut(&mut self, operator: Operator, lost: UnsyncedWrites) {
        operator.kill();
        self.cuts.push(Timestamp::now());
        cut_power(&self.env.volume(), &self.durable, lost, &mut self.rng);
        assert_intact(&self.env.volume()).await;
    }

    /// Starts the operator once more and waits until everything is answered or listed as a dead letter. Returns what was found, and how
    /// many messages are lost.
    async fn finish(&self) -> (Tally, usize) {
        let operator = self.start();
        let (tally, dead_letters) = wait_until_drained(&self.env, &self.sent).await;
        let lost = count_lost(&tally, &dead_letters);
        // A part that is sent late would be a double.
        tokio::time::sleep(Duration::from_secs(1)).await;
        operator.kill();
        (Tally::of(&self.sent, &self.env.telegram), lost)
    }
}

/// Checks a copy of the database, because reading it would repair it.
async fn assert_intact(volume: &Path) {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(volume).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let copy = folder.path().join("connectors.db");
    if !copy.exists() {
        return;
    }
    let mut connection = SqliteConnectOptions::new()
        .filename(copy)
        .connect()
        .await
        .unwrap();
    let faults: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(faults, ["ok"], "the database is damaged");
    let orphans = sqlx::query("PRAGMA foreign_key_check")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert!(orphans.is_empty(), "{} rows without parent", orphans.len());
}

/// How long before a cut each doubled part had been sent. One that no cut explains is older than any.
fn ages_at_cut(doubled: &[Timestamp], cuts: &[Timestamp]) -> Vec<SignedDuration> {
    let age = |sent_at: &Timestamp| {
        let cut = interruption_after(*sent_at, cuts);
        cut.map_or(SignedDuration::MAX, |cut| cut.duration_since(*sent_at))
    };
    doubled.iter().map(age).collect()
}

async fn cut_power_under_load(mode: DeliveryMode) {
    let exclusive = EXCLUSIVE.lock().await;
    let cuts = number("POWER_CUTS", 10);
    let seed = number("TORTURE_SEED", 1);
    let mut test = PowerTest::new(mode, seed).await;
    for _ in 0..cuts {
        let operator = test.start();
        test.load().await;
        let lost = match test.rng.random_range(0..3) {
            0 => UnsyncedWrites::AllLost,
            1 => UnsyncedWrites::SomeLost { block: 512 },
            _ => UnsyncedWrites::SomeLost { block: 4096 },
        };
        test.cut(operator, lost).await;
    }
    drop(exclusive);
    let (tally, lost) = test.finish().await;
    let doubled = count_by_interruption(&tally.doubled, &test.cuts);
    let ages = ages_at_cut(&tally.doubled, &test.cuts);
    let oldest = ages.iter().max().copied().unwrap_or_default();
    let disk = test.cache.counters();
    let print = |line: String| println!("power cuts ({mode:?}, seed {seed}): {line}");
    print(format!(
        "cuts {cuts}, messages {}, answered {}, lost {lost}, out of order {}",
        test.sent.count, tally.answered, tally.out_of_order
    ));
    print(format!(
        "doubled parts {}, at most {} at one cut; the oldest had been sent {} ms before it",
        tally.doubled.len(),
        doubled.iter().max().unwrap_or(&0),
        oldest.as_millis()
    ));
    print(format!(
        "{} writes to the store, {} syncs, {} of them of its folder",
        disk.writes, disk.syncs, disk.folder_syncs
    ));
    assert!(disk.writes > 0, "the library is not in use");
    assert_eq!(lost, 0, "lost: {:?}", tally.unanswered);
    assert_eq!(tally.out_of_order, 0);
    assert!(
        oldest <= LAST_INSTANT,
        "an answer was sent again {oldest:?} after it was sent"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_while_polling_lose_no_accepted_message() {
    cut_power_under_load(DeliveryMode::Polling).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_behind_webhook_lose_no_accepted_message() {
    cut_power_under_load(DeliveryMode::Webhook).await;
}
