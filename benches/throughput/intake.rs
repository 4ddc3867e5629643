//! Measures durable intake: updates per second that the store accepts from pollers (batches of 100) and from webhooks (single updates,
//! 40 concurrent calls per bot).

use std::sync::Arc;
use std::time::{Duration, Instant};

use telegram_connector_operator::identity::{BotId, ConnectorUid};
use telegram_connector_operator::store::{self, Store, StoreOptions};
use telegram_connector_operator::telegram::RawUpdate;

use super::Failure;
use super::verdict::judge;

const BOTS: i64 = 10;
/// How long one measurement takes.
const DURATION: Duration = Duration::from_secs(5);
/// The lower limit, in updates per second.
const MIN_RATE: f64 = 10_000.0;

/// A text message in a private chat.
fn update(id: i64, chat: i64) -> Result<RawUpdate, Failure> {
    let json = format!(
        r#"{{"update_id":{id},"message":{{"message_id":{id},"from":{{"id":{chat},"is_bot":false,"first_name":"Ann","last_name":"Example","username":"ann_example","language_code":"en"}},"chat":{{"id":{chat},"first_name":"Ann","last_name":"Example","username":"ann_example","type":"private"}},"date":1790000000,"text":"Where is my order? It should have been here on Monday, and nobody answers the phone."}}}}"#
    );
    Ok(RawUpdate::from_body(json.as_bytes())?)
}

pub(super) async fn run() -> Result<(), Failure> {
    for (batch, callers) in [(100, 1), (1, 40)] {
        let folder = tempfile::tempdir()?;
        let address = format!("sqlite:{}/connectors.db", folder.path().display());
        let per_second = rate(&address, 1, batch, callers).await?;
        println!(
            "intake: {per_second:.0} updates/s durable (for {} s; {BOTS} bots, {callers} callers each, {batch} updates a call, fsync per commit)",
            DURATION.as_secs()
        );
        judge(per_second >= MIN_RATE, "at least 10,000 updates/s");
    }
    Ok(())
}

/// Updates per second that so many replicas of the store accept; the bots are divided among them.
pub(super) async fn rate(
    address: &str,
    replicas: usize,
    batch: i64,
    callers: i64,
) -> Result<f64, Failure> {
    let mut stores = Vec::new();
    for _ in 0..replicas {
        let options = StoreOptions {
            backlog_per_bot: u64::MAX,
            ..StoreOptions::default()
        };
        stores.push(store::open_with(address, options).await?);
    }
    let started = Instant::now();
    let deadline = started + DURATION;
    let mut tasks = Vec::new();
    for (bot, store) in (0..BOTS).zip(stores.iter().cycle()) {
        for caller in 0..callers {
            tasks.push(tokio::spawn(accept_updates(
                store.clone(),
                bot,
                caller,
                batch,
                deadline,
            )));
        }
    }
    let mut accepted = 0;
    for task in tasks {
        accepted += task.await??;
    }
    Ok(accepted as f64 / started.elapsed().as_secs_f64())
}

/// Hands updates to the store until the deadline. Returns how many were accepted.
async fn accept_updates(
    store: Arc<dyn Store>,
    bot: i64,
    caller: i64,
    batch: i64,
    deadline: Instant,
) -> Result<i64, Failure> {
    let uid = ConnectorUid::from(format!("uid-{bot}").as_str());
    let mut next = caller * 100_000_000;
    let mut accepted = 0;
    while Instant::now() < deadline {
        let updates = (next..next + batch)
            .map(|id| update(id, 1000 + id % 500))
            .collect::<Result<_, _>>()?;
        next += batch;
        accepted += i64::try_from(store.accept(&uid, BotId(bot + 1), updates).await?.new)?;
    }
    Ok(accepted)
}
