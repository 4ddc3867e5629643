//! Faults on purpose: errors, delays, lost answers, closed watches, a stale cache, an API that is down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::failure::Failure;
use super::request::Verb;
use super::store::Store;

/// Which requests a fault hits. Every part that is `None` hits all.
#[derive(Debug, Clone, Default)]
pub struct Target {
    verb: Option<Verb>,
    resource: Option<String>,
    subresource: Option<String>,
    name: Option<String>,
}

impl Target {
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

    fn hits(&self, asked: &Asked<'_>) -> bool {
        self.verb.is_none_or(|verb| verb == asked.verb)
            && self
                .resource
                .as_deref()
                .is_none_or(|resource| resource == asked.resource)
            && self
                .subresource
                .as_deref()
                .is_none_or(|part| part == asked.subresource)
            && self.name.as_deref().is_none_or(|name| name == asked.name)
    }
}

/// A request, as faults see it.
pub(super) struct Asked<'a> {
    pub verb: Verb,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub name: &'a str,
}

/// What a fault does.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Answers with this HTTP status and message, and does nothing.
    Error(u16, String),
    /// Waits before doing as asked.
    Delay(Duration),
    /// Fails as a refused connection does, and does nothing.
    Refuse,
    /// Does as asked, but the answer is lost: the client sees a broken connection.
    LoseAnswer,
}

#[derive(Debug)]
struct Rule {
    target: Target,
    effect: Effect,
    left: Option<usize>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    down: bool,
    frozen: BTreeMap<String, u64>,
}

/// The faults of one control plane. Clones act on the same one.
#[derive(Debug, Clone)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    store: Arc<Store>,
}

/// What to do with one request.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub delay: Duration,
    pub refuse: bool,
    pub lose_answer: bool,
    pub error: Option<Failure>,
}

impl Faults {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self {
            state: Arc::default(),
            store,
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on, every request that `target` hits meets `effect`.
    pub fn always(&self, target: Target, effect: Effect) {
        self.with(|state| {
            state.rules.push(Rule {
                target,
                effect,
                left: None,
            });
        });
    }

    /// The next `times` requests that `target` hits meet `effect`.
    pub fn next(&self, times: usize, target: Target, effect: Effect) {
        self.with(|state| {
            state.rules.push(Rule {
                target,
                effect,
                left: Some(times),
            });
        });
    }

    /// Takes the API server away: every request fails as a refused connection does, and open watches end.
    pub fn down(&self) {
        self.with(|state| state.down = true);
        self.store.close_watches(None);
    }

    /// Brings the API server back.
    pub fn up(&self) {
        self.with(|state| state.down = false);
    }

    /// Ends every open watch of a resource (`None`: of all), as a server that restarts does.
    pub fn close_watches(&self, resource: Option<&str>) {
        self.store.close_watches(resource);
    }

    /// Forgets the history of a resource (`None`: of all): whoever resumes a watch gets 410 Gone.
    pub fn forget_history(&self, resource: Option<&str>) {
        self.store.forget(resource);
        self.store.close_watches(resource);
    }

    /// Freezes what lists and watches of a resource show, as a cache that lags: writes go through and gets see them, but lists
    /// and watches do not until [`Faults::thaw`]. A list that asks for a newer `resourceVersion` still gets it.
    pub fn freeze(&self, resource: &str) {
        let revision = self.store.revision();
        self.with(|state| state.frozen.insert(resource.to_owned(), revision));
    }

    /// Lets lists and watches of a resource catch up.
    pub fn thaw(&self, resource: &str) {
        self.with(|state| state.frozen.remove(resource));
        self.store.wake(resource);
    }

    /// Ends all faults.
    pub fn clear(&self) {
        let frozen: Vec<String> = self.with(|state| {
            state.rules.clear();
            state.down = false;
            std::mem::take(&mut state.frozen).into_keys().collect()
        });
        frozen.iter().for_each(|resource| self.store.wake(resource));
    }

    pub(super) fn frozen(&self, resource: &str) -> Option<u64> {
        self.with(|state| state.frozen.get(resource).copied())
    }

    pub(super) fn is_down(&self) -> bool {
        self.with(|state| state.down)
    }

    pub(super) fn judge(&self, asked: &Asked<'_>) -> Verdict {
        self.with(|state| {
            let mut verdict = Verdict::default();
            for rule in &mut state.rules {
                if rule.left == Some(0) || !rule.target.hits(asked) {
                    continue;
                }
                if let Some(left) = &mut rule.left {
                    *left -= 1;
                }
                match &rule.effect {
                    Effect::Error(code, message) => {
                        verdict.error = Some(Failure::injected(*code, message.clone()));
                    }
                    Effect::Delay(time) => verdict.delay += *time,
                    Effect::Refuse => verdict.refuse = true,
                    Effect::LoseAnswer => verdict.lose_answer = true,
                }
            }
            state.rules.retain(|rule| rule.left != Some(0));
            verdict
        })
    }
}
