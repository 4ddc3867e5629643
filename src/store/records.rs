//! What the pipeline takes from the store and writes to it, as plain values: lanes, messages, replies and sessions.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::day_usage::TokenCount;
use super::listing_records::DeniedMessage;
use super::read_along::ReadAlongMessage;
use super::reply_part::ReplyPart;
use crate::history::ChatMessage;
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::store::access::{AccessVerdict, AskOutcome, NewAccessRequest};
use crate::store::sign_ins::{HeldForSignIn, HoldOutcome};
use crate::store::user_decisions::{NewUserDecision, TakenDecision};

/// A queue within which order is kept: one topic of one chat, as one connector's bot sees it. Another connector of the same bot has lanes
/// of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LaneKey {
    /// The bot.
    pub bot: BotId,
    /// Telegram's chat id; 0 where an update belongs to no chat.
    pub chat: i64,
    /// `message_thread_id`; the negative `topic_id` of a channel's direct messages; 0 outside topics.
    pub topic: i64,
}

impl LaneKey {
    /// The `message_thread_id` of what is sent here.
    pub fn thread_id(&self) -> Option<i64> {
        (self.topic > 0).then_some(self.topic)
    }

    /// The `direct_messages_topic_id` of what is sent here.
    pub fn direct_messages_topic_id(&self) -> Option<i64> {
        (self.topic < 0).then_some(self.topic.saturating_neg())
    }
}

/// What a claim asks for on behalf of one connector.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// Whose messages.
    pub connector: ConnectorRef,
    /// The bot the connector has now; messages of a bot it had before are not handed out.
    pub bot: BotId,
    /// At most so many lanes.
    pub lanes: usize,
    /// How many exchanges of the session's history to bring along; 0: none.
    pub history: u32,
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct ClaimOutcome {
    /// Lanes that are now this process's, with what waits in them.
    pub lanes: Vec<ClaimedLane>,
    /// Connectors that got fewer lanes than they wanted: nothing more of theirs is ready now.
    pub drained: Vec<ConnectorUid>,
    /// For connectors that got fewer lanes than they wanted: when the next of their lanes becomes ready, if any waits.
    pub next_ready: Vec<(ConnectorUid, Timestamp)>,
}

/// The right to work on a lane. It ends with [`LaneWrite::release`], or when the process's lease on its claims runs out;
/// then writes with it answer [`super::StoreError::ClaimLost`] and change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The store's number of the lane.
    pub lane: i64,
    /// The store's number of the claimant.
    pub owner: i64,
    /// The store's number of the lane's connector.
    pub connector: i64,
}

/// A lane with what waits in it.
#[derive(Debug)]
pub struct ClaimedLane {
    /// The right to it.
    pub claim: Claim,
    /// Which chat.
    pub key: LaneKey,
    /// Whose it is.
    pub connector: ConnectorUid,
    /// Parts of replies that still have to be delivered, in order; before any message.
    pub parts: Vec<WaitingPart>,
    /// Messages in order: by Telegram's date, then by `update_id`. Not always all that wait.
    pub messages: Vec<WaitingMessage>,
    /// The session that was last begun here and has not been ended.
    pub session: Option<Session>,
    /// How many sessions were begun here.
    pub sessions: i64,
    /// The id that its chat had before, where that was a group that became a supergroup.
    pub moved_from: Option<i64>,
    /// What the last [`Change::Handled`] said.
    pub handled: String,
    /// Whether a decision is open that was asked for here.
    pub has_open_decision: bool,
}

/// An update that waits for its turn.
#[derive(Debug, Clone, Default)]
pub struct WaitingMessage {
    /// The store's number; it numbers the message's reply too.
    pub id: i64,
    /// Telegram's `update_id`.
    pub update_id: i64,
    /// The update's JSON as it came.
    pub json: String,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// How often a process ended without notice while this message was the next of its lane: it may be what ended it.
    pub crashes: u32,
    /// When it became durable.
    pub received_at: Timestamp,
}

/// A reply that goes out only where its chat has had none of its kind for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// What it tells.
    pub kind: NoticeKind,
    /// It is not stored if the connector told the chat, or the user, the same after this time.
    pub since: Timestamp,
}

/// What a notice tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeKind {
    /// Somebody who may not write, that they may not.
    Denial,
    /// Somebody who may not write, the ids that they asked for.
    Ids,
    /// Somebody whose message waits, that the assistant refuses the bot's key.
    KeyRefused,
    /// A user, in whichever chat, that they get no more answers today; `None`: whoever is in the chat.
    DayLimit(Option<i64>),
    /// Somebody who may not write, that they are signed out.
    SignedOut,
}

impl NoticeKind {
    /// The kind as the store keeps it.
    pub(super) fn code(self) -> i64 {
        match self {
            Self::Denial => 0,
            Self::Ids => 1,
            Self::KeyRefused => 2,
            Self::DayLimit(_) => 3,
            Self::SignedOut => 8,
        }
    }

    /// Who is told, by their id; `None`: the chat is.
    pub(super) fn user(self) -> Option<i64> {
        match self {
            Self::DayLimit(user) => user,
            Self::Denial | Self::Ids | Self::KeyRefused | Self::SignedOut => None,
        }
    }
}

/// The longest that a lane is made to wait at a time. What was put off further than this was put off by a clock that has stepped back
/// since, and is due.
pub(crate) const MAX_LANE_WAIT: std::time::Duration = std::time::Duration::from_hours(1);

/// A part of a reply on its way to Telegram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPart {
    /// The message it answers.
    pub reply: i64,
    /// 0, 1, 2, … within the reply.
    pub number: u32,
    /// What to send.
    pub part: ReplyPart,
    /// How often it was tried in vain.
    pub attempts: u32,
    /// A try before ended without an answer, so that this one may be its double.
    pub ambiguous: bool,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// A session as far as a message's handling needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Counts the lane's sessions from 1.
    pub number: i64,
    /// Its id for the assistant.
    pub key: String,
    /// The date of the message that began it.
    pub began_at: Timestamp,
    /// What the assistant gave to be given back.
    pub state: Option<String>,
    /// How many exchanges it has had.
    pub exchanges: i64,
    /// What they cost.
    pub tokens: TokenCounts,
    /// The newest exchanges, oldest first, as far as the claim asked for them.
    pub history: Vec<ChatMessage>,
}

/// Tokens that the exchanges of a session took, as the assistant counts them; 0 where it does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TokenCounts {
    /// Of questions with their history and prompt. Never negative.
    #[serde(rename = "inputTokens")]
    pub input: i64,
    /// Of answers, reasoning included. Never negative.
    #[serde(rename = "outputTokens")]
    pub output: i64,
}

impl TokenCounts {
    /// With the tokens of a further exchange; a sum that is too great stays at the greatest.
    #[must_use]
    pub(crate) fn plus(self, input: u64, output: u64) -> Self {
        Self {
            input: self.input.max(0).saturating_add_unsigned(input),
            output: self.output.max(0).saturating_add_unsigned(output),
        }
    }
}

/// Changes to one lane that happen together or not at all.
#[derive(Debug, Clone)]
pub struct LaneWrite {
    /// The right to the lane.
    pub claim: Claim,
    /// What changes.
    pub changes: Vec<Change>,
    /// Gives the lane back.
    pub release: Option<Release>,
}

/// When a lane that is given back may be claimed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// At once, if something waits in it.
    Now,
    /// Not before.
    At(Timestamp),
}

/// One change to a lane.
#[derive(Debug, Clone)]
pub enum Change {
    /// The message is handled: it leaves the inbox, and only its identity stays.
    Finish {
        /// [`WaitingMessage::id`].
        message: i64,
    },
    /// The message cannot be handled: it leaves the inbox for the dead letters.
    DeadLetter {
        /// [`WaitingMessage::id`].
        message: i64,
        /// Why; no chat text.
        reason: String,
    },
    /// The message was tried in vain and stays.
    Attempted {
        /// [`WaitingMessage::id`].
        message: i64,
    },
    /// A reply to deliver.
    Reply {
        /// The message it answers.
        message: i64,
        /// Its parts in order.
        parts: Vec<ReplyPart>,
        /// Store it only if no notice of this kind was stored for the chat since.
        notice: Option<Notice>,
    },
    /// A session begins; the one before it ends.
    BeginSession {
        /// Counts the lane's sessions from 1.
        number: i64,
        /// Its id for the assistant.
        key: String,
        /// The message's date.
        began_at: Timestamp,
    },
    /// Which messages were handled and what else the pipeline remembers of the lane; it goes with the lane.
    Handled {
        /// At most 2 kB.
        handled: String,
    },
    /// The session ends and no other begins.
    EndSession,
    /// The assistant answered within a session.
    Exchange {
        /// [`Session::number`].
        session: i64,
        /// Counts the session's exchanges from 1.
        number: i64,
        /// The user's text; `None`: not kept.
        asked: Option<String>,
        /// The assistant's text; `None`: not kept.
        answered: Option<String>,
        /// Replaces the session's state.
        state: Option<String>,
        /// What the session has cost with this exchange.
        tokens: TokenCounts,
        /// The message's date.
        at: Timestamp,
        /// Exchanges before this one go: the session has become too long.
        oldest_kept: Option<i64>,
        /// The message that is answered ([`WaitingMessage::id`]): the words are its sender's, and are kept only while it is there.
        message: i64,
        /// Whoever else's words are in `asked`, by their ids.
        speakers: Vec<i64>,
    },
    /// The answer to a question cost tokens, which count for a day.
    CountTokens(Box<TokenCount>),
    /// A message that was not said to the bot is kept, beside so many others at most: the oldest go.
    ReadAlong(Box<ReadAlongMessage>, u16),
    /// What was said up to the message with this id has been read along, or is not to be.
    EndReadAlong(i64),
    /// A message was denied and is kept, unless it has gone meanwhile ([`WaitingMessage::id`]).
    Denied(i64, Box<DeniedMessage>),
    /// Telegram accepted a part.
    Sent {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// [`WaitingPart::number`].
        number: u32,
        /// Telegram's id of the message, where it is a part of an outgoing message.
        message_id: Option<i64>,
    },
    /// A part of an outgoing message is about to be tried: what is known of it until the try has ended is that it may have been sent.
    BeginSending {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// [`WaitingPart::number`].
        number: u32,
    },
    /// That try did certainly not send it.
    EndSending {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// [`WaitingPart::number`].
        number: u32,
    },
    /// What is left of an outgoing message will not be sent; [`Change::EndReply`] follows.
    FailOutgoing {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// Why; no chat text.
        reason: String,
    },
    /// A part was tried in vain and stays.
    SendAttempted {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// [`WaitingPart::number`].
        number: u32,
        /// It may have been delivered all the same.
        ambiguous: bool,
    },
    /// Telegram refuses a rich message: these texts stand in its place, under the numbers that it has.
    Replace {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// [`WaitingPart::number`].
        number: u32,
        /// In order; at least one.
        parts: Vec<ReplyPart>,
    },
    /// What is left of a reply will not be delivered.
    EndReply {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// `Some`: it becomes a dead letter, for this reason.
        dead_letter_reason: Option<String>,
    },
    /// The reply to a message asks for a decision.
    OpenDecision(Box<NewUserDecision>),
    /// A decision is taken, if it is open and the connector's; [`WriteOutcome::decision_taken`] says whether it was. What follows from it waits in
    /// the lane that asked, unless it is superseded.
    TakeDecision {
        /// [`NewUserDecision::id`].
        id: String,
        /// What was decided.
        taken: TakenDecision,
    },
    /// The assistant has been told of a decision.
    DecisionDelivered {
        /// [`NewUserDecision::id`].
        id: String,
    },
    /// Somebody who is denied asks for access; [`WriteOutcome::access_request`] says what became of it.
    AskForAccess(Box<NewAccessRequest>),
    /// A request for access is decided, if it waits and is the connector's; [`WriteOutcome::access_request_decided`] says whether it was. What follows
    /// from it waits in the lane that asked. One whose time is over expires instead.
    DecideAccessRequest {
        /// [`super::AccessRequest::id`].
        id: i64,
        /// What is decided.
        verdict: AccessVerdict,
        /// As [`super::AccessRequest::decided_by`].
        by: String,
        /// The tap that decides it ([`WaitingMessage::id`]), which the same write finishes after it. Where it has gone meanwhile, nothing is decided.
        message: i64,
        /// Telegram's id of the message whose button was tapped.
        tapped_message: Option<i64>,
    },
    /// A message waits for its sender's sign-in, if there is room; [`WriteOutcome::held`] says what became of it. It is not finished beside.
    HoldForSignIn(Box<HeldForSignIn>),
    /// A user is signed in no more, nor about to be.
    SignOut {
        /// Telegram's id of the user.
        user: i64,
    },
    /// Telegram has taken the message that shows the buttons of a decision, or of a request for access.
    DecisionShown {
        /// [`WaitingPart::reply`].
        reply: i64,
        /// Telegram's id of the message.
        message_id: i64,
    },
}

/// What became of a [`LaneWrite`].
#[allow(clippy::struct_excessive_bools, reason = "each answers another change")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteOutcome {
    /// [`Change::Reply`] stored its parts (false: a notice had gone out lately).
    pub reply_stored: bool,
    /// The lane was given back and something still waits in it.
    pub more_waits: bool,
    /// A [`Change::TakeDecision`] took a decision that was open.
    pub decision_taken: bool,
    /// What became of a [`Change::AskForAccess`]; `None` where there was none, or the message that asks has gone.
    pub access_request: Option<AskOutcome>,
    /// A [`Change::DecideAccessRequest`] decided a request that waited.
    pub access_request_decided: bool,
    /// What became of the message of a [`Change::HoldForSignIn`].
    pub held: Option<HoldOutcome>,
}

/// What waits for one connector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The connector whose messages wait.
    pub connector: ConnectorUid,
    /// `namespace/name`, if it was ever resolved.
    pub name: Option<Arc<str>>,
    /// The bot.
    pub bot: BotId,
    /// How many messages are not handled yet.
    pub messages: u64,
    /// When the oldest became durable.
    pub oldest: Option<Timestamp>,
}

/// Everything older than this goes.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    /// Identities of handled updates and messages, and when a chat was told that it is denied.
    pub identities: Timestamp,
    /// Denied messages.
    pub denied: Timestamp,
    /// Messages that were not said to the bot.
    pub read_along: Timestamp,
    /// Outgoing messages that were sent or failed.
    pub outgoing: Timestamp,
    /// Grants that ended.
    pub grants: Timestamp,
    /// Ended sessions and the exchanges of running ones; dead letters; requests for access that were decided, but for those that are muted; that a chat was met in which nothing is kept any more. A lane goes with its last session, or with what it remembers of
    /// handled messages (`identities`), whichever is later.
    pub sessions: Timestamp,
}
