//! Assistants that refuse the bot's key: their connectors' chats wait for another key without asking.
//!
//! A key can also be repaired at the assistant's, which nobody here sees: so one question of all that wait tries it now and then. All of it is
//! this process's own; after a restart, and in each replica, one more question finds out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::assistant::Assistant;
use crate::identity::ConnectorUid;

/// A question that was refused comes so long after the others that wait: should it be the question that is refused, and not the key, then
/// another one finds out.
const TRIES_OTHERS_FIRST: Duration = Duration::from_secs(5);

/// The assistants that refuse their key, by connector.
#[derive(Debug, Default)]
pub(crate) struct RefusedKeys {
    refusals: Mutex<HashMap<ConnectorUid, Refusal>>,
    /// Messages, by their number in the store, that were asked about in vain. They have been counted against their sender's limit.
    asked: Mutex<HashSet<i64>>,
}

#[derive(Debug)]
struct Refusal {
    /// Whose key it was: another key makes another assistant.
    assistant: Weak<dyn Assistant>,
    next_probe: Instant,
    /// Lanes, by their number in the store, that were told to wait.
    notified_lanes: HashSet<i64>,
}

impl Refusal {
    fn is_of(&self, assistant: &Arc<dyn Assistant>) -> bool {
        std::ptr::addr_eq(self.assistant.as_ptr(), Arc::as_ptr(assistant))
    }
}

impl RefusedKeys {
    /// How long a question has to wait; `None`: it may be asked now. Where the key was refused, that is the one question of this `interval`.
    pub(crate) fn wait_before_asking(
        &self,
        uid: &ConnectorUid,
        assistant: &Arc<dyn Assistant>,
        now: Instant,
        interval: Duration,
    ) -> Option<Duration> {
        let mut refusals = self.refusals.lock();
        let refusal = refusals.get_mut(uid)?;
        if !refusal.is_of(assistant) {
            refusals.remove(uid);
            return None;
        }
        let wait = refusal.next_probe.saturating_duration_since(now);
        if wait.is_zero() {
            refusal.next_probe = now + interval;
            return None;
        }
        Some(wait)
    }

    /// The assistant refused its key when it was asked about this message. How long that message has to wait.
    pub(crate) fn refuse(
        &self,
        uid: &ConnectorUid,
        assistant: &Arc<dyn Assistant>,
        message: i64,
        now: Instant,
        interval: Duration,
    ) -> Duration {
        self.asked.lock().insert(message);
        let mut refusals = self.refusals.lock();
        // Of connectors that are gone, or have another key by now.
        refusals.retain(|_, refusal| refusal.assistant.strong_count() > 0);
        let next_probe = now + interval;
        match refusals.get_mut(uid) {
            Some(refusal) if refusal.is_of(assistant) => refusal.next_probe = next_probe,
            _ => {
                let refusal = Refusal {
                    assistant: Arc::downgrade(assistant),
                    next_probe,
                    notified_lanes: HashSet::new(),
                };
                refusals.insert(uid.clone(), refusal);
            }
        }
        interval + TRIES_OTHERS_FIRST.min(interval)
    }

    /// The assistant accepts its key. Whether it had refused it.
    pub(crate) fn accept(&self, uid: &ConnectorUid, assistant: &Arc<dyn Assistant>) -> bool {
        let mut refusals = self.refusals.lock();
        let is_known = refusals.get(uid).is_some_and(|r| r.is_of(assistant));
        is_known && refusals.remove(uid).is_some()
    }

    /// Whether a lane was told to wait since the key was refused.
    pub(crate) fn is_told(&self, uid: &ConnectorUid, lane: i64) -> bool {
        let refusals = self.refusals.lock();
        refusals
            .get(uid)
            .is_some_and(|r| r.notified_lanes.contains(&lane))
    }

    /// A lane was told to wait.
    pub(crate) fn record_told(&self, uid: &ConnectorUid, lane: i64) {
        if let Some(refusal) = self.refusals.lock().get_mut(uid) {
            refusal.notified_lanes.insert(lane);
        }
    }

    /// Whether the assistant was asked about a message, and refused its key.
    pub(crate) fn was_asked(&self, message: i64) -> bool {
        self.asked.lock().contains(&message)
    }

    /// The message is done with.
    pub(crate) fn remove_message(&self, message: i64) {
        self.asked.lock().remove(&message);
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::assistant::{AnswerStream, AssistantError, Question};

    const INTERVAL: Duration = Duration::from_mins(5);

    #[derive(Debug)]
    struct Nobody;

    #[async_trait]
    impl Assistant for Nobody {
        async fn ask(&self, _: Question) -> Result<AnswerStream, AssistantError> {
            Ok(Box::pin(futures::stream::empty()))
        }

        fn needs_history(&self) -> bool {
            true
        }

        fn protocol(&self) -> &'static str {
            "Nobody"
        }
    }

    fn assistant() -> Arc<dyn Assistant> {
        Arc::new(Nobody)
    }

    #[test]
    fn one_question_per_interval_tries_a_refused_key() {
        let keys = RefusedKeys::default();
        let (uid, assistant) = (ConnectorUid::from("u"), assistant());
        let begin = Instant::now();
        let wait = |now| keys.wait_before_asking(&uid, &assistant, now, INTERVAL);
        assert_eq!(wait(begin), None);
        let own = keys.refuse(&uid, &assistant, 1, begin, INTERVAL);
        assert!(own > INTERVAL, "others come first");
        assert_eq!(wait(begin), Some(INTERVAL));
        let due = begin + INTERVAL;
        assert_eq!([wait(due), wait(due)], [None, Some(INTERVAL)]);
        assert!(keys.accept(&uid, &assistant));
        assert_eq!([wait(due), wait(due)], [None, None]);
        assert!(!keys.accept(&uid, &assistant));
    }

    #[test]
    fn another_key_may_be_asked_with_at_once() {
        let keys = RefusedKeys::default();
        let (uid, former, new) = (ConnectorUid::from("u"), assistant(), assistant());
        let now = Instant::now();
        keys.refuse(&uid, &former, 1, now, INTERVAL);
        assert!(!keys.accept(&uid, &new), "it says nothing about the other");
        let wait = |assistant| keys.wait_before_asking(&uid, assistant, now, INTERVAL);
        assert_eq!(wait(&former), Some(INTERVAL));
        assert_eq!(wait(&new), None);
        let other = ConnectorUid::from("v");
        assert_eq!(
            keys.wait_before_asking(&other, &former, now, INTERVAL),
            None
        );
    }

    #[test]
    fn refusal_goes_with_its_assistant() {
        let keys = RefusedKeys::default();
        let (former, other) = (assistant(), assistant());
        keys.refuse(&"u".into(), &former, 1, Instant::now(), INTERVAL);
        drop(former);
        keys.refuse(&"v".into(), &other, 2, Instant::now(), INTERVAL);
        assert_eq!(keys.refusals.lock().len(), 1);
    }

    #[test]
    fn message_stays_counted_until_it_is_done_with() {
        let keys = RefusedKeys::default();
        let (uid, former, new) = (ConnectorUid::from("u"), assistant(), assistant());
        keys.refuse(&uid, &former, 1, Instant::now(), INTERVAL);
        keys.wait_before_asking(&uid, &new, Instant::now(), INTERVAL);
        assert!(keys.was_asked(1) && !keys.was_asked(2));
        keys.remove_message(1);
        assert!(!keys.was_asked(1));
    }
}
