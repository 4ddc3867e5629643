//! Which of the messages that wait in a chat are one turn: what the assistant is asked about at once, and settled together.
//!
//! A pure decision over what a claim brought, so that it is made anew after a crash and comes out the same: nothing of a turn is
//! remembered anywhere but in the inbox. The rules:
//!
//! - An edit of a message that still waits takes the message's place. An edit of one that was answered is a turn of its own.
//! - The messages of an album are one turn, and so are the pieces of a paste that Telegram's limit cut. Where the next piece may
//!   still be on its way, the turn waits for it ([`MessageBatch::ready_in`]); nothing else ever waits.
//! - A message that follows quickly on one of the same sender joins it, if the assistant would be asked about both.
//! - What was tried before is tried again as it was: only messages with as many attempts belong together.
//! - A `/stop` of the same sender behind the turn ends it before it begins. One that had begun and waits to be tried again ends as a
//!   running answer does: by anybody's `/stop`, and by a `/new`, which is carried out next.

use std::time::Duration;

use jiff::Timestamp;

use crate::pipeline::decide::assistant_input::{self, MessageRelation};
use crate::pipeline::decide::decision::{self, Decision};
use crate::pipeline::decide::groups::{self, GroupDecision};
use crate::pipeline::message::incoming_update::{IncomingUpdate, UnreadableUpdate, UpdateKind};
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// The next piece of an album or a paste is waited for so long after the one before became durable. Telegram hands them out
/// together; this covers two webhook requests one after the other.
const NEXT_PIECE_WAIT: Duration = Duration::from_millis(700);
/// An album has at most 10 pieces (Bot API, `sendMediaGroup`).
const MAX_ALBUM_SIZE: usize = 10;

/// A message that waits, read.
#[derive(Debug)]
pub(crate) struct ParsedMessage {
    /// As the store has it.
    pub(crate) message: WaitingMessage,
    /// What it says.
    pub(crate) incoming: Result<IncomingUpdate, UnreadableUpdate>,
}

impl ParsedMessage {
    pub(crate) fn parse(message: WaitingMessage) -> Self {
        let incoming = IncomingUpdate::parse(&message.json);
        Self { message, incoming }
    }
}

/// One message of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchMember {
    /// How it belongs to the one before it.
    pub(crate) relation: MessageRelation,
    /// What was said, by its last edit.
    pub(crate) incoming: IncomingUpdate,
}

/// What is handled at once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MessageBatch {
    /// Its messages in order; at least one.
    pub(crate) members: Vec<BatchMember>,
    /// Which of them speaks for all: who, where, to be replied to.
    pub(crate) lead: usize,
    /// What is to be done.
    pub(crate) decision: Decision,
    /// Indices into what waits: all that is settled with it, edits and a `/stop` included.
    pub(crate) settled_indices: Vec<usize>,
    /// The `/stop` that ends it before it begins.
    pub(crate) stop: Option<IncomingUpdate>,
    /// More of it may be on its way: look again after so long.
    pub(crate) ready_in: Option<Duration>,
}

impl MessageBatch {
    /// The message that speaks for all.
    pub(crate) fn lead(&self) -> &IncomingUpdate {
        &self.members[self.lead].incoming
    }
}

/// What the decision is made with besides the messages.
pub(crate) struct BatchContext<'a> {
    pub(crate) connector: &'a ResolvedConnector,
    pub(crate) now: Timestamp,
    /// Messages of one sender whose dates are not further apart follow quickly on each other; zero: none do.
    pub(crate) follow_up: Duration,
}

/// Finds the turn that the first of `waiting` belongs to; `None` if that one cannot be read, or nothing waits. `allow_follow_up` is asked
/// about each follow-up, and counts it.
pub(crate) fn next_batch(
    context: &BatchContext<'_>,
    waiting: &[ParsedMessage],
    mut allow_follow_up: impl FnMut(&IncomingUpdate) -> bool,
) -> Option<MessageBatch> {
    let connector = context.connector;
    let first_waiting = waiting.first()?;
    let (first, edits) = apply_edits(waiting, 0, first_waiting.incoming.as_ref().ok()?);
    let mut batch = MessageBatch {
        decision: decision::decide(connector, &first),
        members: vec![BatchMember {
            relation: MessageRelation::None,
            incoming: first,
        }],
        lead: 0,
        settled_indices: [0].into_iter().chain(edits).collect(),
        stop: None,
        ready_in: None,
    };
    let mut last = 0;
    for (n, next) in waiting.iter().enumerate().skip(1) {
        if batch.settled_indices.contains(&n) {
            continue;
        }
        let before = &batch.members[batch.members.len() - 1].incoming;
        let Ok(incoming) = &next.incoming else {
            break;
        };
        let relation = assistant_input::message_relation(before, incoming, context.follow_up);
        if relation == MessageRelation::None
            || next.message.attempts != first_waiting.message.attempts
        {
            break;
        }
        let (incoming, edits) = apply_edits(waiting, n, incoming);
        let is_asked = |decision: &Decision| matches!(decision, Decision::AskAssistant(_));
        let joins = match relation {
            MessageRelation::None => false,
            MessageRelation::Album => true,
            MessageRelation::Paste => is_asked(&batch.decision),
            MessageRelation::FollowUp => {
                is_asked(&batch.decision)
                    && is_asked(&decision::decide(connector, &incoming))
                    && allow_follow_up(&incoming)
            }
        };
        if !joins {
            break;
        }
        last = n;
        batch.settled_indices.push(n);
        batch.settled_indices.extend(edits);
        batch.members.push(BatchMember { relation, incoming });
    }
    batch.choose_lead(connector);
    if matches!(batch.decision, Decision::AskAssistant(_)) {
        let begun = first_waiting.message.attempts > 0;
        let lead = batch.lead();
        let behind = |n: &usize| !batch.settled_indices.contains(n);
        let candidates: Vec<(usize, &IncomingUpdate)> = (1..waiting.len())
            .filter(behind)
            .filter_map(|n| Some((n, waiting[n].incoming.as_ref().ok()?)))
            .filter(|(_, incoming)| begun || same_sender(incoming, lead))
            .collect();
        // Most of what waits is no command at all, and there can be much of it.
        let is_command = |candidate: &IncomingUpdate| {
            candidate
                .text
                .as_deref()
                .is_some_and(|t| t.starts_with('/'))
        };
        let ends = |candidate: &IncomingUpdate| match decision::decide(connector, candidate) {
            Decision::Stop => true,
            Decision::StartSession(_) => begun,
            _ => false,
        };
        let command = candidates
            .iter()
            .position(|(_, candidate)| is_command(candidate) && ends(candidate));
        if let Some(at) = command {
            let (stop, command) = candidates[at];
            if decision::decide(connector, command) == Decision::Stop {
                // What its sender said between the turn and the `/stop` is stopped with it.
                let stopped = candidates[..at]
                    .iter()
                    .filter(|(_, between)| same_sender(between, command))
                    .filter(|(_, between)| {
                        matches!(
                            decision::decide(connector, between),
                            Decision::AskAssistant(_)
                        )
                    });
                let stopped: Vec<usize> = stopped.map(|(n, _)| *n).chain([stop]).collect();
                batch.stop = Some(command.clone());
                batch.settled_indices.extend(stopped);
            } else {
                batch.decision = Decision::Ignore;
            }
        } else if candidates.is_empty() {
            batch.ready_in = batch.wait_for_next_piece(&waiting[last].message, context.now);
        }
    }
    Some(batch)
}

impl MessageBatch {
    /// An album speaks by the message that is said to the bot: the one with the caption. Denied, each of its messages is denied and
    /// kept by itself.
    fn choose_lead(&mut self, connector: &ResolvedConnector) {
        let album = self
            .members
            .iter()
            .take_while(|m| m.relation != MessageRelation::FollowUp);
        let pieces = album.count();
        if self.members[0].incoming.media_group_id.is_some() {
            let bot = decision::bot_identity(connector);
            let says = |m: &BatchMember| {
                let text = m.incoming.text.as_deref().unwrap_or_default();
                groups::decide(connector.groups.as_ref(), &m.incoming, bot) == GroupDecision::Handle
                    && !text.is_empty()
            };
            let lead = self.members[..pieces].iter().position(says).unwrap_or(0);
            if lead > 0 {
                self.lead = lead;
                self.decision = decision::decide(connector, &self.members[lead].incoming);
            } else if let Some(known) = self.members[..pieces]
                .iter()
                .map(|m| decision::decide(connector, &m.incoming))
                .find(|decision| matches!(decision, Decision::AskAssistant(_)))
            {
                // Of an album without words, what can be seen is asked about; the rest of it goes along.
                self.decision = known;
            }
        }
        if self.decision == Decision::Deny {
            self.members.truncate(1);
            self.settled_indices.truncate(1);
        }
    }

    /// How long the next piece of an album or a paste may still take.
    fn wait_for_next_piece(&self, last: &WaitingMessage, now: Timestamp) -> Option<Duration> {
        let incoming = &self.members[self.members.len() - 1].incoming;
        let album = incoming.media_group_id.is_some() && self.members.len() < MAX_ALBUM_SIZE;
        if last.attempts > 0 || !(album || assistant_input::may_be_truncated(incoming)) {
            return None;
        }
        let age = Duration::try_from(now.duration_since(last.received_at)).unwrap_or_default();
        NEXT_PIECE_WAIT
            .checked_sub(age)
            .filter(|wait| !wait.is_zero())
    }
}

/// A message as its last waiting edit has it, and which those edits are.
fn apply_edits(
    waiting: &[ParsedMessage],
    at: usize,
    incoming: &IncomingUpdate,
) -> (IncomingUpdate, Vec<usize>) {
    let mut latest = incoming.clone();
    let mut edits = Vec::new();
    for (n, later) in waiting.iter().enumerate().skip(at + 1) {
        let Ok(edit) = &later.incoming else { continue };
        if edit.message_id.is_some()
            && edit.message_id == incoming.message_id
            && edit.chat.id == incoming.chat.id
            && decision::is_user_edit(edit)
            && matches!(
                incoming.kind,
                UpdateKind::Message | UpdateKind::EditedMessage
            )
        {
            latest = IncomingUpdate {
                kind: incoming.kind,
                update_id: incoming.update_id,
                ..edit.clone()
            };
            edits.push(n);
        }
    }
    (latest, edits)
}

fn same_sender(a: &IncomingUpdate, b: &IncomingUpdate) -> bool {
    let id = |m: &IncomingUpdate| m.sender.as_ref().map(|s| s.id);
    id(a).is_some() && id(a) == id(b)
}
