//! Watches: what a collection holds, then everything that happens to it, as one JSON document a line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, Stream};
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::World;
use super::failure::{Cause, Failure};
use super::kinds::Kind;
use super::read;
use super::reply::{BoxError, Reply};
use super::request::{Place, Query, Shape};
use super::selectors::Selector;
use super::store::{Change, Next, Stored};
use super::table::{self, Carried};
use super::view;

/// How often a quiet watch that asked for bookmarks gets one (the real server: about once a minute).
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// How long a watch lasts that names no time (the real server: 30 to 60 minutes).
const LONGEST: Duration = Duration::from_mins(30);

/// Marks the bookmark that ends the initial events of a streaming list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

struct Follower {
    world: Arc<World>,
    kind: Arc<Kind>,
    namespace: String,
    selector: Selector,
    shape: Shape,
    carried: Carried,
    bookmarks: bool,
    /// Everything up to this revision has been sent.
    cursor: u64,
    ready: VecDeque<Bytes>,
    head_sent: bool,
    ended: bool,
    until: Instant,
    next_bookmark: Instant,
    changed: watch::Receiver<u64>,
    closed: watch::Receiver<u64>,
}

/// Begins a watch.
pub(super) fn begin(
    world: &Arc<World>,
    kind: &Arc<Kind>,
    place: &Place,
    query: &Query,
    shape: Shape,
) -> Result<Reply, Failure> {
    let mut selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    if !place.name.is_empty() {
        selector = selector.of_name(&place.name);
    }
    check_initial_events(query)?;
    let since = read::parse_revision(&query.resource_version)?;
    let (changed, closed) = world.store.signals(&kind.storage);
    let now = Instant::now();
    let lasts = query.timeout_seconds.map_or(LONGEST, Duration::from_secs);
    let mut follower = Follower {
        world: Arc::clone(world),
        kind: Arc::clone(kind),
        namespace: place.namespace.clone(),
        selector,
        shape,
        carried: read::carried(query)?,
        bookmarks: query.allow_watch_bookmarks,
        cursor: since,
        ready: VecDeque::new(),
        head_sent: false,
        ended: false,
        until: now + lasts,
        next_bookmark: now + BOOKMARK_EVERY,
        changed,
        closed,
    };
    match query.send_initial_events {
        Some(true) => {
            follower.send_state();
            if follower.bookmarks {
                follower.send_bookmark(true);
            }
        }
        None if since == 0 => follower.send_state(),
        _ if since == 0 => follower.cursor = world.store.revision(),
        _ => {}
    }
    let mut reply = Reply::new(StreamBody::new(follower.frames()).boxed_unsync());
    *reply.status_mut() = StatusCode::OK;
    let media = http::HeaderValue::from_static("application/json");
    reply
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, media);
    Ok(reply)
}

fn check_initial_events(query: &Query) -> Result<(), Failure> {
    let refuse = |field: &str, why: &str| {
        Err(Failure::invalid_options(
            "ListOptions",
            &Cause::forbidden(field, why),
        ))
    };
    match (
        query.send_initial_events,
        query.resource_version_match.as_str(),
    ) {
        (None, "") | (Some(_), "NotOlderThan") => Ok(()),
        (None, _) => refuse(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (Some(_), "") => refuse(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (Some(_), other) => Err(Failure::unsupported_option(
            "ListOptions",
            "resourceVersionMatch",
            other,
            &["NotOlderThan"],
        )),
    }
}

impl Follower {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> {
        stream::unfold(self, |mut follower| async move {
            let line = follower.next().await?;
            Some((Ok(Frame::data(line)), follower))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            self.collect();
            if !self.ready.is_empty() || self.ended {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => self.ended = changed.is_err(),
                _ = self.closed.changed() => self.ended = true,
                () = sleep_until(self.next_bookmark), if self.bookmarks => self.send_bookmark(false),
                () = sleep_until(self.until) => {
                    if self.bookmarks {
                        self.send_bookmark(false);
                    }
                    self.ended = true;
                }
            }
        }
    }

    /// Takes what happened since the cursor.
    fn collect(&mut self) {
        if self
            .world
            .faults
            .frozen(&self.kind.resource())
            .is_some_and(|frozen| self.cursor >= frozen)
        {
            return;
        }
        match self.world.store.changes(&self.kind.storage, self.cursor) {
            Next::Changes(changes, revision) => {
                // A cache that lags shows nothing that is newer than itself.
                let newest = self
                    .world
                    .faults
                    .frozen(&self.kind.resource())
                    .unwrap_or(u64::MAX);
                let shown = changes.iter().filter(|change| change.revision <= newest);
                shown.for_each(|change| self.send_change(change));
                self.cursor = revision.min(newest.max(self.cursor));
            }
            Next::Forgotten(oldest) => {
                let failure = Failure::too_old(self.cursor, oldest);
                self.send("ERROR", failure.status().to_string().as_bytes());
                self.ended = true;
            }
        }
    }

    fn send_change(&mut self, change: &Change) {
        let here = |object: &Stored| {
            (self.namespace.is_empty() || object.namespace == self.namespace)
                && self.selector.matches(object)
        };
        let before = change.before.as_deref().is_some_and(here);
        let after = !change.deleted && here(&change.after);
        match (before, after) {
            (false, true) => self.send_object("ADDED", &change.after),
            (true, true) => self.send_object("MODIFIED", &change.after),
            // An object that leaves the selection is shown as it was, at the revision at which it left.
            (true, false) if !change.deleted => {
                if let Some(before) = &change.before {
                    let mut last = before.object();
                    super::object::set_meta(
                        &mut last,
                        "resourceVersion",
                        change.revision.to_string(),
                    );
                    self.send_value("DELETED", &last);
                }
            }
            (true, false) => self.send_object("DELETED", &change.after),
            (false, false) => {}
        }
    }

    fn send_state(&mut self) {
        let frozen = self.world.faults.frozen(&self.kind.resource());
        let snapshot = frozen
            .and_then(|frozen| {
                self.world
                    .store
                    .list_at(&self.kind.storage, &self.namespace, frozen)
                    .ok()
            })
            .unwrap_or_else(|| self.world.store.list(&self.kind.storage, &self.namespace));
        for object in &snapshot.objects {
            if self.selector.matches(object) {
                self.send_object("ADDED", object);
            }
        }
        self.cursor = snapshot.revision;
    }

    fn send_object(&mut self, event: &str, stored: &Stored) {
        if self.shape == Shape::Whole {
            let bytes = view::bytes(&self.kind, stored);
            self.send(event, &bytes);
        } else {
            self.send_value(event, &stored.object());
        }
    }

    fn send_value(&mut self, event: &str, object: &Value) {
        let shown = match self.shape {
            Shape::Whole => view::show(&self.kind, object.clone()),
            Shape::Metadata | Shape::MetadataList => {
                table::metadata_only(object, "PartialObjectMetadata")
            }
            Shape::Table => {
                let row = read::row(&self.kind, object, self.carried);
                let metadata =
                    json!({"resourceVersion": super::object::meta(object, "resourceVersion")});
                table::table(self.take_head(), vec![row], metadata)
            }
        };
        self.send(event, shown.to_string().as_bytes());
    }

    /// The column definitions, in the first event only.
    fn take_head(&mut self) -> Value {
        if std::mem::replace(&mut self.head_sent, true) {
            Value::Null
        } else {
            table::definitions(&self.kind.columns)
        }
    }

    fn send_bookmark(&mut self, initial_events_end: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        let mut metadata =
            json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let shown = match self.shape {
            Shape::Whole => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata})
            }
            Shape::Metadata | Shape::MetadataList => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Shape::Table => {
                let marker = json!({"cells": [], "object":
                    {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}});
                let head = self.take_head();
                table::table(
                    head,
                    vec![marker],
                    json!({"resourceVersion": self.cursor.to_string()}),
                )
            }
        };
        self.send("BOOKMARK", shown.to_string().as_bytes());
    }

    fn send(&mut self, event: &str, object: &[u8]) {
        let mut line = Vec::with_capacity(object.len() + 40);
        line.extend_from_slice(format!("{{\"type\":\"{event}\",\"object\":").as_bytes());
        line.extend_from_slice(object);
        line.extend_from_slice(b"}\n");
        self.ready.push_back(line.into());
    }
}
