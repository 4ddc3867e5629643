//! The watch of something cluster-wide that the operator can do without: the cluster may not know the kind, and the operator may not be allowed to
//! read it. Both are states to be told in a condition, not failures: nothing waits for it, and the log has one line.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::watch_source::{SourceEvent, WATCH_BACKOFF, bounded_client, events_of, is_gone};
use crate::backoff::Backoff;

/// How often a kind that cannot be read is tried again while somebody needs it: so long it takes until a right that was given counts.
const WANTED_RETRY: Duration = Duration::from_secs(10);
/// And while nobody does.
const UNWANTED_RETRY: Duration = Duration::from_mins(10);
/// How often it is looked whether somebody does; that asks nobody.
const WANTED_INTERVAL: Duration = Duration::from_secs(2);
/// And at first, where the operator is restricted to namespaces: before anybody needs it nothing is asked.
const FIRST_WANTED_INTERVAL: Duration = Duration::from_millis(500);
/// What was listed holds so long when the API server refuses to list it again: one that starts forbids for a moment what it then allows.
const REFUSAL_PATIENCE: Duration = Duration::from_mins(1);

/// Whether objects of a kind can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Availability {
    /// The API server has not answered yet.
    Unknown,
    /// They were listed.
    Listed,
    /// The API server does not know the kind.
    NotInstalled,
    /// The operator has no right to list or watch them.
    Forbidden,
}

/// The watch of one kind in the whole cluster.
pub(super) struct OptionalWatch<K, W> {
    api: Api<K>,
    plural: String,
    availability: Arc<watch::Sender<Availability>>,
    /// Whether somebody needs it.
    is_wanted: W,
    events: BoxStream<'static, watcher::Result<Event<K>>>,
    backoff: Backoff,
    wait: Wait,
    /// It was listed whole. That is told when the event is consumed: until then whoever looks would see nothing.
    is_listed: bool,
    /// Since when it has been refused without a break.
    refused_since: Option<Instant>,
}

/// Before the next attempt.
enum Wait {
    No,
    UntilFirstWanted,
    For(Duration),
    UntilWanted,
}

impl<K, W> OptionalWatch<K, W>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    W: Fn() -> bool + Send + Sync + 'static,
{
    /// A watch that has not begun. Whether it succeeds is told by `availability`. `is_lazy`: it begins when it is wanted.
    pub(super) fn new(
        client: &Client,
        availability: Arc<watch::Sender<Availability>>,
        is_wanted: W,
        is_lazy: bool,
    ) -> Self {
        let kind = K::DynamicType::default();
        let api = Api::all(bounded_client(client, || {}));
        Self {
            events: events_of(&api),
            api,
            plural: match &*K::group(&kind) {
                "" => K::plural(&kind).into_owned(),
                group => format!("{}.{group}", K::plural(&kind)),
            },
            availability,
            is_wanted,
            backoff: WATCH_BACKOFF,
            wait: if is_lazy {
                Wait::UntilFirstWanted
            } else {
                Wait::No
            },
            is_listed: false,
            refused_since: None,
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
        if std::mem::take(&mut self.is_listed) {
            self.set(Availability::Listed);
        }
        match std::mem::replace(&mut self.wait, Wait::No) {
            Wait::No => {}
            Wait::UntilFirstWanted => {
                while !(self.is_wanted)() {
                    tokio::time::sleep(FIRST_WANTED_INTERVAL).await;
                }
            }
            Wait::For(wait) => tokio::time::sleep(wait).await,
            Wait::UntilWanted => wait_until_wanted(&self.is_wanted).await,
        }
        match self.events.next().await? {
            Ok(event) => {
                if !matches!(event, Event::Init) {
                    self.backoff.reset();
                }
                if matches!(event, Event::InitDone) {
                    self.refused_since = None;
                    self.is_listed = true;
                }
                Some(SourceEvent::Watched(event))
            }
            Err(error) => {
                self.on_error(&error);
                Some(SourceEvent::Failed)
            }
        }
    }

    fn on_error(&mut self, error: &watcher::Error) {
        if is_gone(error) {
            self.events = events_of(&self.api);
        }
        let refusal = match status_code(error) {
            Some(404) => Availability::NotInstalled,
            Some(403) => Availability::Forbidden,
            _ => {
                let wait = self.backoff.next_delay();
                tracing::warn!(resource = self.plural, %error, retry_in = ?wait, "watch failed; retrying");
                self.wait = Wait::For(wait);
                return;
            }
        };
        let since = *self.refused_since.get_or_insert_with(Instant::now);
        let known = *self.availability.borrow();
        if known == Availability::Listed && since.elapsed() < REFUSAL_PATIENCE {
            self.wait = Wait::For(self.backoff.next_delay());
            return;
        }
        self.set(refusal);
        // It is listed whole when it can be.
        self.events = events_of(&self.api);
        self.wait = Wait::UntilWanted;
    }

    fn set(&self, now: Availability) {
        let before = self.availability.send_replace(now);
        if before == now {
            return;
        }
        let resource = &self.plural;
        match now {
            Availability::NotInstalled => {
                tracing::info!(
                    resource,
                    "the API server does not know this kind; references to it let nobody in"
                );
            }
            Availability::Forbidden => {
                tracing::info!(
                    resource,
                    "no right to list and watch them in the cluster; references to them let nobody in"
                );
            }
            Availability::Listed => tracing::debug!(resource, "listed"),
            Availability::Unknown => {}
        }
    }
}

async fn wait_until_wanted(is_wanted: &impl Fn() -> bool) {
    let began = Instant::now();
    loop {
        tokio::time::sleep(WANTED_INTERVAL).await;
        let waited = began.elapsed();
        if waited >= UNWANTED_RETRY || (waited >= WANTED_RETRY && is_wanted()) {
            return;
        }
    }
}

/// The HTTP status by which the API server refused.
fn status_code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    }
}
