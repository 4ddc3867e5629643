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
use crate::pipeline::decide::classified_message::{ClassifiedMessage, ClassifiedUpdate};
use crate::pipeline::decide::decision::{self, Decision};
use crate::pipeline::decide::groups::GroupDecision;
use crate::pipeline::decide::interruption::{EndingCommand, find_ending_command};
use crate::pipeline::message::incoming_update::{IncomingUpdate, UpdateKind};
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// The next piece of an album or a paste is waited for so long after the one before became durable. Telegram hands them out
/// together; this covers two webhook requests one after the other.
const NEXT_PIECE_WAIT: Duration = Duration::from_millis(700);
/// An album has at most 10 pieces (Bot API, `sendMediaGroup`).
const MAX_ALBUM_SIZE: usize = 10;

/// One message of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchMember {
    /// How it belongs to the one before it.
    pub(crate) relation: MessageRelation,
    /// What was said, by its last edit.
    pub(crate) update: ClassifiedUpdate,
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
    waiting: &[ClassifiedMessage],
    allow_follow_up: impl FnMut(&IncomingUpdate) -> bool,
) -> Option<MessageBatch> {
    let (first, edits) = with_edits(context, waiting, 0)?;
    let mut batch = MessageBatch {
        decision: first.decision.clone(),
        members: vec![BatchMember {
            relation: MessageRelation::None,
            update: first,
        }],
        lead: 0,
        settled_indices: [0].into_iter().chain(edits).collect(),
        stop: None,
        ready_in: None,
    };
    let last = batch.add_members(context, waiting, allow_follow_up);
    batch.choose_lead();
    if batch.decision.is_asked() {
        batch.find_end(context, waiting, last);
    } else if batch.may_be_said_to_the_bot() && last + 1 == waiting.len() {
        batch.ready_in = batch.wait_for_next_piece(&waiting[last].message, context.now);
    }
    Some(batch)
}

impl MessageBatch {
    /// The message that speaks for all.
    pub(crate) fn lead(&self) -> &IncomingUpdate {
        &self.members[self.lead].update.incoming
    }

    /// Adds what belongs to the first message; returns the place of the last one added.
    fn add_members(
        &mut self,
        context: &BatchContext<'_>,
        waiting: &[ClassifiedMessage],
        mut allow_follow_up: impl FnMut(&IncomingUpdate) -> bool,
    ) -> usize {
        let mut last = 0;
        for (n, next) in waiting.iter().enumerate().skip(1) {
            if self.settled_indices.contains(&n) {
                continue;
            }
            let before = &self.members[self.members.len() - 1].update.incoming;
            let Ok(update) = &next.update else { break };
            let relation =
                assistant_input::message_relation(before, &update.incoming, context.follow_up);
            if relation == MessageRelation::None
                || next.message.attempts != waiting[0].message.attempts
            {
                break;
            }
            let Some((update, edits)) = with_edits(context, waiting, n) else {
                break;
            };
            let first_is_asked = self.decision.is_asked();
            let joins = match relation {
                MessageRelation::None => false,
                MessageRelation::Album => true,
                MessageRelation::Paste => first_is_asked,
                MessageRelation::FollowUp => {
                    first_is_asked
                        && matches!(update.decision, Decision::AskAssistant(_))
                        && allow_follow_up(&update.incoming)
                }
            };
            if !joins {
                break;
            }
            last = n;
            self.settled_indices.push(n);
            self.settled_indices.extend(edits);
            self.members.push(BatchMember { relation, update });
        }
        last
    }

    /// An album speaks by the message that is said to the bot: the one with the caption. Denied, or held for a sign-in, each of its messages is so
    /// by itself.
    fn choose_lead(&mut self) {
        let album = self
            .members
            .iter()
            .take_while(|m| m.relation != MessageRelation::FollowUp);
        let pieces = album.count();
        if self.members[0].update.incoming.media_group_id.is_some() {
            let says = |m: &BatchMember| {
                let text = m.update.incoming.text.as_deref().unwrap_or_default();
                m.update.group == GroupDecision::Handle && !text.is_empty()
            };
            let lead = self.members[..pieces].iter().position(says).unwrap_or(0);
            if lead > 0 {
                self.lead = lead;
                self.decision = self.members[lead].update.decision.clone();
            } else if let Some(known) = self.members[..pieces].iter().find(|m| m.update.is_asked())
            {
                // Of an album without words, what can be seen is asked about; the rest of it goes along.
                self.decision = known.update.decision.clone();
            }
        }
        let is_let_in = !matches!(
            self.decision,
            Decision::Deny | Decision::DenyWithIds | Decision::HoldForSignIn
        );
        if !is_let_in {
            self.members.truncate(1);
            self.settled_indices.truncate(1);
        }
    }

    /// Whether the piece that says it to the bot may be on its way: an album in a group of which no piece has a word yet.
    fn may_be_said_to_the_bot(&self) -> bool {
        let first = &self.members[0].update;
        first.incoming.media_group_id.is_some() && first.group == GroupDecision::Ignore
    }

    /// Looks behind the turn for a command that ends it before it begins, and otherwise whether its next piece may be on its way.
    fn find_end(&mut self, context: &BatchContext<'_>, waiting: &[ClassifiedMessage], last: usize) {
        let begun = waiting[0].message.attempts > 0;
        let lead = self.members[self.lead].update.sender_id();
        let (places, behind): (Vec<usize>, Vec<&ClassifiedUpdate>) = (1..waiting.len())
            .filter(|n| !self.settled_indices.contains(n))
            .filter_map(|n| Some((n, waiting[n].update.as_ref().ok()?)))
            .filter(|(_, update)| begun || (lead.is_some() && update.sender_id() == lead))
            .unzip();
        match find_ending_command(&behind, begun) {
            Some(EndingCommand::Stop { at, stopped_with }) => {
                self.stop = Some(behind[at].incoming.clone());
                let settled = stopped_with.into_iter().chain([at]).map(|n| places[n]);
                self.settled_indices.extend(settled);
            }
            Some(EndingCommand::NewSession) => self.decision = Decision::Ignore,
            None if behind.is_empty() => {
                self.ready_in = self.wait_for_next_piece(&waiting[last].message, context.now);
            }
            None => {}
        }
    }

    /// How long the next piece of an album or a paste may still take.
    fn wait_for_next_piece(&self, last: &WaitingMessage, now: Timestamp) -> Option<Duration> {
        let incoming = &self.members[self.members.len() - 1].update.incoming;
        let album = incoming.media_group_id.is_some() && self.members.len() < MAX_ALBUM_SIZE;
        if last.attempts > 0 || !(album || assistant_input::may_be_truncated(incoming)) {
            return None;
        }
        // Of the future: the clock has stepped back, and nothing says how long ago it came.
        let age = Duration::try_from(now.duration_since(last.received_at)).ok()?;
        NEXT_PIECE_WAIT
            .checked_sub(age)
            .filter(|wait| !wait.is_zero())
    }
}

/// A message as its last waiting edit has it, and the places of its edits; `None` if it cannot be read.
fn with_edits(
    context: &BatchContext<'_>,
    waiting: &[ClassifiedMessage],
    at: usize,
) -> Option<(ClassifiedUpdate, Vec<usize>)> {
    let original = waiting[at..].first()?.update.as_ref().ok()?;
    let edits: Vec<(usize, &IncomingUpdate)> = waiting
        .iter()
        .enumerate()
        .skip(at + 1)
        .filter_map(|(n, later)| Some((n, &later.update.as_ref().ok()?.incoming)))
        .filter(|(_, later)| is_edit_of(&original.incoming, later))
        .collect();
    let latest = match edits.last() {
        None => original.clone(),
        Some((_, edit)) => {
            let edited = IncomingUpdate {
                kind: original.incoming.kind,
                update_id: original.incoming.update_id,
                ..(*edit).clone()
            };
            ClassifiedUpdate::new(context.connector, edited, context.now)
        }
    };
    Some((latest, edits.into_iter().map(|(n, _)| n).collect()))
}

fn is_edit_of(original: &IncomingUpdate, later: &IncomingUpdate) -> bool {
    later.message_id.is_some()
        && later.message_id == original.message_id
        && later.chat.id == original.chat.id
        && decision::is_user_edit(later)
        && matches!(
            original.kind,
            UpdateKind::Message | UpdateKind::EditedMessage
        )
}

#[cfg(test)]
mod tests;
