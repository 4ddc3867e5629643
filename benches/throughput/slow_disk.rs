//! Measures what a slow disk costs: latency and throughput of one chat and of many, on this machine's disk and with a delay added to
//! each fsync and fdatasync of the operator's process.

use std::time::{Duration, Instant};

use super::Failure;
use super::load::{LoadTest, percentile, steady};
use super::volatile_cache::VolatileCache;

/// What an fsync takes longer, as on a network volume or a disk that spins.
const DELAY: Duration = Duration::from_millis(5);
const CHATS: i64 = 200;
/// Messages of the one chat: one after the other for the latency, and queued for the throughput.
const MESSAGES_OF_ONE_CHAT: usize = 300;
/// Messages per second while the latency of many chats is measured.
const RATE: u64 = 100;
/// A measurement that takes longer has failed.
const TIMEOUT: Duration = Duration::from_mins(5);
const TEXT: &str = "Where is my order?";

/// The figures of one row.
struct Figures {
    /// From a message to its answer at Telegram, in milliseconds, sorted.
    latencies: Vec<f64>,
    per_second: f64,
    syncs_per_message: f64,
}

/// Prints a table with a row for each disk and number of chats.
pub(super) async fn run(messages: usize) -> Result<(), Failure> {
    println!(
        "slow disk: one bot, polling, assistant at 0 ms, SQLite. Latency: one chat that waits for each answer, {CHATS} chats with {RATE} messages/s together. \
         Throughput: {MESSAGES_OF_ONE_CHAT} messages queued in one chat, {messages} in {CHATS}"
    );
    println!("| chats | fsync | p50 | p99 | most | throughput | fsyncs per message |");
    println!("|---|---|---|---|---|---|---|");
    for chats in [1, CHATS] {
        for delay in [Duration::ZERO, DELAY] {
            let queued = if chats == 1 {
                MESSAGES_OF_ONE_CHAT
            } else {
                messages
            };
            let figures = measure(chats, delay, queued).await?;
            println!(
                "| {chats} | + {} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.0}/s | {:.3} |",
                delay.as_millis(),
                percentile(&figures.latencies, 0.5),
                percentile(&figures.latencies, 0.99),
                figures.latencies.last().copied().unwrap_or(0.0),
                figures.per_second,
                figures.syncs_per_message,
            );
        }
    }
    Ok(())
}

async fn measure(chats: i64, delay: Duration, queued: usize) -> Result<Figures, Failure> {
    let load_test = LoadTest::new(1).await?;
    let mut cache = VolatileCache::build(load_test.folder.path())?;
    cache.delay = delay;
    let _process = load_test.start_with("operator-process", cache.environment())?;
    // The first answers open connections and lanes.
    for chat in 1000..1000 + chats {
        let bot = load_test.bots[0];
        load_test.telegram.send_private_message(bot, chat, TEXT);
    }
    load_test
        .wait_for(chats.unsigned_abs(), Duration::from_mins(1))
        .await?;
    let latencies = if chats == 1 {
        latencies_of_one_chat(&load_test).await
    } else {
        steady(&load_test, RATE, Duration::from_secs(10), 0..1, chats).await?
    };
    let before = cache.counters().syncs;
    let per_second = drain(&load_test, chats, queued).await?;
    let syncs = cache.counters().syncs - before;
    Ok(Figures {
        latencies,
        per_second,
        syncs_per_message: syncs as f64 / queued as f64,
    })
}

/// Sends each message once the one before it is answered.
async fn latencies_of_one_chat(load_test: &LoadTest) -> Vec<f64> {
    let mut latencies = Vec::with_capacity(MESSAGES_OF_ONE_CHAT);
    for _ in 0..MESSAGES_OF_ONE_CHAT {
        let sent_at = jiff::Timestamp::now();
        let answer = load_test
            .telegram
            .send_and_wait(load_test.bots[0], 1000, TEXT, TIMEOUT)
            .await;
        latencies.push(answer.at.duration_since(sent_at).as_secs_f64() * 1000.0);
    }
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// Queues all messages at once. Returns how many are answered per second.
async fn drain(load_test: &LoadTest, chats: i64, messages: usize) -> Result<f64, Failure> {
    let before = load_test.sent();
    let started = Instant::now();
    for n in 0..messages {
        let chat = 1000 + i64::try_from(n)? % chats;
        let bot = load_test.bots[0];
        load_test.telegram.send_private_message(bot, chat, TEXT);
    }
    load_test
        .wait_for(before + messages as u64, TIMEOUT)
        .await?;
    Ok(messages as f64 / started.elapsed().as_secs_f64())
}
