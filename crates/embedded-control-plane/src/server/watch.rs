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

use super::ServerState;
use super::conversion;
use super::kinds::Kind;
use super::object_store::{Change, ChangesSince, StoredObject};
use super::read;
use super::request::{Query, Representation, RequestInfo};
use super::response::{ApiResponse, BoxError};
use super::selectors::Selector;
use super::status_error::StatusError;
use super::table::{self, IncludeObject};
use crate::schema::StatusCause;

/// How often a quiet watch that asked for bookmarks gets one (the real server: about once a minute).
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// How long a watch lasts that names no time (the real server: 30 to 60 minutes).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(30);

/// Marks the bookmark that ends the initial events of a streaming list (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

struct WatchStream {
    server: Arc<ServerState>,
    kind: Arc<Kind>,
    namespace: String,
    selector: Selector,
    representation: Representation,
    include_object: IncludeObject,
    bookmarks: bool,
    /// Everything up to this revision has been sent.
    cursor: u64,
    pending_lines: VecDeque<Bytes>,
    column_definitions_sent: bool,
    ended: bool,
    deadline: Instant,
    next_bookmark: Instant,
    changed: watch::Receiver<u64>,
    closed: watch::Receiver<u64>,
}

/// Begins a watch.
pub(super) fn start(
    server: &Arc<ServerState>,
    kind: &Arc<Kind>,
    info: &RequestInfo,
    query: &Query,
    representation: Representation,
) -> Result<ApiResponse, StatusError> {
    let mut selector = Selector::parse(kind, &query.label_selector, &query.field_selector)?;
    if !info.name.is_empty() {
        selector = selector.with_name(&info.name);
    }
    check_initial_events(query)?;
    let since = read::parse_revision(&query.resource_version)?;
    let (changed, closed) = server.store.subscribe(&kind.storage);
    let now = Instant::now();
    let lasts = query
        .timeout_seconds
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let mut watch_stream = WatchStream {
        server: Arc::clone(server),
        kind: Arc::clone(kind),
        namespace: info.namespace.clone(),
        selector,
        representation,
        include_object: read::include_object(query)?,
        bookmarks: query.allow_watch_bookmarks,
        cursor: since,
        pending_lines: VecDeque::new(),
        column_definitions_sent: false,
        ended: false,
        deadline: now + lasts,
        next_bookmark: now + BOOKMARK_INTERVAL,
        changed,
        closed,
    };
    match query.send_initial_events {
        Some(true) => {
            watch_stream.send_initial_objects();
            if watch_stream.bookmarks {
                watch_stream.send_bookmark(true);
            }
        }
        None if since == 0 => watch_stream.send_initial_objects(),
        _ if since == 0 => watch_stream.cursor = server.store.revision(),
        _ => {}
    }
    let mut response = ApiResponse::new(StreamBody::new(watch_stream.frames()).boxed_unsync());
    *response.status_mut() = StatusCode::OK;
    let media = http::HeaderValue::from_static("application/json");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, media);
    Ok(response)
}

fn check_initial_events(query: &Query) -> Result<(), StatusError> {
    let refuse = |field: &str, why: &str| {
        Err(StatusError::invalid_options(
            "ListOptions",
            &StatusCause::forbidden(field, why),
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
        (Some(_), other) => Err(StatusError::unsupported_option(
            "ListOptions",
            "resourceVersionMatch",
            other,
            &["NotOlderThan"],
        )),
    }
}

impl WatchStream {
    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> {
        stream::unfold(self, |mut watch_stream| async move {
            let line = watch_stream.next().await?;
            Some((Ok(Frame::data(line)), watch_stream))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.pending_lines.pop_front() {
                return Some(line);
            }
            if self.ended {
                return None;
            }
            self.changed.mark_unchanged();
            self.collect_changes();
            if !self.pending_lines.is_empty() || self.ended {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => self.ended = changed.is_err(),
                _ = self.closed.changed() => self.ended = true,
                () = sleep_until(self.next_bookmark), if self.bookmarks => self.send_bookmark(false),
                () = sleep_until(self.deadline) => {
                    if self.bookmarks {
                        self.send_bookmark(false);
                    }
                    self.ended = true;
                }
            }
        }
    }

    /// Takes what happened since the cursor.
    fn collect_changes(&mut self) {
        if self
            .server
            .faults
            .frozen(&self.kind.resource())
            .is_some_and(|frozen| self.cursor >= frozen)
        {
            return;
        }
        match self.server.store.changes(&self.kind.storage, self.cursor) {
            ChangesSince::Changes(changes, revision) => {
                // A cache that lags shows nothing that is newer than itself.
                let newest = self
                    .server
                    .faults
                    .frozen(&self.kind.resource())
                    .unwrap_or(u64::MAX);
                let shown = changes.iter().filter(|change| change.revision <= newest);
                shown.for_each(|change| self.send_change(change));
                self.cursor = revision.min(newest.max(self.cursor));
            }
            ChangesSince::Compacted(oldest) => {
                let error = StatusError::expired(self.cursor, oldest);
                self.send("ERROR", error.to_status().to_string().as_bytes());
                self.ended = true;
            }
        }
    }

    fn send_change(&mut self, change: &Change) {
        let here = |object: &StoredObject| {
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
                    super::object::set_metadata(
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

    fn send_initial_objects(&mut self) {
        let frozen = self.server.faults.frozen(&self.kind.resource());
        let snapshot = frozen
            .and_then(|frozen| {
                self.server
                    .store
                    .list_at(&self.kind.storage, &self.namespace, frozen)
                    .ok()
            })
            .unwrap_or_else(|| self.server.store.list(&self.kind.storage, &self.namespace));
        for object in &snapshot.objects {
            if self.selector.matches(object) {
                self.send_object("ADDED", object);
            }
        }
        self.cursor = snapshot.revision;
    }

    fn send_object(&mut self, event: &str, stored: &StoredObject) {
        if self.representation == Representation::Full {
            let bytes = conversion::to_served_bytes(&self.kind, stored);
            self.send(event, &bytes);
        } else {
            self.send_value(event, &stored.object());
        }
    }

    fn send_value(&mut self, event: &str, object: &Value) {
        let shown = match self.representation {
            Representation::Full => conversion::to_served(&self.kind, object.clone()),
            Representation::PartialObjectMetadata | Representation::PartialObjectMetadataList => {
                table::metadata_only(object, "PartialObjectMetadata")
            }
            Representation::Table => {
                let row = read::row(&self.kind, object, self.include_object);
                let metadata = json!({"resourceVersion": super::object::metadata_str(object, "resourceVersion")});
                table::table(self.take_column_definitions(), vec![row], metadata)
            }
        };
        self.send(event, shown.to_string().as_bytes());
    }

    /// The column definitions, in the first event only.
    fn take_column_definitions(&mut self) -> Value {
        if std::mem::replace(&mut self.column_definitions_sent, true) {
            Value::Null
        } else {
            table::column_definitions(&self.kind.columns)
        }
    }

    fn send_bookmark(&mut self, initial_events_end: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
        let mut metadata =
            json!({"resourceVersion": self.cursor.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let shown = match self.representation {
            Representation::Full => {
                json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata})
            }
            Representation::PartialObjectMetadata | Representation::PartialObjectMetadataList => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
            }
            Representation::Table => {
                let marker = json!({"cells": [], "object":
                    {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}});
                let head = self.take_column_definitions();
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
        self.pending_lines.push_back(line.into());
    }
}
