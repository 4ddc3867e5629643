//! Works through one claimed lane: first what is left of earlier replies, then its messages, one batch after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use crate::identity::ConnectorUid;
use crate::pipeline::claim::lane_worker::{
    LaneDecisions, LaneOutcome, LaneResult, LaneWait, LaneWorker, resolved_connector,
};
use crate::pipeline::decide::classified_message::ClassifiedMessage;
use crate::pipeline::send::deliver::{self, DeliveryProgress};
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::pipeline::work::batch_handler::{self, HandleOutcome};
use crate::pipeline::work::grants::GrantLookup;
use crate::pipeline::work::inbox_watch;
use crate::registry::ResolvedConnector;
use crate::store::{ClaimedLane, Release, WaitingMessage, WaitingPart};

/// Works through a lane and gives it back.
pub(crate) async fn run_lane(
    pipeline: Arc<PipelineState>,
    mut claimed: ClaimedLane,
) -> LaneOutcome {
    let connector = claimed.connector.clone();
    let mut lane = LaneWorker::new(pipeline.clone(), &mut claimed);
    let registry_version = *pipeline.registry.subscribe().borrow();
    let left = process_claim(&mut lane, &connector, claimed.parts, claimed.messages).await;
    let ended = |ready_in, waits_for_connector| LaneOutcome {
        connector: connector.clone(),
        ready_in,
        waits_for_connector,
        registry_version,
    };
    let wait = match left {
        Ok(ClaimEnd::Done) if lane.release_in_background(connector.clone()) => {
            return ended(None, false);
        }
        Ok(ClaimEnd::Done | ClaimEnd::MoreWaits) => None,
        Ok(ClaimEnd::Wait(wait)) => Some(wait),
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "failed to process lane; retrying in 1 s");
            lane.discard_changes();
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
        Some(LaneWait::ConnectorChange(wait) | LaneWait::KeyChange(wait)) => (Some(wait), true),
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
            if matches!(
                wait,
                Some(LaneWait::AssistantRetry(_) | LaneWait::KeyChange(_))
            ) && interruption_arrived(&lane, &connector).await =>
        {
            ended(Some(Duration::ZERO), false)
        }
        Ok(written) if written.more_waits => {
            ended(ready_in.or(Some(Duration::ZERO)), waits_for_connector)
        }
        Ok(_) => ended(None, waits_for_connector),
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "failed to release lane claim; it expires by itself");
            ended(Some(Duration::from_secs(1)), false)
        }
    }
}

/// Whether a command came that ends the question, while the lane was still ours: whoever accepted it could not hurry the lane. Now
/// that it is given back, it can be; in a private chat alone, as there ([`crate::telegram::UpdateRoute::may_interrupt`]).
async fn interruption_arrived(lane: &LaneWorker, uid: &ConnectorUid) -> bool {
    let Some(connector) = resolved_connector(lane, uid).filter(|_| lane.key.chat > 0) else {
        return false;
    };
    let arrived = inbox_watch::has_interruption(lane, &connector).await;
    // Others of the connector are asked again a little early with it; that is rare.
    arrived && lane.pipeline.store.ready_now(uid).await.is_ok()
}

/// How far the work on a claim came.
enum ClaimEnd {
    /// To the end of what was claimed.
    Done,
    /// The rest is claimed anew.
    MoreWaits,
    /// The rest has to wait.
    Wait(LaneWait),
}

async fn process_claim(
    lane: &mut LaneWorker,
    uid: &ConnectorUid,
    parts: Vec<WaitingPart>,
    messages: Vec<WaitingMessage>,
) -> LaneResult<ClaimEnd> {
    let recheck = ClaimEnd::Wait(LaneWait::ConnectorChange(CONNECTOR_RECHECK));
    if !parts.is_empty() {
        let Some(connector) = resolved_connector(lane, uid) else {
            return Ok(recheck);
        };
        // Boxed, as all that is big in here: the future of a lane is moved several times when it is spawned and when it ends.
        let delivered = Box::pin(deliver::deliver_parts(lane, &connector, parts));
        if let DeliveryProgress::Wait(wait) = delivered.await? {
            return Ok(ClaimEnd::Wait(wait));
        }
    }
    if messages.is_empty() {
        return Ok(ClaimEnd::Done);
    }
    let Some(mut connector) = resolved_connector(lane, uid) else {
        return Ok(recheck);
    };
    let mut waiting = classify_messages(lane, &connector, messages).await?;
    let claimed = Instant::now();
    let mut begun = false;
    while !waiting.is_empty() {
        if begun {
            // What was done so far is settled before anything else begins.
            lane.write_changes().await?;
            let is_stale = lane.decisions == LaneDecisions::Taken || lane.must_claim_anew;
            if is_stale || claimed.elapsed() > CLAIM_FRESHNESS {
                return Ok(ClaimEnd::MoreWaits);
            }
        }
        begun = true;
        if lane.pipeline.is_stopping() {
            return Ok(ClaimEnd::MoreWaits);
        }
        let Some(current) = resolved_connector(lane, uid) else {
            return Ok(recheck);
        };
        if !Arc::ptr_eq(&connector, &current) {
            let now = lane.pipeline.clock.now();
            for message in &mut waiting {
                message.classify_again(&current, now);
            }
            connector = current;
            GrantLookup::of(lane)
                .put_grants(&connector, &mut waiting)
                .await?;
        }
        let span = tracing::info_span!(
            "message",
            namespace = &*connector.connector_ref.namespace,
            connector = &*connector.connector_ref.name,
            bot_id = lane.key.bot.0,
            update_id = waiting[0].message.update_id,
        );
        let handled = batch_handler::handle_next_batch(lane, &connector, &mut waiting);
        let handled = Box::pin(handled).instrument(span).await?;
        if let HandleOutcome::Wait(wait) = handled {
            return Ok(ClaimEnd::Wait(wait));
        }
    }
    Ok(ClaimEnd::Done)
}

/// Reads messages, with the decisions of users from which some follow, and the grants of their senders.
async fn classify_messages(
    lane: &LaneWorker,
    connector: &ResolvedConnector,
    messages: Vec<WaitingMessage>,
) -> LaneResult<Vec<ClassifiedMessage>> {
    let (store, now) = (&lane.pipeline.store, lane.pipeline.clock.now());
    let mut classified = Vec::with_capacity(messages.len());
    for message in messages {
        let mut message = ClassifiedMessage::read(connector, message, now);
        if let Some(id) = message.decision_id() {
            let decision = store.user_decision(lane.claim.connector, id).await?;
            let decision = decision.filter(|d| d.lane == lane.claim.lane);
            message.put_decision(connector, decision, now);
        }
        classified.push(message);
    }
    GrantLookup::of(lane)
        .put_grants(connector, &mut classified)
        .await?;
    Ok(classified)
}

/// What a claim brought is looked at for so long. Behind an answer that took longer, more may have come that belongs to what
/// waits: the lane is given back and claimed anew.
const CLAIM_FRESHNESS: Duration = Duration::from_millis(300);
/// How long a lane waits whose connector cannot handle it, should its next change be missed.
const CONNECTOR_RECHECK: Duration = Duration::from_mins(1);
