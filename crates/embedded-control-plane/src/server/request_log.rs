//! A log of what was asked: benchmarks count API writes with it, tests look at who asked what.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::request::Verb;

/// How many requests the log remembers one by one; the counts are of all.
const MAX_RECORDED_REQUESTS: usize = 10_000;

/// One request for a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRequest {
    /// What it did.
    pub verb: Verb,
    /// `secrets`, `telegramconnectors.connectors.pupau.ai`.
    pub resource: String,
    /// "" or `status`.
    pub subresource: String,
    /// "" for all, or a cluster-wide resource.
    pub namespace: String,
    /// "" for a collection.
    pub name: String,
    /// The HTTP status of the answer; 0 when the answer was lost.
    pub status: u16,
    /// The query as it came.
    pub query: String,
    /// The client's `User-Agent`.
    pub user_agent: String,
}

#[derive(Debug, Default)]
struct LogState {
    log: VecDeque<RecordedRequest>,
    counts: BTreeMap<(Verb, String, String), u64>,
}

/// The request log of one control plane. Clones see the same one.
#[derive(Debug, Clone, Default)]
pub struct RequestLog {
    state: Arc<Mutex<LogState>>,
}

impl RequestLog {
    fn with<T>(&self, operation: impl FnOnce(&mut LogState) -> T) -> T {
        operation(&mut self.state.lock())
    }

    pub(super) fn record(&self, request: RecordedRequest) {
        self.with(|state| {
            let key = (
                request.verb,
                request.resource.clone(),
                request.subresource.clone(),
            );
            *state.counts.entry(key).or_default() += 1;
            if state.log.len() == MAX_RECORDED_REQUESTS {
                state.log.pop_front();
            }
            state.log.push_back(request);
        });
    }

    /// The last 10,000 requests, oldest first.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.with(|state| state.log.iter().cloned().collect())
    }

    /// How often each (verb, resource, subresource) was asked for.
    pub fn counts(&self) -> BTreeMap<(Verb, String, String), u64> {
        self.with(|state| state.counts.clone())
    }

    /// How often a verb was asked for on a resource (its subresources included).
    pub fn count(&self, verb: Verb, resource: &str) -> u64 {
        let counts = self.counts();
        counts
            .iter()
            .filter(|((one, on, _), _)| *one == verb && on == resource)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many requests changed something or tried to.
    pub fn write_count(&self) -> u64 {
        self.counts()
            .iter()
            .filter(|((verb, _, _), _)| verb.is_write())
            .map(|(_, count)| count)
            .sum()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.with(|state| *state = LogState::default());
    }
}
