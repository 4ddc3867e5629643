//! How current this process's view of the cluster is: each watch notes when it shows the cluster and when it fails. A process with an old
//! view goes on serving messages, so `/readyz` names it and a metric says how old it is.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::readiness::ReadinessCheck;
use crate::bounded_text::bounded_text;

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchedResource {
    /// `telegramconnectors`.
    Connectors,
    /// `telegramuserlists`.
    UserLists,
    /// `secrets`, metadata only.
    Secrets,
}

impl WatchedResource {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connectors, Self::UserLists, Self::Secrets];

    /// The resource's name in the API: the label of metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connectors => "telegramconnectors",
            Self::UserLists => "telegramuserlists",
            Self::Secrets => "secrets",
        }
    }

    /// The check that passes when its watch has shown everything once.
    pub fn check(self) -> ReadinessCheck {
        match self {
            Self::Connectors => ReadinessCheck::ConnectorsSynced,
            Self::UserLists => ReadinessCheck::UserListsSynced,
            Self::Secrets => ReadinessCheck::SecretsSynced,
        }
    }
}

/// The longest error that `/readyz` shows, in bytes.
const MAX_ERROR_BYTES: usize = 300;

#[derive(Debug)]
struct WatchState {
    listed: bool,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Failure {
    since: Instant,
    error: String,
}

/// The state of every watch, by resource and namespace (empty: all namespaces).
#[derive(Debug, Default)]
pub struct WatchHealth(Mutex<BTreeMap<(WatchedResource, String), WatchState>>);

/// How old the view of one resource is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ViewAge {
    pub(super) resource: WatchedResource,
    /// How many of its watches show the cluster no more, or not yet.
    pub(super) failing: usize,
    /// For how long the first of them has not; zero if all do.
    pub(super) oldest: Duration,
}

impl WatchHealth {
    /// A watch begins; it shows nothing yet. `namespace` is empty for all namespaces.
    pub fn begin(&self, resource: WatchedResource, namespace: &str) {
        let failure = Failure {
            since: Instant::now(),
            error: "not listed yet".to_owned(),
        };
        let state = WatchState {
            listed: false,
            failure: Some(failure),
        };
        self.0
            .lock()
            .entry((resource, namespace.to_owned()))
            .or_insert(state);
    }

    /// Everything was listed once.
    pub(crate) fn on_listed(&self, resource: WatchedResource, namespace: &str) {
        self.change(resource, namespace, |state| state.listed = true);
    }

    /// The API server has accepted the watch: from now on it shows what changes.
    pub(crate) fn on_current(&self, resource: WatchedResource, namespace: &str) {
        self.change(resource, namespace, |state| state.failure = None);
    }

    /// The watch failed; `error` is shown by `/readyz`.
    pub(crate) fn on_error(&self, resource: WatchedResource, namespace: &str, error: &str) {
        self.fail(resource, namespace, error, Instant::now());
    }

    fn fail(&self, resource: WatchedResource, namespace: &str, error: &str, now: Instant) {
        let error = bounded_text(error.to_owned(), MAX_ERROR_BYTES);
        self.change(resource, namespace, |state| {
            let since = state.failure.take().map_or(now, |failure| failure.since);
            state.failure = Some(Failure { since, error });
        });
    }

    /// Whether this namespace was listed once, alone or with all.
    pub(crate) fn is_listed(&self, resource: WatchedResource, namespace: &str) -> bool {
        let states = self.0.lock();
        [namespace, ""].iter().any(|namespace| {
            states
                .get(&(resource, (*namespace).to_owned()))
                .is_some_and(|state| state.listed)
        })
    }

    /// Whether every namespace was listed once.
    pub(crate) fn are_listed(&self, resource: WatchedResource) -> bool {
        let states = self.0.lock();
        let mut of_resource = states.iter().filter(|((of, _), _)| *of == resource);
        of_resource.all(|(_, state)| state.listed)
    }

    /// The watches of a resource that are not current: which namespace, for how long, and why.
    pub(super) fn problems(&self, resource: WatchedResource) -> Vec<String> {
        let states = self.0.lock();
        let failing = states
            .iter()
            .filter(|((of, _), _)| *of == resource)
            .filter_map(|((_, namespace), state)| Some((namespace, state.failure.as_ref()?)));
        failing
            .map(|(namespace, failure)| {
                let namespaces = match namespace.as_str() {
                    "" => "all namespaces".to_owned(),
                    name => format!("namespace \"{name}\""),
                };
                let seconds = failure.since.elapsed().as_secs();
                format!("{namespaces} for {seconds} s: {}", failure.error)
            })
            .collect()
    }

    /// How old the view of each resource is.
    pub(super) fn ages(&self) -> Vec<ViewAge> {
        let states = self.0.lock();
        WatchedResource::ALL
            .into_iter()
            .map(|resource| {
                let failures = states
                    .iter()
                    .filter(|((of, _), _)| *of == resource)
                    .filter_map(|(_, state)| state.failure.as_ref());
                let ages: Vec<Duration> = failures.map(|f| f.since.elapsed()).collect();
                ViewAge {
                    resource,
                    failing: ages.len(),
                    oldest: ages.into_iter().max().unwrap_or_default(),
                }
            })
            .collect()
    }

    fn change(
        &self,
        resource: WatchedResource,
        namespace: &str,
        change: impl FnOnce(&mut WatchState),
    ) {
        if let Some(state) = self.0.lock().get_mut(&(resource, namespace.to_owned())) {
            change(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_ages_from_the_first_failure_until_the_watch_is_accepted() {
        let health = WatchHealth::default();
        let (resource, namespaces) = (WatchedResource::Secrets, ["a", "b"]);
        let age = || {
            let ages = health.ages();
            let age = ages.iter().find(|age| age.resource == resource);
            age.map(|age| (age.failing, age.oldest.as_secs())).unwrap()
        };
        for namespace in namespaces {
            health.begin(resource, namespace);
            health.on_listed(resource, namespace);
            health.on_current(resource, namespace);
        }
        assert_eq!(age(), (0, 0));
        let earlier = Instant::now()
            .checked_sub(Duration::from_secs(100))
            .expect("the machine runs longer");
        health.fail(resource, "a", "401 Unauthorized", earlier);
        health.on_error(resource, "a", "connection refused");
        health.on_error(resource, "b", "connection refused");
        assert_eq!(age(), (2, 100));
        assert_eq!(
            health.problems(resource),
            [
                "namespace \"a\" for 100 s: connection refused",
                "namespace \"b\" for 0 s: connection refused"
            ]
        );
        health.on_current(resource, "a");
        assert_eq!(age(), (1, 0));
    }

    #[test]
    fn watch_of_all_namespaces_lists_each() {
        let health = WatchHealth::default();
        health.begin(WatchedResource::Connectors, "");
        assert!(!health.is_listed(WatchedResource::Connectors, "acme"));
        health.on_listed(WatchedResource::Connectors, "");
        assert!(health.is_listed(WatchedResource::Connectors, "acme"));
        assert!(!health.is_listed(WatchedResource::UserLists, "acme"));
    }
}
