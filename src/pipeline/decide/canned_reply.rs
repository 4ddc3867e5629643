//! What the bot says by itself, before it has a language: decisions carry it, and `send::localize` finds the words.

use std::sync::Arc;

use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::message::incoming_update::IncomingUpdate;

/// One thing that the bot says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CannedReply {
    /// To `/start`, and to a mention without words.
    Greeting,
    /// The connector's own words to `/start`.
    CustomGreeting(Arc<str>),
    /// To `/id`.
    Ids {
        /// `None` for who has none (an anonymous admin).
        user: Option<i64>,
        /// The chat it was asked in.
        chat: i64,
    },
    /// To `/new`.
    NewSession,
    /// To `/new` where there are no sessions.
    NoSession,
    /// To `/help`.
    Help,
    /// To `/stop` that ended something.
    Stopped,
    /// To `/stop` while nothing was being answered.
    NothingToStop,
    /// The user writes too fast.
    RateLimited,
    /// A kind of content that nobody understands here.
    Unsupported,
    /// A file that says nothing.
    Unreadable(UnreadableAttachment),
    /// The assistant answered nothing.
    EmptyAnswer,
    /// The assistant took too long.
    TimedOut,
    /// The assistant cannot be reached or fails.
    AssistantUnavailable,
    /// The default denial, with the id to hand on.
    Denied {
        /// Whose message was denied.
        user: i64,
    },
    /// The connector's own denial.
    CustomDenial(Arc<str>),
}

impl CannedReply {
    /// To a `/id`.
    pub(crate) fn ids(incoming: &IncomingUpdate) -> Self {
        Self::Ids {
            user: incoming.sender.as_ref().map(|s| s.id),
            chat: incoming.chat.id,
        }
    }
}
