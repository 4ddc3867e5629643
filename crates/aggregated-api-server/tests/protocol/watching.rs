//! Watches.

use std::sync::atomic::Ordering;
use std::time::Duration;

use aggregated_api_server::{ApiBody, ServerSettings};
use http_body_util::BodyExt;
use serde_json::Value;

use crate::fixture::{Fixture, WAIT_TIMEOUT};

/// A watch that is read event by event.
struct Watch {
    body: ApiBody,
    buffer: Vec<u8>,
}

impl Watch {
    async fn start(fixture: &Fixture, path: &str) -> Self {
        Self::start_as(fixture, path, "application/json").await
    }

    async fn start_as(fixture: &Fixture, path: &str, accept: &str) -> Self {
        let path = format!(
            "{path}{}watch=true",
            if path.contains('?') { '&' } else { '?' }
        );
        let response = fixture
            .send("admin", "GET", &path, &[("accept", accept)], "")
            .await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("JSON"));
            }
            let frame = tokio::time::timeout(WAIT_TIMEOUT, self.body.frame()).await;
            let frame = frame.expect("in time")?.expect("no error");
            self.buffer.extend(frame.into_data().expect("data"));
        }
    }

    /// Type and name of the next event.
    async fn event(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }

    async fn expect(&mut self, events: &[(&str, &str)]) {
        for (kind, name) in events {
            let (is_kind, is_name) = self.event().await;
            assert_eq!((is_kind.as_str(), is_name.as_str()), (*kind, *name));
        }
    }
}

#[tokio::test]
async fn a_watch_tells_what_was_there_and_what_changes() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    fixture.notes.add("other", "x", "ann");
    let mut watch = Watch::start(&fixture, "namespaces/acme/notes").await;
    watch.expect(&[("ADDED", "a")]).await;
    fixture.notes.add("acme", "b", "bob");
    fixture.notes.add("other", "y", "bob");
    watch.expect(&[("ADDED", "b")]).await;
    fixture.notes.set_phase("acme", "a", "Sent");
    fixture.notes.remove("other", "x");
    fixture.notes.remove("acme", "b");
    watch.expect(&[("MODIFIED", "a"), ("DELETED", "b")]).await;
}

#[tokio::test]
async fn a_watch_follows_a_list() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    let list = fixture.get("notes").await.json();
    let revision = list["metadata"]["resourceVersion"]
        .as_str()
        .expect("text")
        .to_owned();
    for number in 0..1100 {
        fixture.notes.add("acme", &format!("n{number:04}"), "ann");
    }
    // It begins behind the ring, reads by itself, and then goes on from the ring.
    let mut watch = Watch::start(&fixture, &format!("notes?resourceVersion={revision}")).await;
    for number in 0..1100 {
        watch
            .expect(&[("ADDED", format!("n{number:04}").as_str())])
            .await;
    }
    fixture.notes.remove("acme", "a");
    watch.expect(&[("DELETED", "a")]).await;
}

#[tokio::test]
async fn a_selector_holds_for_a_watch() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    fixture.notes.add("acme", "b", "bob");
    let path = "namespaces/acme/notes?fieldSelector=status.phase%3DPending,spec.owner%3Dann";
    let mut watch = Watch::start(&fixture, path).await;
    watch.expect(&[("ADDED", "a")]).await;
    fixture.notes.set_phase("acme", "b", "Sent");
    fixture.notes.set_phase("acme", "a", "Sent");
    // What no longer matches is gone for this watch; what never did is not told of.
    watch.expect(&[("DELETED", "a")]).await;
    let mut one = Watch::start(&fixture, "namespaces/acme/notes/b").await;
    one.expect(&[("ADDED", "b")]).await;
    fixture.notes.remove("acme", "a");
    fixture.notes.remove("acme", "b");
    one.expect(&[("DELETED", "b")]).await;
}

#[tokio::test]
async fn a_streaming_list_says_when_it_is_complete() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    let path =
        "notes?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::start(&fixture, path).await;
    watch.expect(&[("ADDED", "a")]).await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], "2");
    let refused = fixture.get("notes?watch=true&sendInitialEvents=true").await;
    assert_eq!(refused.refusal().0, 422);
}

#[tokio::test]
async fn a_revision_that_is_not_known_is_gone() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "a", "ann");
    fixture.notes.add("acme", "b", "ann");
    fixture.notes.compact();
    for revision in [2, 900] {
        let mut watch = Watch::start(&fixture, &format!("notes?resourceVersion={revision}")).await;
        let event = watch.next().await.expect("an event");
        assert_eq!(event["type"], "ERROR");
        assert_eq!(
            (&event["object"]["code"], &event["object"]["reason"]),
            (&410.into(), &"Expired".into())
        );
        assert!(watch.next().await.is_none(), "it ends");
    }
}

#[tokio::test]
async fn tables_and_metadata_are_watched_too() {
    let fixture = Fixture::new();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    let mut tables = Watch::start_as(&fixture, "notes?resourceVersion=1", table).await;
    let mut partial = Watch::start_as(&fixture, "notes?resourceVersion=1", metadata).await;
    fixture.notes.add("acme", "a", "ann");
    fixture.notes.remove("acme", "a");
    for kind in ["ADDED", "DELETED"] {
        let event = tables.next().await.expect("an event");
        assert_eq!(
            (&event["type"], &event["object"]["kind"]),
            (&kind.into(), &"Table".into())
        );
        assert_eq!(event["object"]["rows"][0]["cells"][0], "a");
        let event = partial.next().await.expect("an event");
        assert_eq!(
            (&event["type"], &event["object"]["kind"]),
            (&kind.into(), &"PartialObjectMetadata".into())
        );
    }
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let fixture = Fixture::new();
    let mut watch = Watch::start(&fixture, "notes?timeoutSeconds=1").await;
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn the_storage_is_asked_only_while_somebody_watches() {
    let fixture = Fixture::new();
    let reads = || fixture.notes.changes_read.load(Ordering::Relaxed);
    let watches: Vec<Watch> = {
        let mut watches = Vec::new();
        for _ in 0..20 {
            watches.push(Watch::start(&fixture, "notes").await);
        }
        watches
    };
    let waited = async |enough: &dyn Fn() -> bool| {
        let wait = async {
            while !enough() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(WAIT_TIMEOUT, wait)
            .await
            .expect("in time");
    };
    waited(&|| reads() > 5).await;
    drop(watches);
    // The poller has ended when two looks, far more than its interval apart, see the same.
    let mut before = usize::MAX;
    let wait = async {
        while before != reads() {
            before = reads();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, wait)
        .await
        .expect("it stops");
}

#[tokio::test]
async fn watches_wait_for_a_storage_that_is_away() {
    let fixture = Fixture::new();
    fixture.notes.add("acme", "first", "ann");
    let mut watch = Watch::start(&fixture, "notes").await;
    watch.expect(&[("ADDED", "first")]).await;
    fixture.notes.is_away.store(true, Ordering::Relaxed);
    fixture.notes.add("acme", "a", "ann");
    let refused = fixture.get("notes?watch=true&resourceVersion=1").await;
    let event: Value =
        serde_json::from_str(refused.text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(event["object"]["code"], 503, "a new one is refused");
    fixture.notes.is_away.store(false, Ordering::Relaxed);
    watch.expect(&[("ADDED", "a")]).await;
}

#[tokio::test]
async fn there_may_be_so_many_watches() {
    let fixture = Fixture::with(ServerSettings {
        watches: 1,
        ..ServerSettings::default()
    });
    let watch = Watch::start(&fixture, "notes").await;
    let refused = fixture.get("notes?watch=true").await;
    assert_eq!(refused.refusal().0, 429);
    assert!(refused.headers.contains_key("retry-after"));
    drop(watch);
}

#[tokio::test]
async fn who_reads_nothing_of_a_watch_loses_it() {
    let fixture = Fixture::with(ServerSettings {
        watch_interval: Duration::from_millis(5),
        watch_stall: Duration::from_millis(50),
        ..ServerSettings::default()
    });
    let mut watch = Watch::start(&fixture, "notes?resourceVersion=1").await;
    let added = 400;
    for number in 0..added {
        fixture
            .notes
            .add("acme", &format!("n{number}"), &"o".repeat(10_000));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // However slow this machine is: the watch can only end, because nobody reads it.
    let wait = async {
        while fixture.server.watches() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(WAIT_TIMEOUT, wait)
        .await
        .expect("it ends");
    let mut read = 0;
    while watch.next().await.is_some() {
        read += 1;
    }
    assert!(
        read < added,
        "it ended before all was told: {read} of {added}"
    );
}
