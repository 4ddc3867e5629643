//! One claimed lane: what is known of it, and the changes not yet written. Apart from the loop that works through it, so that whatever is
//! done for a lane needs to know the claim only.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::ConnectorUid;
use crate::observation::MovedGroup;
use crate::pipeline::decide::classified_message::ClassifiedUpdate;
use crate::pipeline::decide::lane_memory::LaneMemory;
use crate::pipeline::decide::read_along;
use crate::pipeline::message::incoming_update::IncomingUpdate;
use crate::pipeline::state::pipeline_state::PipelineState;
use crate::registry::ResolvedConnector;
use crate::store::{
    Change, Claim, ClaimedLane, LaneKey, LaneWrite, Release, Session, StoreError, WaitingPart,
    WriteOutcome, is_outgoing,
};

/// How a lane was left.
#[derive(Debug)]
pub(crate) struct LaneOutcome {
    /// Whose it is.
    pub(crate) connector: ConnectorUid,
    /// After how long something in it is ready again; `None`: nothing waits.
    pub(crate) ready_in: Option<Duration>,
    /// It waits for the connector to change.
    pub(crate) waits_for_connector: bool,
    /// The registry's version before the connector was looked up: a later change may be the one it waits for.
    pub(crate) registry_version: u64,
}

/// Why the rest of a lane has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneWait {
    /// For so long.
    Delay(Duration),
    /// For so long, until the assistant is asked again; a command that ends the question comes before.
    AssistantRetry(Duration),
    /// Until the connector changes (or so long, should the change be missed).
    ConnectorChange(Duration),
    /// Until the connector has another key for its assistant, or so long, until the same key is tried; a command that ends the question comes
    /// before.
    KeyChange(Duration),
}

/// The decisions of users that were asked for in a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneDecisions {
    /// None is open.
    None,
    /// Some are open.
    Open,
    /// One was taken under this claim: what follows from it comes before the rest of the claim.
    Taken,
}

/// A lane in work: what is known of it, and the changes not yet written.
pub(crate) struct LaneWorker {
    pub(crate) pipeline: Arc<PipelineState>,
    pub(crate) claim: Claim,
    pub(crate) key: LaneKey,
    pub(crate) session: Option<Session>,
    pub(crate) session_count: i64,
    /// The id of the group that its chat was.
    moved_from: Option<i64>,
    pub(crate) memory: LaneMemory,
    memory_changed: bool,
    pub(crate) decisions: LaneDecisions,
    /// Something was done under this claim that changes what the rest of it is to become.
    pub(crate) must_claim_anew: bool,
    changes: Vec<Change>,
    /// Something among the changes must be written before anything else is done.
    must_write: bool,
}

/// What ends the work on a lane before its end: the store's word that it is no longer ours, or that it cannot take the write.
pub(crate) type LaneResult<T> = Result<T, StoreError>;

impl LaneWorker {
    /// The worker of a lane that was claimed.
    pub(crate) fn new(pipeline: Arc<PipelineState>, claimed: &mut ClaimedLane) -> Self {
        Self {
            pipeline,
            claim: claimed.claim,
            key: claimed.key,
            session: claimed.session.take(),
            session_count: claimed.sessions,
            moved_from: claimed.moved_from,
            decisions: if claimed.has_open_decision {
                LaneDecisions::Open
            } else {
                LaneDecisions::None
            },
            must_claim_anew: false,
            memory: LaneMemory::parse(&claimed.handled),
            memory_changed: false,
            changes: Vec::new(),
            must_write: false,
        }
    }

    /// Drops the changes that were not written.
    pub(crate) fn discard_changes(&mut self) {
        self.changes.clear();
        self.must_write = false;
    }

    /// Notes a change; it is written with the next [`LaneWorker::write_changes`].
    pub(crate) fn add_change(&mut self, change: Change) {
        self.changes.push(change);
        self.must_write = true;
    }

    /// Notes that Telegram has taken a part. Where that `is_recorded`, it is written with the next changes that must be.
    pub(crate) fn add_sent_part(
        &mut self,
        part: &WaitingPart,
        message_id: Option<i64>,
        is_recorded: bool,
    ) {
        let WaitingPart { reply, number, .. } = *part;
        self.changes.push(Change::Sent {
            reply,
            number,
            message_id: message_id.filter(|_| is_outgoing(reply)),
        });
        self.must_write |= !is_recorded;
    }

    /// Notes that a message is handled as it reads here; it is written with the changes that finish it.
    pub(crate) fn record_handled(&mut self, incoming: &IncomingUpdate) {
        self.memory_changed |= self.memory.handled.record(incoming);
    }

    /// Counts an answer to a bot; false if it is not to be answered. Written with the next changes that must be.
    pub(crate) fn count_answer_to_bot(&mut self) -> bool {
        let has_room = self.memory.count_answer_to_bot();
        self.memory_changed |= has_room;
        has_room
    }

    /// Notes what an update says beside its words: that a person spoke, and the name that the topic has from now on. It is written with the changes that
    /// finish the update.
    pub(crate) fn record_seen(&mut self, incoming: &IncomingUpdate) {
        self.memory_changed |= self.memory.record_person(incoming);
        self.memory_changed |= self.memory.record_topic_name(incoming);
    }

    /// Keeps a message that was not said to the bot, where the connector reads along. It is written with the changes that finish it.
    pub(crate) fn record_read_along(
        &mut self,
        connector: &ResolvedConnector,
        update: &ClassifiedUpdate,
    ) {
        let now = self.pipeline.clock.now();
        self.changes
            .extend(read_along::keep(connector, update, now));
    }

    /// Writes all noted changes at once, if there are any that must not wait.
    pub(crate) async fn write_changes(&mut self) -> LaneResult<WriteOutcome> {
        if !self.must_write {
            return Ok(WriteOutcome::default());
        }
        self.write_changes_and_release(None).await
    }

    /// Writes all noted changes and gives the lane back.
    pub(crate) async fn write_changes_and_release(
        &mut self,
        release: Option<Release>,
    ) -> LaneResult<WriteOutcome> {
        let write = self.take_changes(release);
        self.pipeline.write_with_retry(write).await
    }

    /// Gives the lane back with the changes that are noted, without waiting for it; false, and nothing is done, if one of them must not wait.
    pub(crate) fn release_in_background(&mut self, connector: ConnectorUid) -> bool {
        if self.must_write {
            return false;
        }
        let write = self.take_changes(Some(Release::Now));
        self.pipeline.store.release_in_background(connector, write);
        true
    }

    fn take_changes(&mut self, release: Option<Release>) -> LaneWrite {
        if std::mem::take(&mut self.memory_changed) {
            let handled = self.memory.to_text();
            self.changes.push(Change::Handled { handled });
        }
        self.must_write = false;
        LaneWrite {
            claim: self.claim,
            changes: std::mem::take(&mut self.changes),
            release,
        }
    }
}

/// The connector as it is now: a change of its lists counts for the next message. `None` also if it has another bot by now. A group that
/// it names is named under its new id, too.
pub(crate) fn resolved_connector(
    lane: &LaneWorker,
    uid: &ConnectorUid,
) -> Option<Arc<ResolvedConnector>> {
    let found = lane.pipeline.registry.get(uid);
    let connector = found.filter(|c| c.bot.id() == lane.key.bot)?;
    let Some(from) = lane.moved_from else {
        return Some(connector);
    };
    let to = lane.key.chat;
    let mut named_anew = (*connector).clone();
    let chats = named_anew.groups.as_mut().and_then(|g| g.chats.as_mut());
    if chats.is_some_and(|chats| chats.contains(&from) && chats.insert(to)) {
        let moved = MovedGroup {
            generation: connector.generation,
            from,
            to,
        };
        lane.pipeline.observations.record_moved_group(uid, moved);
    }
    let approvals = named_anew.approvals.as_mut();
    if let Some(chat) = approvals.and_then(|a| a.chat.as_mut())
        && chat.id == from
    {
        chat.id = to;
    }
    if let Some(requests) = named_anew.requests.as_mut()
        && requests.notify.id == from
    {
        requests.notify.id = to;
    }
    Some(Arc::new(named_anew))
}
