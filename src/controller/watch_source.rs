//! The watch of one namespace, or of all: kube's watcher with a back-off of its own. Revoked access must not outlast an outage of the API
//! server, so it is asked again within [`WATCH_BACKOFF`], and lists at once when the server has forgotten where the watch was (410).

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::telemetry::{Readiness, WatchedResource};

/// Each wait is between half of its step and the whole of it; with the list that follows, the view is current 5 s after the server is back.
pub(super) const WATCH_BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
/// A second 410 within this time waits as any other error.
const RELIST_INTERVAL: Duration = Duration::from_secs(5);
/// How long the API server may take to begin an answer: one that never comes must not hold the watch.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(15);
const PAGE_SIZE: u32 = 250;

/// What a source shows.
pub(super) enum SourceEvent<K> {
    /// An event of its watch.
    Watched(Event<K>),
    /// The watch failed and is tried again.
    Failed,
}

pub(super) struct WatchSource<K: Resource> {
    api: Api<K>,
    resource: WatchedResource,
    /// Empty: all namespaces.
    namespace: String,
    readiness: Arc<Readiness>,
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    backoff: Backoff,
    /// How long to wait before the next attempt.
    wait: Duration,
    relisted_at: Option<Instant>,
}

impl<K> WatchSource<K>
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    /// A watch that has not begun. `namespace` is empty for all namespaces.
    pub(super) fn new(
        client: &Client,
        resource: WatchedResource,
        namespace: &str,
        readiness: Arc<Readiness>,
    ) -> Self {
        readiness.watches().begin(resource, namespace);
        let client = observed_client(client, resource, namespace, readiness.clone());
        let api = match namespace {
            "" => Api::all(client),
            name => Api::namespaced(client, name),
        };
        Self {
            events: events_of(&api),
            api,
            resource,
            namespace: namespace.to_owned(),
            readiness,
            backoff: WATCH_BACKOFF,
            wait: Duration::ZERO,
            relisted_at: None,
        }
    }

    /// Its events, for ever.
    pub(super) fn into_stream(self) -> impl Stream<Item = SourceEvent<K>> + Send {
        stream::unfold(self, |mut source| async move {
            let event = source.next().await?;
            Some((event, source))
        })
    }

    async fn next(&mut self) -> Option<SourceEvent<K>> {
        loop {
            tokio::time::sleep(std::mem::take(&mut self.wait)).await;
            let error = match self.events.next().await? {
                Ok(event) => {
                    self.on_event(&event);
                    return Some(SourceEvent::Watched(event));
                }
                Err(error) => error,
            };
            if is_gone(&error) {
                // The watcher would ask for the same version again where the answer itself was 410.
                self.events = events_of(&self.api);
                let recently = self
                    .relisted_at
                    .is_some_and(|at| at.elapsed() < RELIST_INTERVAL);
                self.relisted_at = Some(Instant::now());
                if !recently {
                    tracing::info!(
                        resource = self.resource.label(),
                        namespace = self.namespace,
                        "the watch is too far behind; listing again"
                    );
                    continue;
                }
            }
            self.on_error(&error);
            return Some(SourceEvent::Failed);
        }
    }

    fn on_event(&mut self, event: &Event<K>) {
        if !matches!(event, Event::Init) {
            self.backoff.reset();
        }
        if matches!(event, Event::InitDone) {
            self.readiness
                .watches()
                .on_listed(self.resource, &self.namespace);
        }
    }

    fn on_error(&mut self, error: &watcher::Error) {
        self.wait = self.backoff.next_delay();
        tracing::warn!(resource = self.resource.label(), namespace = self.namespace, %error, retry_in = ?self.wait, "watch failed; retrying");
        let text = error.to_string();
        self.readiness
            .watches()
            .on_error(self.resource, &self.namespace, &text);
        // Once synced, a broken watch heals by itself and the process goes on serving.
        if !self.readiness.is_passing(self.resource.check()) {
            self.readiness.fail(self.resource.check(), text);
        }
    }
}

pub(super) fn events_of<K>(api: &Api<K>) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api.clone(), watcher::Config::default().page_size(PAGE_SIZE)).boxed()
}

/// Whether the server no longer knows the version from which to go on.
pub(super) fn is_gone(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchError(status) => status.code == 410,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status.code == 410,
        _ => false,
    }
}

/// The client, with a time limit for the head of each answer, and telling when a watch is accepted: the watcher does not say so before
/// something changes.
fn observed_client(
    client: &Client,
    resource: WatchedResource,
    namespace: &str,
    readiness: Arc<Readiness>,
) -> Client {
    let namespace: Arc<str> = namespace.into();
    bounded_client(client, move || {
        readiness.watches().on_current(resource, &namespace);
    })
}

/// The client, with a time limit for the head of each answer. `on_watching` is called when a watch is accepted.
pub(super) fn bounded_client(
    client: &Client,
    on_watching: impl Fn() + Clone + Send + Sync + 'static,
) -> Client {
    let inner = client.clone();
    let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
        let (client, on_watching) = (inner.clone(), on_watching.clone());
        async move {
            let is_watch = request
                .uri()
                .query()
                .is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
            let sending = client.send(request);
            let response = tokio::time::timeout(RESPONSE_TIMEOUT, sending)
                .await
                .map_err(|elapsed| kube::Error::Service(elapsed.into()))??;
            if is_watch && response.status().is_success() {
                on_watching();
            }
            Ok::<_, kube::Error>(response)
        }
    });
    Client::new(service, client.default_namespace())
}
