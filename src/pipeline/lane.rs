//! Works through one claimed lane: first what is left of earlier replies, then its messages, one after the other.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::deliver::{self, Delivery};
use super::handle::{self, Handled};
use super::interrupt;
use super::turn::Waiting;
use super::work::Work;
use crate::identity::ConnectorUid;
use crate::registry::ResolvedConnector;
use crate::store::{
    Change, Claim, ClaimedLane, LaneKey, LaneWrite, Release, Session, StoreError, WaitingMessage,
    WaitingPart, Written,
};

/// How a lane was left.
#[derive(Debug)]
pub(super) struct Ended {
    /// Whose it is.
    pub(super) connector: ConnectorUid,
    /// After how long something in it is ready again; `None`: nothing waits.
    pub(super) again: Option<Duration>,
    /// It waits for the connector to change.
    pub(super) parked: bool,
    /// The registry's version before the connector was looked up: a later change may be the one it waits for.
    pub(super) registry_version: u64,
}

/// Why the rest of a lane has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// For so long.
    For(Duration),
    /// For so long, until the assistant is asked again; a command that ends the question comes before.
    ToAskAgain(Duration),
    /// Until the connector changes (or so long, should the change be missed).
    ForConnector(Duration),
}

/// A lane in work: what is known of it, and the changes not yet written.
pub(super) struct Lane {
    pub(super) work: Arc<Work>,
    pub(super) claim: Claim,
    pub(super) key: LaneKey,
    pub(super) session: Option<Session>,
    pub(super) sessions: i64,
    changes: Vec<Change>,
}

/// What ends the work on a lane before its end: the store's word that it is no longer ours, or that it cannot take the write.
pub(super) type Worked<T> = Result<T, StoreError>;

impl Lane {
    /// Notes a change; it is written with the next [`Lane::write`].
    pub(super) fn change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Writes all noted changes at once.
    pub(super) async fn write(&mut self) -> Worked<Written> {
        if self.changes.is_empty() {
            return Ok(Written::default());
        }
        self.write_and(None).await
    }

    async fn write_and(&mut self, release: Option<Release>) -> Worked<Written> {
        let write = LaneWrite {
            claim: self.claim,
            changes: std::mem::take(&mut self.changes),
            release,
        };
        self.work.write(write).await
    }
}

/// Works through a lane and gives it back.
pub(super) async fn work_through(work: Arc<Work>, claimed: ClaimedLane) -> Ended {
    let connector = claimed.connector.clone();
    let mut lane = Lane {
        work: work.clone(),
        claim: claimed.claim,
        key: claimed.key,
        session: claimed.session,
        sessions: claimed.sessions,
        changes: Vec::new(),
    };
    let registry_version = *work.registry.subscribe().borrow();
    let left = run(&mut lane, &connector, claimed.parts, claimed.messages).await;
    let ended = |again, parked| Ended {
        connector: connector.clone(),
        again,
        parked,
        registry_version,
    };
    let wait = match left {
        Ok(wait) => wait,
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "the work on a chat was dropped; it is taken up again");
            lane.changes.clear();
            let soon = work.clock.now().checked_add(Duration::from_secs(1));
            let release = Release::At(soon.unwrap_or(jiff::Timestamp::MAX));
            // Of a lane that is another's by now there is nothing to give back.
            let _ = lane.write_and(Some(release)).await;
            return ended(Some(Duration::from_secs(1)), false);
        }
    };
    let (again, parked) = match wait {
        None => (None, false),
        Some(Wait::For(wait) | Wait::ToAskAgain(wait)) => (Some(wait), false),
        Some(Wait::ForConnector(wait)) => (Some(wait), true),
    };
    let release = match again {
        None => Release::Now,
        Some(wait) => Release::At(
            work.clock
                .now()
                .checked_add(wait)
                .unwrap_or(jiff::Timestamp::MAX),
        ),
    };
    match lane.write_and(Some(release)).await {
        Ok(_)
            if matches!(wait, Some(Wait::ToAskAgain(_)))
                && came_before(&lane, &connector).await =>
        {
            ended(Some(Duration::ZERO), false)
        }
        Ok(written) if written.more_waits => ended(again.or(Some(Duration::ZERO)), parked),
        Ok(_) => ended(None, parked),
        Err(error) => {
            tracing::warn!(connector = %connector, %error, "a chat could not be given back");
            ended(Some(Duration::from_secs(1)), false)
        }
    }
}

/// Whether a command came that ends the question, while the lane was still ours: whoever accepted it could not hurry the lane. Now
/// that it is given back, it can be; in a private chat alone, as there ([`crate::store::Place::hurries`]).
async fn came_before(lane: &Lane, uid: &ConnectorUid) -> bool {
    let Some(connector) = resolved(lane, uid).filter(|_| lane.key.chat > 0) else {
        return false;
    };
    let came = interrupt::has_come(&lane.work, &connector, lane.claim.lane).await;
    // Others of the connector are asked again a little early with it; that is rare.
    came && lane.work.store.ready_now(uid).await.is_ok()
}

/// `None`: to the end of what was claimed.
async fn run(
    lane: &mut Lane,
    uid: &ConnectorUid,
    parts: Vec<WaitingPart>,
    messages: Vec<WaitingMessage>,
) -> Worked<Option<Wait>> {
    if !parts.is_empty() {
        let Some(connector) = resolved(lane, uid) else {
            return Ok(Some(Wait::ForConnector(LONG)));
        };
        if let Delivery::Wait(wait) = deliver::deliver(lane, &connector, parts).await? {
            return Ok(Some(wait));
        }
    }
    let mut waiting: Vec<Waiting> = messages.into_iter().map(Waiting::read).collect();
    let claimed = Instant::now();
    let mut begun = false;
    while !waiting.is_empty() {
        if begun {
            // What was done so far is settled before anything else begins.
            lane.write().await?;
            if claimed.elapsed() > FRESH {
                return Ok(None);
            }
        }
        begun = true;
        if lane.work.stopping() {
            return Ok(None);
        }
        let Some(connector) = resolved(lane, uid) else {
            return Ok(Some(Wait::ForConnector(LONG)));
        };
        let span = tracing::info_span!(
            "message",
            namespace = &*connector.connector.namespace,
            connector = &*connector.connector.name,
            bot_id = lane.key.bot.0,
            update_id = waiting[0].message.update_id,
        );
        let handled = handle::next(lane, &connector, &mut waiting)
            .instrument(span)
            .await?;
        if let Handled::Wait(wait) = handled {
            return Ok(Some(wait));
        }
    }
    Ok(None)
}

/// What a claim brought is looked at for so long. Behind an answer that took longer, more may have come that belongs to what
/// waits: the lane is given back and claimed anew.
const FRESH: Duration = Duration::from_millis(300);
/// How long a lane waits whose connector cannot handle it, should its next change be missed.
const LONG: Duration = Duration::from_mins(1);

/// The connector as it is now: a change of its lists counts for the next message. `None` also if it has another bot by now.
fn resolved(lane: &Lane, uid: &ConnectorUid) -> Option<Arc<ResolvedConnector>> {
    lane.work
        .registry
        .get(uid)
        .filter(|c| c.bot.id() == lane.key.bot)
}
