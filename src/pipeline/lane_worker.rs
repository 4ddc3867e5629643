//! Works through one claimed lane: first what is left of earlier replies, then its messages, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::batch_handler::{self, HandleOutcome};
use super::deliver::{self, DeliveryProgress};
use super::interruptions;
use super::message_batch::ParsedMessage;
use super::state::PipelineState;
use crate::identity::ConnectorUid;
use crate::registry::ResolvedConnector;
use crate::store::{
    Change, Claim, ClaimedLane, LaneKey, LaneWrite, Release, Session, StoreError, WaitingMessage,
    WaitingPart, Written,
};

/// How a lane was left.
#[derive(Debug)]
pub(super) struct LaneOutcome {
    /// Whose it is.
    pub(super) connector: ConnectorUid,
    /// After how long something in it is ready again; `None`: nothing waits.
    pub(super) ready_in: Option<Duration>,
    /// It waits for the connector to change.
    pub(super) waits_for_connector: bool,
    /// The registry's version before the connector was looked up: a later change may be the one it waits for.
    pub(super) registry_version: u64,
}

/// Why the rest of a lane has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneWait {
    /// For so long.
    Delay(Duration),
    /// For so long, until the assistant is asked again; a command that ends the question comes before.
    AssistantRetry(Duration),
    /// Until the connector changes (or so long, should the change be missed).
    ConnectorChange(Duration),
}

/// A lane in work: what is known of it, and the changes not yet written.
pub(super) struct LaneWorker {
    pub(super) pipeline: Arc<PipelineState>,
    pub(super) claim: Claim,
    pub(super) key: LaneKey,
    pub(super) session: Option<Session>,
    pub(super) session_count: i64,
    changes: Vec<Change>,
}

/// What ends the work on a lane before its end: the store's word that it is no longer ours, or that it cannot take the write.
pub(super) type LaneResult<T> = Result<T, StoreError>;

impl LaneWorker {
    /// Notes a change; it is written with the next [`LaneWorker::write_changes`].
    pub(super) fn add_change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Writes all noted changes at once.
    pub(super) async fn write_changes(&mut self) -> LaneResult<Written> {
        if self.changes.is_empty() {
            return Ok(Written::default());
        }
        self.write_changes_and_release(None).await
    }

    async fn write_changes_and_release(&mut self, release: Option<Release>) -> LaneResult<Written> {
        let write = LaneWrite {
            claim: self.claim,
            changes: std::mem::take(&mut self.changes),
            release,
        };
        self.pipeline.write_with_retry(write).await
    }
}

/// Works through a lane and gives it back.
pub(super) async fn run_lane(pipeline: Arc<PipelineState>, claimed: ClaimedLane) -> LaneOutcome {
    let connector = claimed.connector.clone();
    let mut lane = LaneWorker {
        pipeline: pipeline.clone(),
        claim: claimed.claim,
        key: claimed.key,
        session: claimed.session,
        session_count: claimed.sessions,
        changes: Vec::new(),
    };
    let registry_version = *pipeline.registry.subscribe().borrow();
    let left = process_claim(&mut lane, &connector, claimed.parts, claimed.messages).await;
    let ended = |ready_in, waits_for_connector| LaneOutcome {
        connector: connector.clone(),
        ready_in,
        waits_for_connector,
        registry_version,
    };
    let wait = match left {
        Ok(wait) => wait,
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "the work on a chat was dropped; it is taken up again");
            lane.changes.clear();
            let soon = pipeline.clock.now().checked_add(Duration::from_secs(1));
            let release = Release::At(soon.unwrap_or(jiff::Timestamp::MAX));
            // Of a lane that is another's by now there is nothing to give back.
            let _ = lane.write_changes_and_release(Some(release)).await;
            return ended(Some(Duration::from_secs(1)), false);
        }
    };
    let (ready_in, waits_for_connector) = match wait {
        None => (None, false),
        Some(LaneWait::Delay(wait) | LaneWait::AssistantRetry(wait)) => (Some(wait), false),
        Some(LaneWait::ConnectorChange(wait)) => (Some(wait), true),
    };
    let release = match ready_in {
        None => Release::Now,
        Some(wait) => Release::At(
            pipeline
                .clock
                .now()
                .checked_add(wait)
                .unwrap_or(jiff::Timestamp::MAX),
        ),
    };
    match lane.write_changes_and_release(Some(release)).await {
        Ok(_)
            if matches!(wait, Some(LaneWait::AssistantRetry(_)))
                && interruption_arrived(&lane, &connector).await =>
        {
            ended(Some(Duration::ZERO), false)
        }
        Ok(written) if written.more_waits => {
            ended(ready_in.or(Some(Duration::ZERO)), waits_for_connector)
        }
        Ok(_) => ended(None, waits_for_connector),
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "a chat could not be given back");
            ended(Some(Duration::from_secs(1)), false)
        }
    }
}

/// Whether a command came that ends the question, while the lane was still ours: whoever accepted it could not hurry the lane. Now
/// that it is given back, it can be; in a private chat alone, as there ([`crate::store::Place::hurries`]).
async fn interruption_arrived(lane: &LaneWorker, uid: &ConnectorUid) -> bool {
    let Some(connector) = resolved_connector(lane, uid).filter(|_| lane.key.chat > 0) else {
        return false;
    };
    let arrived =
        interruptions::has_interruption(&lane.pipeline, &connector, lane.claim.lane).await;
    // Others of the connector are asked again a little early with it; that is rare.
    arrived && lane.pipeline.store.ready_now(uid).await.is_ok()
}

/// `None`: to the end of what was claimed.
async fn process_claim(
    lane: &mut LaneWorker,
    uid: &ConnectorUid,
    parts: Vec<WaitingPart>,
    messages: Vec<WaitingMessage>,
) -> LaneResult<Option<LaneWait>> {
    if !parts.is_empty() {
        let Some(connector) = resolved_connector(lane, uid) else {
            return Ok(Some(LaneWait::ConnectorChange(CONNECTOR_RECHECK)));
        };
        if let DeliveryProgress::Wait(wait) =
            deliver::deliver_parts(lane, &connector, parts).await?
        {
            return Ok(Some(wait));
        }
    }
    let mut waiting: Vec<ParsedMessage> = messages.into_iter().map(ParsedMessage::parse).collect();
    let claimed = Instant::now();
    let mut begun = false;
    while !waiting.is_empty() {
        if begun {
            // What was done so far is settled before anything else begins.
            lane.write_changes().await?;
            if claimed.elapsed() > CLAIM_FRESHNESS {
                return Ok(None);
            }
        }
        begun = true;
        if lane.pipeline.is_stopping() {
            return Ok(None);
        }
        let Some(connector) = resolved_connector(lane, uid) else {
            return Ok(Some(LaneWait::ConnectorChange(CONNECTOR_RECHECK)));
        };
        let span = tracing::info_span!(
            "message",
            namespace = &*connector.connector.namespace,
            connector = &*connector.connector.name,
            bot_id = lane.key.bot.0,
            update_id = waiting[0].message.update_id,
        );
        let handled = batch_handler::handle_next_batch(lane, &connector, &mut waiting)
            .instrument(span)
            .await?;
        if let HandleOutcome::Wait(wait) = handled {
            return Ok(Some(wait));
        }
    }
    Ok(None)
}

/// What a claim brought is looked at for so long. Behind an answer that took longer, more may have come that belongs to what
/// waits: the lane is given back and claimed anew.
const CLAIM_FRESHNESS: Duration = Duration::from_millis(300);
/// How long a lane waits whose connector cannot handle it, should its next change be missed.
const CONNECTOR_RECHECK: Duration = Duration::from_mins(1);

/// The connector as it is now: a change of its lists counts for the next message. `None` also if it has another bot by now.
fn resolved_connector(lane: &LaneWorker, uid: &ConnectorUid) -> Option<Arc<ResolvedConnector>> {
    lane.pipeline
        .registry
        .get(uid)
        .filter(|c| c.bot.id() == lane.key.bot)
}
