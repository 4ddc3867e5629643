//! Faults on purpose: errors, delays, lost answers, closed watches, a stale cache, an API that is down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::access_review::{Access, AccessDenial};
use super::object_store::ObjectStore;
use super::request::Verb;
use super::status_error::StatusError;

/// Which requests a fault hits. Every part that is `None` hits all.
#[derive(Debug, Clone, Default)]
pub struct FaultTarget {
    verb: Option<Verb>,
    resource: Option<String>,
    subresource: Option<String>,
    name: Option<String>,
}

impl FaultTarget {
    /// Every request for a resource.
    pub fn any() -> Self {
        Self::default()
    }

    /// Only this verb.
    #[must_use]
    pub fn verb(mut self, verb: Verb) -> Self {
        self.verb = Some(verb);
        self
    }

    /// Only this resource, with its group: `secrets`, `telegramconnectors.connectors.pupau.ai`.
    #[must_use]
    pub fn resource(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only this part of objects: `status`, or "" for the object itself.
    #[must_use]
    pub fn subresource(mut self, subresource: impl Into<String>) -> Self {
        self.subresource = Some(subresource.into());
        self
    }

    /// Only objects of this name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    fn matches(&self, attributes: &RequestAttributes<'_>) -> bool {
        self.verb.is_none_or(|verb| verb == attributes.verb)
            && self
                .resource
                .as_deref()
                .is_none_or(|resource| resource == attributes.resource)
            && self
                .subresource
                .as_deref()
                .is_none_or(|part| part == attributes.subresource)
            && self
                .name
                .as_deref()
                .is_none_or(|name| name == attributes.name)
    }
}

/// A request, as faults see it.
pub(super) struct RequestAttributes<'a> {
    pub verb: Verb,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
}

/// What a fault does.
#[derive(Debug, Clone)]
pub enum FaultEffect {
    /// Answers with this HTTP status and message, and does nothing.
    Error(u16, String),
    /// Waits before doing as asked.
    Delay(Duration),
    /// Fails as a refused connection does, and does nothing.
    RefuseConnection,
    /// Does as asked, but the answer is lost: the client sees a broken connection.
    DropResponse,
}

#[derive(Debug)]
struct FaultRule {
    target: FaultTarget,
    effect: FaultEffect,
    remaining: Option<usize>,
}

#[derive(Debug, Default)]
struct FaultState {
    rules: Vec<FaultRule>,
    denials: Vec<AccessDenial>,
    is_down: bool,
    frozen: BTreeMap<String, u64>,
}

/// The faults of one control plane. Clones act on the same one.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<FaultState>>,
    store: Arc<ObjectStore>,
}

/// What to do with one request.
#[derive(Debug, Default)]
pub(super) struct FaultOutcome {
    pub delay: Duration,
    pub refuse_connection: bool,
    pub drop_response: bool,
    pub error: Option<StatusError>,
}

impl Faults {
    pub(super) fn new(store: Arc<ObjectStore>) -> Self {
        Self {
            state: Arc::default(),
            store,
        }
    }

    fn with<T>(&self, operation: impl FnOnce(&mut FaultState) -> T) -> T {
        operation(&mut self.state.lock())
    }

    /// From now on, every request that `target` hits meets `effect`.
    pub fn inject(&self, target: FaultTarget, effect: FaultEffect) {
        self.with(|state| {
            state.rules.push(FaultRule {
                target,
                effect,
                remaining: None,
            });
        });
    }

    /// The next `times` requests that `target` hits meet `effect`.
    pub fn inject_times(&self, times: usize, target: FaultTarget, effect: FaultEffect) {
        self.with(|state| {
            state.rules.push(FaultRule {
                target,
                effect,
                remaining: Some(times),
            });
        });
    }

    /// From now on, reviews say that this is not allowed; what is denied to whoever calls is refused with 403 too.
    pub fn deny(&self, denial: AccessDenial) {
        self.with(|state| state.denials.push(denial));
    }

    /// Takes the API server away: every request fails as a refused connection does, and open watches end.
    pub fn take_down(&self) {
        self.with(|state| state.is_down = true);
        self.store.close_watches(None);
    }

    /// Brings the API server back.
    pub fn bring_up(&self) {
        self.with(|state| state.is_down = false);
    }

    /// Ends every open watch of a resource (`None`: of all), as a server that restarts does.
    pub fn close_watches(&self, resource: Option<&str>) {
        self.store.close_watches(resource);
    }

    /// Forgets the history of a resource (`None`: of all): whoever resumes a watch gets 410 Gone.
    pub fn compact_history(&self, resource: Option<&str>) {
        self.store.compact(resource);
        self.store.close_watches(resource);
    }

    /// Freezes what lists and watches of a resource show, as a cache that lags: writes go through and gets see them, but lists
    /// and watches do not until [`Faults::unfreeze_cache`]. A list that asks for a newer `resourceVersion` still gets it.
    pub fn freeze_cache(&self, resource: &str) {
        let revision = self.store.revision();
        self.with(|state| state.frozen.insert(resource.to_owned(), revision));
    }

    /// Lets lists and watches of a resource catch up.
    pub fn unfreeze_cache(&self, resource: &str) {
        self.with(|state| state.frozen.remove(resource));
        self.store.notify_watches(resource);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        let frozen: Vec<String> = self.with(|state| {
            state.rules.clear();
            state.denials.clear();
            state.is_down = false;
            std::mem::take(&mut state.frozen).into_keys().collect()
        });
        frozen
            .iter()
            .for_each(|resource| self.store.notify_watches(resource));
    }

    pub(super) fn frozen(&self, resource: &str) -> Option<u64> {
        self.with(|state| state.frozen.get(resource).copied())
    }

    /// Whether a denial forbids this to a user; `None`: to whoever calls.
    pub(super) fn is_denied(&self, user: Option<&str>, access: &Access<'_>) -> bool {
        self.with(|state| {
            let mut denials = state.denials.iter();
            denials.any(|denial| denial.forbids(user, access))
        })
    }

    pub(super) fn is_down(&self) -> bool {
        self.with(|state| state.is_down)
    }

    pub(super) fn evaluate(&self, attributes: &RequestAttributes<'_>) -> FaultOutcome {
        self.with(|state| {
            let mut outcome = FaultOutcome::default();
            for rule in &mut state.rules {
                if rule.remaining == Some(0) || !rule.target.matches(attributes) {
                    continue;
                }
                if let Some(remaining) = &mut rule.remaining {
                    *remaining -= 1;
                }
                match &rule.effect {
                    FaultEffect::Error(code, message) => {
                        outcome.error = Some(StatusError::injected(*code, message.clone()));
                    }
                    FaultEffect::Delay(time) => outcome.delay += *time,
                    FaultEffect::RefuseConnection => outcome.refuse_connection = true,
                    FaultEffect::DropResponse => outcome.drop_response = true,
                }
            }
            state.rules.retain(|rule| rule.remaining != Some(0));
            outcome
        })
    }
}
