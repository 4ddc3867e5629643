//! The observation book: what `connection` and `pipeline` saw, for the controller to judge.
//!
//! Writers note facts as often as they like; the controller is woken only when a fact differs from the one noted before,
//! so that a busy bot costs the controller nothing. What a fact means is the controller's to decide.
//!
//! Facts say how things *are* and replace each other. Notices say what *happened* (a foreign webhook was found, a message was
//! given up) and wait in line until the controller has told them in an event.

mod damped_fact;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::damped_fact::{Dampable, DampedFact, FAULT_HOLD};

use crate::assistant::AssistantFault;
use crate::identity::{BotId, ConnectorUid};
use crate::telegram::bot::BotProfile;

/// What `getMe` last said about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityFact {
    /// The token is accepted, and this is its bot.
    Accepted(BotProfile),
    /// 401, or 404: Telegram does not accept the token.
    Refused {
        /// For people; no token in it.
        detail: String,
    },
    /// 429.
    RateLimited {
        /// Seconds, as Telegram said.
        retry_after: u32,
    },
    /// No connection, a time-out, or 5xx.
    Unreachable {
        /// For people; no token in it.
        detail: String,
    },
}

/// What the connection last saw of a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionFact {
    /// A `getUpdates` came back complete for this bot.
    PollCompleted(BotId),
    /// The webhook is registered, and `getWebhookInfo` shows it as it must be.
    WebhookVerified(BotId),
    /// 409: another `getUpdates` holds the token.
    PollingConflict,
    /// Telegram refuses the webhook.
    WebhookRejected {
        /// Telegram's description.
        detail: String,
    },
    /// The webhook is registered, but Telegram cannot deliver to it.
    WebhookUnreachable {
        /// `last_error_message`.
        detail: String,
    },
    /// Somebody else keeps setting a webhook for this bot.
    WebhookContested {
        /// The host of the other webhook's URL.
        host: String,
    },
    /// 429.
    RateLimited {
        /// Seconds, as Telegram said.
        retry_after: u32,
    },
    /// No connection, a time-out, or 5xx.
    Unreachable {
        /// For people; no token in it.
        detail: String,
    },
}

impl Dampable for ConnectionFact {
    const RENEWS_DETAIL: bool = true;

    fn is_fault(&self) -> bool {
        !matches!(self, Self::PollCompleted(_) | Self::WebhookVerified(_))
    }

    fn alternates(&self) -> bool {
        // Each poll of the one ends a poll of the other, and the next one completes.
        matches!(self, Self::PollingConflict)
    }

    fn is_same_kind(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// What the pipeline last saw of an assistant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AssistantFact {
    /// No exchange yet.
    #[default]
    Unknown,
    /// The last exchange succeeded.
    Succeeding,
    /// Three or more exchanges in a row failed.
    Failing {
        /// Why the last one did.
        fault: AssistantFault,
        /// For people; no key, no chat text in it.
        detail: String,
    },
}

impl Dampable for AssistantFact {
    // The words may name a request, and so differ with each failure of a fault that lasts.
    const RENEWS_DETAIL: bool = false;

    fn is_fault(&self) -> bool {
        matches!(self, Self::Failing { .. })
    }

    fn alternates(&self) -> bool {
        false
    }

    fn is_same_kind(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Failing { fault, .. }, Self::Failing { fault: other, .. }) => fault == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

/// A group that `spec.groups.chats` names by an id that it no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MovedGroup {
    /// The `metadata.generation` of the connector that names it so.
    pub generation: i64,
    /// The id that is named.
    pub from: i64,
    /// The id that it has now.
    pub to: i64,
}

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
    /// People whom the access level does not name have written.
    Denied {
        /// How many messages, since this was told last.
        messages: u64,
    },
    /// Voice messages could not be written down.
    TranscriptionFailed {
        /// How many messages, since this was told last.
        messages: u64,
        /// Why the last one could not; no chat text, no key in it.
        detail: String,
    },
}

/// A notice in line. Dropping it tells the one who noted it that it was dealt with.
#[derive(Debug)]
pub struct PendingNotice {
    /// What happened.
    pub notice: Notice,
    _reported: Option<oneshot::Sender<()>>,
}

/// Notices kept per connector; beyond that the oldest go untold (they are logged and counted where they arise).
const MAX_PENDING_NOTICES: usize = 16;

/// Everything noted of one connector.
#[derive(Debug, Clone, Default)]
pub struct ObservedFacts {
    /// What `getMe` last said, if asked since the connection began.
    pub identity: Option<IdentityFact>,
    /// The connection's last fact, if any since it began.
    pub connection: Option<ConnectionFact>,
    /// The assistant's state.
    pub assistant: AssistantFact,
    /// After how long the facts say something else that was seen already, because a fault that alternates is held.
    pub changes_in: Option<Duration>,
    /// Named groups that have another id now, as far as they were heard of.
    pub moved_groups: Vec<MovedGroup>,
}

/// Failures in a row after which an assistant counts as failing (API.md, `AssistantReady`).
const FAILURE_THRESHOLD: u32 = 3;

/// What can happen many times a minute is told at once, and then at most once in this time, with how often it happened.
const NOTICE_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// Counts what is told at most once in [`NOTICE_INTERVAL`].
#[derive(Debug, Default)]
struct NoticeCounter {
    unreported: u64,
    reported_at: Option<Timestamp>,
}

impl NoticeCounter {
    /// Counts one more; how many to tell of now, if now is the time.
    fn count(&mut self, now: Timestamp) -> Option<u64> {
        self.unreported += 1;
        let is_recent = |at: Timestamp| now.duration_since(at) < NOTICE_INTERVAL;
        if self.reported_at.is_some_and(is_recent) {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[derive(Debug, Default)]
struct Entry {
    identity: Option<IdentityFact>,
    connection: DampedFact<ConnectionFact>,
    assistant: DampedFact<AssistantFact>,
    moved_groups: Vec<MovedGroup>,
    failures_in_row: u32,
    notices: Vec<PendingNotice>,
    denied: NoticeCounter,
    transcription_failures: NoticeCounter,
}

impl Entry {
    fn facts(&mut self, now: Instant, hold: Duration) -> ObservedFacts {
        let (connection, connected_in) = self.connection.shown(now, hold);
        let (assistant, succeeding_in) = self.assistant.shown(now, hold);
        ObservedFacts {
            identity: self.identity.clone(),
            connection: connection.cloned(),
            assistant: assistant.cloned().unwrap_or_default(),
            changes_in: connected_in.into_iter().chain(succeeding_in).min(),
            moved_groups: self.moved_groups.clone(),
        }
    }

    fn queue(&mut self, notice: Notice, reported: Option<oneshot::Sender<()>>) {
        if self.notices.len() == MAX_PENDING_NOTICES {
            self.notices.remove(0);
        }
        self.notices.push(PendingNotice {
            notice,
            _reported: reported,
        });
    }
}

/// The book. One per operator.
#[derive(Debug)]
pub struct Observations {
    entries: Mutex<HashMap<ConnectorUid, Entry>>,
    /// How long a fault that alternates must be absent before it counts as over.
    fault_hold: Duration,
    changed_connectors: mpsc::UnboundedSender<ConnectorUid>,
}

impl Observations {
    /// An empty book, and the channel on which the controller is told whose facts changed.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ConnectorUid>) {
        Self::with_fault_hold(FAULT_HOLD)
    }

    /// As [`Self::new`]; a fault that alternates is shown until it was absent for `fault_hold`, at most three minutes.
    pub fn with_fault_hold(fault_hold: Duration) -> (Self, mpsc::UnboundedReceiver<ConnectorUid>) {
        let (changed_connectors, receiver) = mpsc::unbounded_channel();
        (
            Self {
                entries: Mutex::default(),
                fault_hold: fault_hold.min(FAULT_HOLD),
                changed_connectors,
            },
            receiver,
        )
    }

    /// Notes what `getMe` said.
    pub fn record_identity(&self, uid: &ConnectorUid, fact: IdentityFact) {
        self.record(uid, |e| {
            let changed = e.identity.as_ref() != Some(&fact);
            e.identity = Some(fact);
            changed
        });
    }

    /// Notes what the connection saw.
    pub fn record_connection(&self, uid: &ConnectorUid, fact: ConnectionFact) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| e.connection.record(fact, now, hold));
    }

    /// Notes an exchange with the assistant that succeeded.
    pub fn record_assistant_success(&self, uid: &ConnectorUid) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| {
            e.failures_in_row = 0;
            e.assistant.record(AssistantFact::Succeeding, now, hold)
        });
    }

    /// Notes an exchange with the assistant that failed.
    pub fn record_assistant_failure(
        &self,
        uid: &ConnectorUid,
        fault: AssistantFault,
        detail: String,
    ) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| {
            e.failures_in_row = e.failures_in_row.saturating_add(1);
            if e.failures_in_row < FAILURE_THRESHOLD {
                return false;
            }
            let fact = AssistantFact::Failing { fault, detail };
            e.assistant.record(fact, now, hold)
        });
    }

    /// Notes that a named group has another id. What was noted of an older generation goes.
    pub fn record_moved_group(&self, uid: &ConnectorUid, moved: MovedGroup) {
        self.record(uid, |e| {
            let known = &mut e.moved_groups;
            if known.contains(&moved) {
                return false;
            }
            known.retain(|group| group.generation == moved.generation);
            known.push(moved);
            true
        });
    }

    /// Puts a notice in line. What comes back resolves (to anything) when the controller has told it, or when nobody will.
    pub fn queue_notice(&self, uid: &ConnectorUid, notice: Notice) -> oneshot::Receiver<()> {
        let (reported, waits) = oneshot::channel();
        self.record(uid, |e| {
            e.queue(notice, Some(reported));
            true
        });
        waits
    }

    /// Notes that a message was denied. However many are, people are told at once and then at most once an hour.
    pub fn record_denied_message(&self, uid: &ConnectorUid, now: Timestamp) {
        self.record(uid, |e| {
            let messages = e.denied.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::Denied { messages }, None);
            }
            messages.is_some()
        });
    }

    /// Notes that a voice message could not be written down; told as [`Self::record_denied_message`].
    pub fn record_transcription_failure(&self, uid: &ConnectorUid, detail: String, now: Timestamp) {
        self.record(uid, |e| {
            let messages = e.transcription_failures.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::TranscriptionFailed { messages, detail }, None);
            }
            messages.is_some()
        });
    }

    /// Takes the notices of a connector; for the controller alone.
    pub fn take_notices(&self, uid: &ConnectorUid) -> Vec<PendingNotice> {
        self.lock()
            .get_mut(uid)
            .map(|e| std::mem::take(&mut e.notices))
            .unwrap_or_default()
    }

    /// What is known of a connector.
    pub fn facts(&self, uid: &ConnectorUid) -> ObservedFacts {
        self.lock()
            .get_mut(uid)
            .map(|e| e.facts(Instant::now(), self.fault_hold))
            .unwrap_or_default()
    }

    /// Forgets what was seen of the connection: it starts anew.
    pub fn reset_connection(&self, uid: &ConnectorUid) {
        if let Some(e) = self.lock().get_mut(uid) {
            e.identity = None;
            e.connection = DampedFact::default();
        }
    }

    /// Forgets what was seen of the assistant: it is another one now.
    pub fn reset_assistant(&self, uid: &ConnectorUid) {
        if let Some(e) = self.lock().get_mut(uid) {
            e.assistant = DampedFact::default();
            e.failures_in_row = 0;
        }
    }

    /// Forgets a connector that is gone.
    pub fn remove(&self, uid: &ConnectorUid) {
        self.lock().remove(uid);
    }

    fn record(&self, uid: &ConnectorUid, change: impl FnOnce(&mut Entry) -> bool) {
        let mut entries = self.lock();
        let changed = match entries.get_mut(uid) {
            Some(entry) => change(entry),
            None => change(entries.entry(uid.clone()).or_default()),
        };
        drop(entries);
        if changed {
            // The controller is gone only when the process ends.
            let _ = self.changed_connectors.send(uid.clone());
        }
    }

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<ConnectorUid, Entry>> {
        self.entries.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_notifications(receiver: &mut mpsc::UnboundedReceiver<ConnectorUid>) -> usize {
        std::iter::from_fn(|| receiver.try_recv().ok()).count()
    }

    #[test]
    fn repeated_fact_notifies_controller_once() {
        let (observations, mut notifications) = Observations::new();
        let uid = ConnectorUid::from("u");
        for _ in 0..1000 {
            observations.record_connection(&uid, ConnectionFact::PollCompleted(BotId(7)));
        }
        assert_eq!(count_notifications(&mut notifications), 1);
        observations.record_connection(&uid, ConnectionFact::PollingConflict);
        observations.record_connection(&uid, ConnectionFact::PollCompleted(BotId(7)));
        assert_eq!(count_notifications(&mut notifications), 2);
    }

    #[test]
    fn assistant_fails_after_three_failures_and_recovers() {
        let (observations, mut notifications) = Observations::new();
        let uid = ConnectorUid::from("u");
        let fail =
            || observations.record_assistant_failure(&uid, AssistantFault::Failing, "500".into());
        fail();
        fail();
        observations.record_assistant_success(&uid);
        fail();
        fail();
        assert_eq!(
            observations.facts(&uid).assistant,
            AssistantFact::Succeeding
        );
        fail();
        assert!(matches!(
            observations.facts(&uid).assistant,
            AssistantFact::Failing { .. }
        ));
        assert_eq!(count_notifications(&mut notifications), 2);
        observations.record_assistant_success(&uid);
        assert_eq!(
            observations.facts(&uid).assistant,
            AssistantFact::Succeeding
        );
    }

    #[test]
    fn denials_are_reported_at_once_then_hourly_with_count() {
        let (observations, mut notifications) = Observations::new();
        let uid = ConnectorUid::from("u");
        let begin: Timestamp = "2026-05-08T12:00:00Z".parse().unwrap();
        for minute in 0..=61 {
            observations.record_denied_message(&uid, begin + SignedDuration::from_mins(minute));
        }
        assert_eq!(
            count_notifications(&mut notifications),
            2,
            "the controller sleeps in between"
        );
        let reported: Vec<_> = observations
            .take_notices(&uid)
            .into_iter()
            .map(|p| p.notice)
            .collect();
        assert_eq!(
            reported,
            [
                Notice::Denied { messages: 1 },
                Notice::Denied { messages: 60 }
            ]
        );
    }

    #[tokio::test]
    async fn notice_resolves_once_taken_and_reported() {
        let (observations, mut notifications) = Observations::new();
        let uid = ConnectorUid::from("u");
        let mut reported = observations.queue_notice(
            &uid,
            Notice::ForeignWebhook {
                host: "other.example".into(),
            },
        );
        assert_eq!(count_notifications(&mut notifications), 1);
        assert!(
            reported
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Empty)
        );
        let taken = observations.take_notices(&uid);
        assert_eq!(taken.len(), 1);
        drop(taken);
        let _ = reported.await;
        assert!(observations.take_notices(&uid).is_empty());
    }
}
