//! In the background: retention by age, messages of a bot that a connector no longer has, and the gauges of the queue.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use super::work::Work;
use crate::store::{Listing, Retention, StoreError};

/// How often the gauges are set.
const GAUGES: Duration = Duration::from_secs(15);
/// How often what is too old is removed.
const PRUNE: Duration = Duration::from_mins(10);
/// Telegram keeps an update for 24 h; after twice that none can come again.
const IDENTITIES: Duration = Duration::from_hours(48);
/// How long messages of a bot wait for their connector to get that bot back.
const OTHER_BOTS: Duration = Duration::from_hours(24);
/// Between two bites out of what is too old.
const BETWEEN_BITES: Duration = Duration::from_millis(50);

/// Runs for ever.
pub(super) async fn run(work: Arc<Work>) {
    let mut gauges = tokio::time::interval(GAUGES);
    let mut prune = tokio::time::interval(PRUNE);
    gauges.set_missed_tick_behavior(MissedTickBehavior::Delay);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            _ = gauges.tick() => set_gauges(&work).await,
            _ = prune.tick() => tidy(&work).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "housekeeping in the store is put off");
        }
    }
}

async fn set_gauges(work: &Work) -> Result<(), StoreError> {
    let now = work.clock.now();
    let backlog = work.store.backlog().await?;
    let depth: u64 = backlog.iter().map(|b| b.messages).sum();
    let oldest = backlog.iter().filter_map(|b| b.oldest).min();
    let age = oldest.map_or(Duration::ZERO, |oldest| {
        Duration::try_from(now.duration_since(oldest)).unwrap_or_default()
    });
    work.metrics
        .set_queue(usize::try_from(depth).unwrap_or(usize::MAX), age);
    let dead = work
        .store
        .dead_letters(&Listing {
            limit: 1000,
            ..Listing::default()
        })
        .await?;
    work.metrics.set_dead_letters(dead.rows.len());
    Ok(())
}

async fn tidy(work: &Work) -> Result<(), StoreError> {
    let now = work.clock.now();
    let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
    for connector in work.registry.all() {
        let uid = &connector.connector.uid;
        let bot = connector.bot.id();
        let buried = work
            .store
            .bury_other_bots(uid, bot, before(OTHER_BOTS))
            .await?;
        if buried > 0 {
            tracing::warn!(connector = %connector.connector, buried, "messages of the bot before the token's rotation became dead letters");
        }
    }
    let retention = Retention {
        identities: before(IDENTITIES),
        denied: before(work.limits.denied_retention),
        sessions: before(work.limits.session_retention),
    };
    while work.store.prune(retention).await? {
        tokio::time::sleep(BETWEEN_BITES).await;
    }
    Ok(())
}
