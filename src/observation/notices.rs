//! Notices: what happened, in line until the controller has told it, and how often what happens many times a minute is told.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

/// Something that happened once and that people should be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The bot has a webhook that is not ours; it is about to be removed or replaced.
    ForeignWebhook {
        /// The host of its URL.
        host: String,
    },
    /// A message was given up for good.
    DeadLetter {
        /// Why; no chat text in it.
        reason: String,
    },
    /// A group that `spec.groups.chats` names has become a supergroup with another id.
    GroupMoved {
        /// The id that is named.
        from: i64,
        /// The id that it has now.
        to: i64,
    },
    /// An approval that the assistant asked for has ended.
    ApprovalEnded {
        /// `approved`, `refused`, `expired` or `superseded`.
        result: &'static str,
    },
    /// People whom the access level does not name have written.
    Denied {
        /// How many messages, since this was told last.
        messages: u64,
    },
    /// People whom the access level does not name have asked for access.
    AccessRequested {
        /// How many requests, since this was told last.
        requests: u64,
    },
    /// Answers could not be read out.
    SpeechFailed {
        /// How many answers, since this was told last.
        messages: u64,
        /// Why the last one could not; no chat text, no key in it.
        detail: String,
    },
    /// Voice messages could not be written down.
    TranscriptionFailed {
        /// How many messages, since this was told last.
        messages: u64,
        /// Why the last one could not; no chat text, no key in it.
        detail: String,
    },
    /// The words of documents could not be extracted.
    ExtractionFailed {
        /// How many documents, since this was told last.
        messages: u64,
        /// Why the last one's could not; no chat text, no key in it.
        detail: String,
    },
}

/// A notice in line. Dropping it tells the one who noted it that it was dealt with.
#[derive(Debug)]
pub struct PendingNotice {
    /// What happened.
    pub notice: Notice,
    pub(super) _reported: Option<oneshot::Sender<()>>,
}

/// Notices kept per connector; beyond that the oldest go untold (they are logged and counted where they arise).
pub(super) const MAX_PENDING_NOTICES: usize = 16;

/// What can happen many times a minute is told at once, and then at most once in this time, with how often it happened.
const NOTICE_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Counts what is told at most once in [`NOTICE_INTERVAL`].
#[derive(Debug, Default)]
pub(super) struct NoticeCounter {
    unreported: u64,
    reported_at: Option<Timestamp>,
}

impl NoticeCounter {
    /// Counts one more; how many to tell of now, if now is the time.
    pub(super) fn count(&mut self, now: Timestamp) -> Option<u64> {
        self.unreported += 1;
        let is_recent = |at: Timestamp| now.duration_since(at) < NOTICE_INTERVAL;
        if self.reported_at.is_some_and(is_recent) {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}
