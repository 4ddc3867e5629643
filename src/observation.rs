//! The observation book: what `connection` and `pipeline` saw, for the controller to judge.
//!
//! Writers note facts as often as they like; the controller is notified only when a fact differs from the one noted before,
//! so that a busy bot costs the controller nothing. What a fact means is the controller's to decide.
//!
//! Facts say how things *are* and replace each other. Notices say what *happened* (a foreign webhook was found, a message was
//! given up) and wait in line until the controller has told them in an event.

mod damped_fact;
mod facts;
mod notices;

use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use self::damped_fact::{DampedFact, FAULT_HOLD};
use self::notices::{MAX_PENDING_NOTICES, NoticeCounter};

use crate::assistant::AssistantFault;
use crate::identity::ConnectorUid;

pub use self::facts::{
    AssistantFact, ConnectionFact, DayLimitFact, IdentityFact, MovedGroup, ObservedFacts, UsageFact,
};
pub use self::notices::{Notice, PendingNotice};

/// Failures in a row after which an assistant counts as failing (API.md, `AssistantReady`).
const FAILURE_THRESHOLD: u32 = 3;

#[derive(Debug, Default)]
struct Entry {
    identity: Option<IdentityFact>,
    connection: DampedFact<ConnectionFact>,
    assistant: DampedFact<AssistantFact>,
    moved_groups: Vec<MovedGroup>,
    day_limits: Option<DayLimitFact>,
    usage: Option<UsageFact>,
    failures_in_row: u32,
    notices: Vec<PendingNotice>,
    denied: NoticeCounter,
    access_requests: NoticeCounter,
    transcription_failures: NoticeCounter,
    extraction_failures: NoticeCounter,
    speech_failures: NoticeCounter,
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
            day_limits: self.day_limits.clone(),
            usage: self.usage,
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
    /// Boxed: a table keeps room for nearly twice as many entries as it has.
    entries: Mutex<HashMap<ConnectorUid, Box<Entry>>>,
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
    pub(crate) fn with_fault_hold(
        fault_hold: Duration,
    ) -> (Self, mpsc::UnboundedReceiver<ConnectorUid>) {
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
    pub(crate) fn record_identity(&self, uid: &ConnectorUid, fact: IdentityFact) {
        self.record(uid, |e| {
            let changed = e.identity.as_ref() != Some(&fact);
            e.identity = Some(fact);
            changed
        });
    }

    /// Notes what the connection saw.
    pub(crate) fn record_connection(&self, uid: &ConnectorUid, fact: ConnectionFact) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| e.connection.record(fact, now, hold));
    }

    /// Notes an exchange with the assistant that succeeded.
    pub(crate) fn record_assistant_success(&self, uid: &ConnectorUid) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| {
            e.failures_in_row = 0;
            e.assistant.record(AssistantFact::Succeeding, now, hold)
        });
    }

    /// Notes an exchange with the assistant that failed.
    pub(crate) fn record_assistant_failure(
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

    /// Notes that the assistant refused its key. Once is enough: nothing but another key helps, and nobody asks again.
    pub(crate) fn record_key_refused(&self, uid: &ConnectorUid, detail: String) {
        let (now, hold) = (Instant::now(), self.fault_hold);
        self.record(uid, |e| {
            e.failures_in_row = e.failures_in_row.max(FAILURE_THRESHOLD);
            let fact = AssistantFact::KeyRefused { detail };
            e.assistant.record(fact, now, hold)
        });
    }

    /// Notes that a named group has another id. What was noted of an older generation goes.
    pub(crate) fn record_moved_group(&self, uid: &ConnectorUid, moved: MovedGroup) {
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

    /// Notes limits of a day that let a question not be asked. Told once a day, however many questions there are.
    pub(crate) fn record_day_limit(&self, uid: &ConnectorUid, fact: DayLimitFact) {
        self.record(uid, |e| match &mut e.day_limits {
            Some(known) => known.merge(fact),
            none => {
                *none = Some(fact);
                true
            }
        });
    }

    /// Notes whether an answer said what it cost. An assistant that has said so once reports it.
    pub(crate) fn record_usage(&self, uid: &ConnectorUid, fact: UsageFact) {
        self.record(uid, |e| {
            let is_new = e.usage.is_none_or(|known| {
                known.generation < fact.generation
                    || (known.generation == fact.generation
                        && fact.is_reported
                        && !known.is_reported)
            });
            if is_new {
                e.usage = Some(fact);
            }
            is_new
        });
    }

    /// Puts a notice in line. What comes back resolves (to anything) when the controller has told it, or when nobody will.
    pub(crate) fn queue_notice(&self, uid: &ConnectorUid, notice: Notice) -> oneshot::Receiver<()> {
        let (reported, waits) = oneshot::channel();
        self.record(uid, |e| {
            e.queue(notice, Some(reported));
            true
        });
        waits
    }

    /// Notes that a message was denied. However many are, people are told at once and then at most once an hour.
    pub(crate) fn record_denied_message(&self, uid: &ConnectorUid, now: Timestamp) {
        self.record(uid, |e| {
            let messages = e.denied.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::Denied { messages }, None);
            }
            messages.is_some()
        });
    }

    /// Notes that somebody asked for access; told as [`Self::record_denied_message`].
    pub(crate) fn record_access_request(&self, uid: &ConnectorUid, now: Timestamp) {
        self.record(uid, |e| {
            let requests = e.access_requests.count(now);
            if let Some(requests) = requests {
                e.queue(Notice::AccessRequested { requests }, None);
            }
            requests.is_some()
        });
    }

    /// Notes that a voice message could not be written down; told as [`Self::record_denied_message`].
    pub(crate) fn record_transcription_failure(
        &self,
        uid: &ConnectorUid,
        detail: String,
        now: Timestamp,
    ) {
        self.record(uid, |e| {
            let messages = e.transcription_failures.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::TranscriptionFailed { messages, detail }, None);
            }
            messages.is_some()
        });
    }

    /// Notes that the words of a document could not be extracted; told as [`Self::record_denied_message`].
    pub(crate) fn record_extraction_failure(
        &self,
        uid: &ConnectorUid,
        detail: String,
        now: Timestamp,
    ) {
        self.record(uid, |e| {
            let messages = e.extraction_failures.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::ExtractionFailed { messages, detail }, None);
            }
            messages.is_some()
        });
    }

    /// Notes that an answer could not be read out; told as [`Self::record_denied_message`].
    pub(crate) fn record_speech_failure(&self, uid: &ConnectorUid, detail: String, now: Timestamp) {
        self.record(uid, |e| {
            let messages = e.speech_failures.count(now);
            if let Some(messages) = messages {
                e.queue(Notice::SpeechFailed { messages, detail }, None);
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
    pub(crate) fn reset_connection(&self, uid: &ConnectorUid) {
        if let Some(e) = self.lock().get_mut(uid) {
            e.identity = None;
            e.connection = DampedFact::default();
        }
    }

    /// Forgets what was seen of the assistant: it is another one now.
    pub(crate) fn reset_assistant(&self, uid: &ConnectorUid) {
        if let Some(e) = self.lock().get_mut(uid) {
            e.assistant = DampedFact::default();
            e.usage = None;
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

    fn lock(&self) -> parking_lot::MutexGuard<'_, HashMap<ConnectorUid, Box<Entry>>> {
        self.entries.lock()
    }
}

#[cfg(test)]
mod tests;
