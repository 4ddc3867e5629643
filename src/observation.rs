//! The observation book: what `connection` and `pipeline` saw, for the controller to judge.
//!
//! Writers note facts as often as they like; the controller is woken only when a fact differs from the one noted before,
//! so that a busy bot costs the controller nothing. What a fact means is the controller's to decide.

use std::collections::HashMap;
use std::sync::Mutex;

use tokio::sync::mpsc;

use crate::identity::{BotId, ConnectorUid};

/// What the connection last saw of a bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionFact {
    /// A `getUpdates` came back complete for this bot.
    PollCompleted(BotId),
    /// 409: another `getUpdates` holds the token.
    PollingConflict,
    /// 409: a webhook is set, by its host.
    ForeignWebhook {
        /// The host of the foreign webhook's URL.
        host: String,
    },
    /// 401.
    Unauthorized,
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

/// Why an exchange with the assistant failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AssistantFault {
    /// No connection, or no answer in time.
    Unreachable,
    /// 401 or 403.
    Unauthorized,
    /// An error answer, or one that makes no sense.
    Failing,
}

impl AssistantFault {
    /// The fault in one word: a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Failing => "failing",
        }
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

/// Everything noted of one connector.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The connection's last fact, if any since the start.
    pub connection: Option<ConnectionFact>,
    /// The assistant's state.
    pub assistant: AssistantFact,
}

/// Failures in a row after which an assistant counts as failing (API.md, `AssistantReady`).
const FAILURES_BEFORE_FAILING: u32 = 3;

#[derive(Debug, Default)]
struct Entry {
    facts: Facts,
    failures_in_row: u32,
}

/// The book. One per operator.
#[derive(Debug)]
pub struct Observations {
    book: Mutex<HashMap<ConnectorUid, Entry>>,
    wake: mpsc::UnboundedSender<ConnectorUid>,
}

impl Observations {
    /// An empty book, and the channel on which the controller is told whose facts changed.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ConnectorUid>) {
        let (wake, woken) = mpsc::unbounded_channel();
        (
            Self {
                book: Mutex::default(),
                wake,
            },
            woken,
        )
    }

    /// Notes what the connection saw.
    pub fn connection(&self, uid: &ConnectorUid, fact: ConnectionFact) {
        self.note(uid, |e| {
            let changed = e.facts.connection.as_ref() != Some(&fact);
            e.facts.connection = Some(fact);
            changed
        });
    }

    /// Notes an exchange with the assistant that succeeded.
    pub fn assistant_succeeded(&self, uid: &ConnectorUid) {
        self.note(uid, |e| {
            e.failures_in_row = 0;
            let changed = e.facts.assistant != AssistantFact::Succeeding;
            e.facts.assistant = AssistantFact::Succeeding;
            changed
        });
    }

    /// Notes an exchange with the assistant that failed.
    pub fn assistant_failed(&self, uid: &ConnectorUid, fault: AssistantFault, detail: String) {
        self.note(uid, |e| {
            e.failures_in_row += 1;
            if e.failures_in_row < FAILURES_BEFORE_FAILING {
                return false;
            }
            let same = matches!(&e.facts.assistant, AssistantFact::Failing { fault: f, .. } if *f == fault);
            if !same {
                e.facts.assistant = AssistantFact::Failing { fault, detail };
            }
            !same
        });
    }

    /// What is known of a connector.
    pub fn facts(&self, uid: &ConnectorUid) -> Facts {
        self.lock()
            .get(uid)
            .map(|e| e.facts.clone())
            .unwrap_or_default()
    }

    /// Forgets the connection's fact: it starts anew.
    pub fn reset_connection(&self, uid: &ConnectorUid) {
        if let Some(e) = self.lock().get_mut(uid) {
            e.facts.connection = None;
        }
    }

    /// Forgets a connector that is gone.
    pub fn forget(&self, uid: &ConnectorUid) {
        self.lock().remove(uid);
    }

    fn note(&self, uid: &ConnectorUid, change: impl FnOnce(&mut Entry) -> bool) {
        let changed = change(self.lock().entry(uid.clone()).or_default());
        if changed {
            // The controller is gone only when the process ends.
            let _ = self.wake.send(uid.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ConnectorUid, Entry>> {
        self.book
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
