//! Which of the messages that wait in a chat are one turn: what the assistant is asked about at once, and settled together.
//!
//! A pure decision over what a claim brought, so that it is made anew after a crash and comes out the same: nothing of a turn is
//! remembered anywhere but in the inbox. The rules:
//!
//! - An edit of a message that still waits takes the message's place. An edit of one that was answered is a turn of its own.
//! - The messages of an album are one turn, and so are the pieces of a paste that Telegram's limit cut. Where the next piece may
//!   still be on its way, the turn waits for it ([`Turn::ready_in`]); nothing else ever waits.
//! - A message that follows quickly on one of the same sender joins it, if the assistant would be asked about both.
//! - What was tried before is tried again as it was: only messages with as many attempts belong together.
//! - A `/stop` of the same sender behind the turn ends it before it begins. One that had begun and waits to be tried again ends as a
//!   running answer does: by anybody's `/stop`, and by a `/new`, which is carried out next.

use std::time::Duration;

use jiff::Timestamp;

use super::content::{self, Bond};
use super::groups::{self, Place};
use super::message::{Incoming, Unreadable, UpdateKind};
use super::plan::{self, Plan};
use crate::registry::ResolvedConnector;
use crate::store::WaitingMessage;

/// The next piece of an album or a paste is waited for so long after the one before became durable. Telegram hands them out
/// together; this covers two webhook requests one after the other.
const NEXT_PIECE: Duration = Duration::from_millis(700);
/// An album has at most 10 pieces (Bot API, `sendMediaGroup`).
const ALBUM: usize = 10;

/// A message that waits, read.
#[derive(Debug)]
pub(super) struct Waiting {
    /// As the store has it.
    pub(super) message: WaitingMessage,
    /// What it says.
    pub(super) incoming: Result<Incoming, Unreadable>,
}

impl Waiting {
    pub(super) fn read(message: WaitingMessage) -> Self {
        let incoming = Incoming::parse(&message.json);
        Self { message, incoming }
    }
}

/// One message of a turn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// How it belongs to the one before it.
    pub(super) bond: Bond,
    /// What was said, by its last edit.
    pub(super) incoming: Incoming,
}

/// What is handled at once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Turn {
    /// Its messages in order; at least one.
    pub(super) members: Vec<Member>,
    /// Which of them speaks for all: who, where, to be replied to.
    pub(super) lead: usize,
    /// What is to be done.
    pub(super) plan: Plan,
    /// Indices into what waits: all that is settled with it, edits and a `/stop` included.
    pub(super) settles: Vec<usize>,
    /// The `/stop` that ends it before it begins.
    pub(super) stop: Option<Incoming>,
    /// More of it may be on its way: look again after so long.
    pub(super) ready_in: Option<Duration>,
}

impl Turn {
    /// The message that speaks for all.
    pub(super) fn lead(&self) -> &Incoming {
        &self.members[self.lead].incoming
    }
}

/// What the decision is made with besides the messages.
pub(super) struct Circumstances<'a> {
    pub(super) connector: &'a ResolvedConnector,
    pub(super) now: Timestamp,
    /// Messages of one sender whose dates are not further apart follow quickly on each other; zero: none do.
    pub(super) follow_up: Duration,
}

/// Finds the turn that the first of `waiting` belongs to; `None` if that one cannot be read, or nothing waits. `admit` is asked
/// about each follow-up, and counts it.
pub(super) fn next(
    circumstances: &Circumstances<'_>,
    waiting: &[Waiting],
    mut admit: impl FnMut(&Incoming) -> bool,
) -> Option<Turn> {
    let connector = circumstances.connector;
    let begins = waiting.first()?;
    let (first, edits) = latest(waiting, 0, begins.incoming.as_ref().ok()?);
    let mut turn = Turn {
        plan: plan::plan(connector, &first),
        members: vec![Member {
            bond: Bond::None,
            incoming: first,
        }],
        lead: 0,
        settles: [0].into_iter().chain(edits).collect(),
        stop: None,
        ready_in: None,
    };
    let mut last = 0;
    for (n, follows) in waiting.iter().enumerate().skip(1) {
        if turn.settles.contains(&n) {
            continue;
        }
        let before = &turn.members[turn.members.len() - 1].incoming;
        let Ok(incoming) = &follows.incoming else {
            break;
        };
        let bond = content::bond(before, incoming, circumstances.follow_up);
        if bond == Bond::None || follows.message.attempts != begins.message.attempts {
            break;
        }
        let (incoming, edits) = latest(waiting, n, incoming);
        let is_asked = |plan: &Plan| matches!(plan, Plan::Ask(_));
        let joins = match bond {
            Bond::None => false,
            Bond::Album => true,
            Bond::Paste => is_asked(&turn.plan),
            Bond::FollowUp => {
                is_asked(&turn.plan)
                    && is_asked(&plan::plan(connector, &incoming))
                    && admit(&incoming)
            }
        };
        if !joins {
            break;
        }
        last = n;
        turn.settles.push(n);
        turn.settles.extend(edits);
        turn.members.push(Member { bond, incoming });
    }
    turn.speak_up(connector);
    if matches!(turn.plan, Plan::Ask(_)) {
        let begun = begins.message.attempts > 0;
        let lead = turn.lead();
        let behind = |n: &usize| !turn.settles.contains(n);
        let said: Vec<(usize, &Incoming)> = (1..waiting.len())
            .filter(behind)
            .filter_map(|n| Some((n, waiting[n].incoming.as_ref().ok()?)))
            .filter(|(_, incoming)| begun || same_sender(incoming, lead))
            .collect();
        // Most of what waits is no command at all, and there can be much of it.
        let is_command = |said: &Incoming| said.text.as_deref().is_some_and(|t| t.starts_with('/'));
        let ends = |said: &Incoming| match plan::plan(connector, said) {
            Plan::Stop => true,
            Plan::NewSession(_) => begun,
            _ => false,
        };
        let command = said
            .iter()
            .position(|(_, said)| is_command(said) && ends(said));
        if let Some(at) = command {
            let (stop, command) = said[at];
            if plan::plan(connector, command) == Plan::Stop {
                // What its sender said between the turn and the `/stop` is stopped with it.
                let stopped = said[..at]
                    .iter()
                    .filter(|(_, between)| same_sender(between, command))
                    .filter(|(_, between)| matches!(plan::plan(connector, between), Plan::Ask(_)));
                let stopped: Vec<usize> = stopped.map(|(n, _)| *n).chain([stop]).collect();
                turn.stop = Some(command.clone());
                turn.settles.extend(stopped);
            } else {
                turn.plan = Plan::Ignore;
            }
        } else if said.is_empty() {
            turn.ready_in = turn.incomplete(&waiting[last].message, circumstances.now);
        }
    }
    Some(turn)
}

impl Turn {
    /// An album speaks by the message that is said to the bot: the one with the caption. Denied, each of its messages is denied and
    /// kept by itself.
    fn speak_up(&mut self, connector: &ResolvedConnector) {
        let album = self.members.iter().take_while(|m| m.bond != Bond::FollowUp);
        let pieces = album.count();
        if self.members[0].incoming.media_group_id.is_some() {
            let me = plan::me(connector);
            let says = |m: &Member| {
                let text = m.incoming.text.as_deref().unwrap_or_default();
                groups::decide(connector.groups.as_ref(), &m.incoming, me) == Place::Listen
                    && !text.is_empty()
            };
            let lead = self.members[..pieces].iter().position(says).unwrap_or(0);
            if lead > 0 {
                self.lead = lead;
                self.plan = plan::plan(connector, &self.members[lead].incoming);
            } else if let Some(known) = self.members[..pieces]
                .iter()
                .map(|m| plan::plan(connector, &m.incoming))
                .find(|plan| matches!(plan, Plan::Ask(_)))
            {
                // Of an album without words, what can be seen is asked about; the rest of it goes along.
                self.plan = known;
            }
        }
        if self.plan == Plan::Deny {
            self.members.truncate(1);
            self.settles.truncate(1);
        }
    }

    /// How long the next piece of an album or a paste may still take.
    fn incomplete(&self, last: &WaitingMessage, now: Timestamp) -> Option<Duration> {
        let incoming = &self.members[self.members.len() - 1].incoming;
        let album = incoming.media_group_id.is_some() && self.members.len() < ALBUM;
        if last.attempts > 0 || !(album || content::may_be_cut(incoming)) {
            return None;
        }
        let age = Duration::try_from(now.duration_since(last.received_at)).unwrap_or_default();
        NEXT_PIECE.checked_sub(age).filter(|wait| !wait.is_zero())
    }
}

/// A message as its last waiting edit has it, and which those edits are.
fn latest(waiting: &[Waiting], at: usize, incoming: &Incoming) -> (Incoming, Vec<usize>) {
    let mut latest = incoming.clone();
    let mut edits = Vec::new();
    for (n, later) in waiting.iter().enumerate().skip(at + 1) {
        let Ok(edit) = &later.incoming else { continue };
        if edit.message_id.is_some()
            && edit.message_id == incoming.message_id
            && edit.chat.id == incoming.chat.id
            && plan::is_edit_by_a_person(edit)
            && matches!(
                incoming.kind,
                UpdateKind::Message | UpdateKind::EditedMessage
            )
        {
            latest = Incoming {
                kind: incoming.kind,
                update_id: incoming.update_id,
                ..edit.clone()
            };
            edits.push(n);
        }
    }
    (latest, edits)
}

fn same_sender(a: &Incoming, b: &Incoming) -> bool {
    let id = |m: &Incoming| m.sender.as_ref().map(|s| s.id);
    id(a).is_some() && id(a) == id(b)
}
