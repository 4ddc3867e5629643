//! In the background: retention by age, messages of a bot that a connector no longer has, and the gauges of the queue.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::MissedTickBehavior;

use crate::pipeline::decide::read_along;
use crate::pipeline::decision_record::record_decision;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::store::{GRANT_RETENTION, ListingQuery, OUTGOING_RETENTION, Retention, StoreError};

/// How often the gauges are set.
const GAUGE_INTERVAL: Duration = Duration::from_secs(15);
/// How often decisions of users are looked at whose time is over.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
/// How often what is too old is removed.
const PRUNE_INTERVAL: Duration = Duration::from_mins(10);
/// Telegram keeps an update for 24 h; after twice that none can come again.
const UPDATE_ID_RETENTION: Duration = Duration::from_hours(48);
/// How long messages of a bot, and what it was to send, wait for their connector to get that bot back.
const OTHER_BOT_RETENTION: Duration = Duration::from_hours(24);
/// Between two bites out of what is too old.
const PRUNE_BATCH_DELAY: Duration = Duration::from_millis(50);

/// Runs for ever.
pub(crate) async fn run(pipeline: Arc<PipelineState>) {
    let mut gauges = tokio::time::interval(GAUGE_INTERVAL);
    let mut prune = tokio::time::interval(PRUNE_INTERVAL);
    let mut expiry = tokio::time::interval(EXPIRY_INTERVAL);
    expiry.set_missed_tick_behavior(MissedTickBehavior::Delay);
    gauges.set_missed_tick_behavior(MissedTickBehavior::Delay);
    prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let done = tokio::select! {
            _ = gauges.tick() => set_gauges(&pipeline).await,
            _ = expiry.tick() => expire_decisions(&pipeline).await,
            _ = prune.tick() => prune_store(&pipeline).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, "housekeeping in the store is put off");
        }
    }
}

/// Ends decisions and requests for access whose time is over. What follows from an approval or a request waits in the lane that asked.
async fn expire_decisions(pipeline: &PipelineState) -> Result<(), StoreError> {
    for expired in pipeline.store.expire_decisions().await? {
        record_decision(pipeline, &expired.connector, expired.kind, "expired", None);
        pipeline.store.work_notifier().notify(&expired.connector);
    }
    // Counted where it is shown.
    for expired in pipeline.store.expire_access_requests().await? {
        pipeline.store.work_notifier().notify(&expired.connector);
    }
    Ok(())
}

async fn set_gauges(pipeline: &PipelineState) -> Result<(), StoreError> {
    let now = pipeline.clock.now();
    let backlog = pipeline.store.backlog().await?;
    let depth: u64 = backlog.iter().map(|b| b.messages).sum();
    let oldest = backlog.iter().filter_map(|b| b.oldest).min();
    let age = oldest.map_or(Duration::ZERO, |oldest| {
        Duration::try_from(now.duration_since(oldest)).unwrap_or_default()
    });
    pipeline
        .metrics
        .set_queue(usize::try_from(depth).unwrap_or(usize::MAX), age);
    let dead = pipeline
        .store
        .dead_letters(&ListingQuery {
            limit: 1000,
            ..ListingQuery::default()
        })
        .await?;
    pipeline.metrics.set_dead_letters(dead.rows.len());
    Ok(())
}

async fn prune_store(pipeline: &PipelineState) -> Result<(), StoreError> {
    let now = pipeline.clock.now();
    let before = |age: Duration| now.checked_sub(age).unwrap_or(Timestamp::MIN);
    for connector in pipeline.registry.all() {
        let uid = &connector.connector_ref.uid;
        let bot = connector.bot.id();
        let dead_letters = pipeline
            .store
            .dead_letter_other_bots(uid, bot, before(OTHER_BOT_RETENTION))
            .await?;
        if dead_letters > 0 {
            tracing::warn!(connector = %connector.connector_ref, dead_letters, "messages and parts of replies of the bot before the token's rotation became dead letters");
        }
    }
    let retention = Retention {
        identities: before(UPDATE_ID_RETENTION),
        denied: before(pipeline.limits.denied_retention),
        read_along: before(read_along::MAX_AGE),
        outgoing: before(OUTGOING_RETENTION),
        grants: before(GRANT_RETENTION),
        sessions: before(pipeline.limits.session_retention),
    };
    while pipeline.store.prune(retention).await? {
        tokio::time::sleep(PRUNE_BATCH_DELAY).await;
    }
    Ok(())
}
