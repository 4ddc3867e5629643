//! What the bot says by itself, before it has a language: decisions carry it, and `send::localize` finds the words.

use std::sync::Arc;
use std::time::Duration;

use crate::assistant::{AssistantError, FailureKind, QuestionProgress};
use crate::pipeline::decide::attachment_check::UnreadableAttachment;
use crate::pipeline::message::incoming_update::IncomingUpdate;

/// What an assistant may ask to wait before "in a few minutes" is no longer true.
const A_FEW_MINUTES: Duration = Duration::from_mins(5);

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
    /// Nothing more may be asked today.
    DayLimitReached {
        /// Not by this user, but by anybody.
        of_all: bool,
        /// When it goes on, for people.
        until: String,
    },
    /// A kind of content that nobody understands here.
    Unsupported,
    /// A file that says nothing.
    Unreadable(UnreadableAttachment),
    /// The assistant answered nothing.
    EmptyAnswer,
    /// The assistant failed, and the message was given up.
    AssistantFailed(FailureKind),
    /// The assistant was lost after it had begun to work: what was asked for may have been done.
    AssistantLost,
    /// The assistant says that it takes no requests for a while, and the message was given up.
    AssistantBusyForLong,
    /// The assistant keeps the history itself, and it has become too long.
    ConversationTooLong,
    /// The assistant refuses the bot's key, and the message waits.
    KeyRefused,
    /// To `/logout`.
    SignedOut,
    /// A decision that others are asked for.
    NotAsked,
    /// A decision that is no longer open.
    DecisionClosed,
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

    /// To a message that was given up. `assistant_keeps_history`: the question went on with a conversation that the assistant keeps itself.
    pub(crate) fn to_failure(error: &AssistantError, assistant_keeps_history: bool) -> Self {
        let begun = error.progress == QuestionProgress::Begun;
        match error.kind {
            FailureKind::ContextFull if assistant_keeps_history => Self::ConversationTooLong,
            FailureKind::Unreachable | FailureKind::Overloaded | FailureKind::ServerFault
                if begun =>
            {
                Self::AssistantLost
            }
            FailureKind::Overloaded | FailureKind::ServerFault
                if error.retry_after.is_some_and(|wait| wait > A_FEW_MINUTES) =>
            {
                Self::AssistantBusyForLong
            }
            kind => Self::AssistantFailed(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::assistant::FailureKind::{
        ContextFull, Filtered, Overloaded, ServerFault, TimedOut, Unreachable,
    };
    use crate::assistant::QuestionProgress::{Begun, NotTaken, Uncertain};

    #[rstest]
    #[case(
        Unreachable,
        NotTaken,
        false,
        CannedReply::AssistantFailed(Unreachable)
    )]
    #[case(
        Unreachable,
        Uncertain,
        false,
        CannedReply::AssistantFailed(Unreachable)
    )]
    #[case(Unreachable, Begun, false, CannedReply::AssistantLost)]
    #[case(ServerFault, Begun, true, CannedReply::AssistantLost)]
    #[case(TimedOut, Begun, true, CannedReply::AssistantFailed(TimedOut))]
    #[case(Filtered, Begun, false, CannedReply::AssistantFailed(Filtered))]
    #[case(
        ContextFull,
        NotTaken,
        false,
        CannedReply::AssistantFailed(ContextFull)
    )]
    #[case(ContextFull, NotTaken, true, CannedReply::ConversationTooLong)]
    fn failure_and_progress_decide_what_the_user_is_told(
        #[case] kind: FailureKind,
        #[case] progress: QuestionProgress,
        #[case] assistant_keeps_history: bool,
        #[case] reply: CannedReply,
    ) {
        let error = AssistantError {
            kind,
            progress,
            retry_after: None,
            detail: String::new(),
        };
        let canned_reply = CannedReply::to_failure(&error, assistant_keeps_history);
        assert_eq!(canned_reply, reply);
    }

    #[rstest]
    #[case::soon(ServerFault, 60, CannedReply::AssistantFailed(ServerFault))]
    #[case::late(ServerFault, 3_600, CannedReply::AssistantBusyForLong)]
    #[case::too_many_requests(Overloaded, 600, CannedReply::AssistantBusyForLong)]
    fn long_wait_that_is_asked_for_is_told(
        #[case] kind: FailureKind,
        #[case] retry_after: u64,
        #[case] reply: CannedReply,
    ) {
        let error = AssistantError {
            kind,
            progress: NotTaken,
            retry_after: Some(Duration::from_secs(retry_after)),
            detail: String::new(),
        };
        assert_eq!(CannedReply::to_failure(&error, false), reply);
    }
}
