//! What changes while a page is open, as server-sent events: each part of the page that differs from what the browser has.
//!
//! A message of the chat is pushed when the simulator signals it. The cluster and the store are read every half second, since neither tells the
//! page of a change, and only while a page is open.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use futures::future::{self, Either};
use tokio::time::Instant;

use crate::Sources;
use crate::routes::Shared;
use crate::selection::SelectionQuery;
use crate::view::{self, Part, Snapshot};

/// How often everything besides the chat is read.
const READ_INTERVAL: Duration = Duration::from_millis(500);

/// The state of one open page.
struct OpenPage {
    sources: Arc<Sources>,
    query: SelectionQuery,
    snapshot: Snapshot,
    /// The parts as the browser has them.
    shown: HashMap<&'static str, String>,
    next_read: Instant,
}

pub(crate) async fn stream(
    State(sources): Shared,
    Query(query): Query<SelectionQuery>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let snapshot = Snapshot::read(&sources, query).await;
    let page = OpenPage {
        sources,
        query,
        snapshot,
        shown: HashMap::new(),
        next_read: Instant::now() + READ_INTERVAL,
    };
    let events = futures::stream::unfold(page, |mut page| async move {
        let changed = page.next_change().await;
        Some((Ok(Event::default().data(changed)), page))
    });
    Sse::new(events).keep_alive(KeepAlive::default())
}

impl OpenPage {
    /// The parts that differ from what the browser has, as soon as there is one.
    async fn next_change(&mut self) -> String {
        loop {
            // Armed before reading, so that no change falls between the two.
            let change = self.snapshot.selection.bot.as_ref().map(|bot| {
                let change = self.sources.simulator.next_message_change(bot.id);
                Box::pin(change)
            });
            let mut parts = Vec::new();
            if Instant::now() >= self.next_read {
                self.snapshot = Snapshot::read(&self.sources, self.query).await;
                self.next_read = Instant::now() + READ_INTERVAL;
                parts = view::other_parts(&self.snapshot);
            } else {
                self.snapshot.read_chat(&self.sources);
            }
            parts.extend(view::chat_parts(&self.snapshot));
            let changed = self.changed(parts);
            if !changed.is_empty() {
                return changed;
            }
            let change = change.map_or_else(|| Either::Left(future::pending()), Either::Right);
            // Either way the loop looks again.
            let _ = tokio::time::timeout_at(self.next_read, change).await;
        }
    }

    /// Those of the parts that the browser does not have.
    fn changed(&mut self, parts: Vec<Part>) -> String {
        let mut changed = String::new();
        for Part { id, html } in parts {
            let html = html.into_string();
            if self.shown.get(id) != Some(&html) {
                changed.push_str(&view::replacement(id, &html));
                self.shown.insert(id, html);
            }
        }
        changed
    }
}
