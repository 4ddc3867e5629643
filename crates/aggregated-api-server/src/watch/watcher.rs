//! One watch: what was there, if it is asked for, and then every change that is its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::Subscription;
use super::ring::{Found, SharedChange};
use crate::encoding;
use crate::error::ApiError;
use crate::list::{PAGE_SIZE, Pages, Scope};
use crate::negotiation::Representation;
use crate::request::Parameters;
use crate::resource::Change;
use crate::response::{self, ApiResponse, BoxError};
use crate::served::Served;
use crate::status::StatusError;

/// How often a watch that asks for bookmarks is told where it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);

/// How much is sent in one piece.
const CHUNK_SIZE: usize = 64 * 1024;

/// How many pieces may wait for a client that reads slowly.
const CHUNKS: usize = 4;

/// Where a watch begins.
enum Start {
    After(i64),
    /// With everything that is there; `bookmark`: a bookmark says when that is told.
    Everything {
        bookmark: bool,
    },
    Now,
}

/// Why a watch ends early.
enum End {
    /// The client has gone, or reads nothing.
    Gone,
    /// Told to the client as an `ERROR` event.
    Error(StatusError),
}

struct Watcher {
    served: Arc<Served>,
    scope: Scope,
    representation: Representation,
    bookmarks: bool,
    subscription: Subscription,
    output: mpsc::Sender<Bytes>,
    waiting: BytesMut,
    position: i64,
    times: WatchTimes,
}

/// How long a watch may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchTimes {
    /// For all of it, unless the client says how long.
    pub watch: Duration,
    /// For what is asked of the storage.
    pub page: Duration,
    /// For a client to read something.
    pub stall: Duration,
}

/// Answers a watch.
pub(crate) async fn respond(
    served: &Arc<Served>,
    scope: Scope,
    parameters: &Parameters,
    representation: Representation,
    times: WatchTimes,
) -> Result<ApiResponse, StatusError> {
    let start = start(parameters)?;
    let timeout = parameters
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0)
        .map_or(times.watch, Duration::from_secs);
    let subscription = served.hub.subscribe().await;
    let subscription = subscription.map_err(|error| served.error(error, ""))?;
    let (output, input) = mpsc::channel(CHUNKS);
    let watcher = Watcher {
        served: served.clone(),
        scope,
        representation,
        bookmarks: parameters.flag("allowWatchBookmarks"),
        subscription,
        output,
        waiting: BytesMut::new(),
        position: 0,
        times,
    };
    tokio::spawn(watcher.run(start, Instant::now() + timeout));
    let body = stream::unfold(input, |mut input| async move {
        let chunk = input.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), input))
    });
    Ok(response::with_body(
        StatusCode::OK,
        "application/json",
        StreamBody::new(body).boxed_unsync(),
    ))
}

fn start(parameters: &Parameters) -> Result<Start, StatusError> {
    let revision = parameters.resource_version()?.filter(|number| *number > 0);
    match parameters.optional_flag("sendInitialEvents") {
        Some(wanted) => {
            if parameters.text("resourceVersionMatch") != "NotOlderThan" {
                return Err(StatusError::new(
                    422,
                    "Invalid",
                    "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
                     resourceVersionMatch to NotOlderThan",
                ));
            }
            Ok(match (wanted, revision) {
                (true, _) => Start::Everything { bookmark: true },
                (false, Some(revision)) => Start::After(revision),
                (false, None) => Start::Now,
            })
        }
        None => Ok(revision.map_or(Start::Everything { bookmark: false }, Start::After)),
    }
}

impl Watcher {
    async fn run(mut self, start: Start, deadline: Instant) {
        let outcome = tokio::time::timeout_at(deadline, self.tell(start)).await;
        if let Ok(Err(End::Error(error))) = outcome {
            self.add("ERROR", error.to_value().to_string().as_bytes());
            // Whether or not the client is still there.
            let _ = self.send().await;
        }
    }

    async fn tell(&mut self, start: Start) -> Result<(), End> {
        match start {
            Start::After(revision) => self.position = revision,
            Start::Now => self.position = self.newest().await?,
            Start::Everything { bookmark } => {
                self.tell_everything().await?;
                if bookmark {
                    self.add_bookmark(true);
                    self.send().await?;
                }
            }
        }
        if let Start::After(_) = start {
            // From the storage, which knows whether that revision has been and is not too old.
            self.read_changes().await?;
        }
        let mut next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        loop {
            match self.subscription.after(self.position) {
                Found::Reset => return Err(self.expired()),
                Found::Behind => {
                    let before = self.position;
                    self.read_changes().await?;
                    if self.position == before {
                        tokio::time::sleep(self.subscription.interval()).await;
                    }
                    continue;
                }
                Found::Changes(changes, complete_to) => {
                    self.tell_changes(&changes, complete_to).await?;
                }
            }
            let output = self.output.clone();
            tokio::select! {
                () = self.subscription.moved() => {}
                () = output.closed() => return Err(End::Gone),
                () = tokio::time::sleep_until(next_bookmark) => {
                    next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    if self.bookmarks {
                        self.add_bookmark(false);
                        self.send().await?;
                    }
                }
            }
        }
    }

    fn pages(&self) -> Pages {
        let scope = self.scope.clone();
        Pages::new(self.served.clone(), scope, None, self.times.page)
    }

    fn failed(&self, error: ApiError) -> End {
        End::Error(self.served.error(error, ""))
    }

    fn expired(&self) -> End {
        End::Error(StatusError::expired(format!(
            "too old resource version: {}",
            self.position
        )))
    }

    async fn newest(&self) -> Result<i64, End> {
        let page = self.pages().next(1).await;
        let page = page.map_err(|error| self.failed(error))?;
        Ok(page.unwrap_or_default().revision)
    }

    /// Everything that is there now, page by page.
    async fn tell_everything(&mut self) -> Result<(), End> {
        let mut pages = self.pages();
        let mut is_first = true;
        loop {
            let page = pages.next(PAGE_SIZE).await;
            let Some(page) = page.map_err(|error| self.failed(error))? else {
                return Ok(());
            };
            if std::mem::take(&mut is_first) {
                self.position = page.revision;
            }
            for object in &page.objects {
                let object = encoding::object(&self.served, object, self.representation);
                self.add("ADDED", object.to_string().as_bytes());
                if self.waiting.len() >= CHUNK_SIZE {
                    self.send().await?;
                }
            }
            self.send().await?;
        }
    }

    /// Asks the storage itself, for a watch that is older than the ring.
    async fn read_changes(&mut self) -> Result<(), End> {
        let namespace = self.scope.namespace.as_deref();
        let read = self
            .served
            .resource
            .changes(namespace, self.position, PAGE_SIZE);
        let changes = match tokio::time::timeout(self.times.page, read).await {
            Ok(read) => read.map_err(|error| self.failed(error))?,
            Err(_) => return Err(End::Error(StatusError::timeout())),
        };
        if changes.oldest > self.position || changes.complete_to < self.position {
            return Err(self.expired());
        }
        let shared: Vec<_> = changes
            .changes
            .into_iter()
            .map(|change| Arc::new(SharedChange::new(change)))
            .collect();
        self.tell_changes(&shared, changes.complete_to).await
    }

    async fn tell_changes(
        &mut self,
        changes: &[Arc<SharedChange>],
        complete_to: i64,
    ) -> Result<(), End> {
        for change in changes {
            if let ControlFlow::Continue(event) = self.event(&change.change) {
                let object = change.written(&self.served, self.representation);
                self.add(event, &object);
            }
            if self.waiting.len() >= CHUNK_SIZE {
                self.send().await?;
            }
        }
        self.position = complete_to;
        self.send().await
    }

    /// What the change is for this watch; a break if it is none of its own.
    fn event(&self, change: &Change) -> ControlFlow<(), &'static str> {
        let selector = &self.scope.selector;
        let namespace = match change {
            Change::Present(object) => &object.namespace,
            Change::Deleted(gone) => &gone.namespace,
        };
        let wanted = self.scope.namespace.as_ref();
        if wanted.is_some_and(|wanted| wanted != namespace) {
            return ControlFlow::Break(());
        }
        match change {
            Change::Present(object) if selector.matches(object) => {
                ControlFlow::Continue(if object.is_new { "ADDED" } else { "MODIFIED" })
            }
            Change::Present(object) if !object.is_new && selector.may_have_matched(object) => {
                ControlFlow::Continue("DELETED")
            }
            Change::Deleted(gone) if selector.matches_deleted(gone) => {
                ControlFlow::Continue("DELETED")
            }
            _ => ControlFlow::Break(()),
        }
    }

    fn add(&mut self, event: &str, object: &[u8]) {
        self.waiting.reserve(event.len() + object.len() + 24);
        self.waiting.put_slice(b"{\"type\":\"");
        self.waiting.put_slice(event.as_bytes());
        self.waiting.put_slice(b"\",\"object\":");
        self.waiting.put_slice(object);
        self.waiting.put_slice(b"}\n");
    }

    fn add_bookmark(&mut self, initial_events_end: bool) {
        let object: Value = encoding::bookmark(
            &self.served,
            self.position,
            initial_events_end,
            self.representation,
        );
        self.add("BOOKMARK", object.to_string().as_bytes());
    }

    /// Hands on what has been gathered, to a client that reads.
    async fn send(&mut self) -> Result<(), End> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let chunk = self.waiting.split().freeze();
        let sent = tokio::time::timeout(self.times.stall, self.output.send(chunk)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}
