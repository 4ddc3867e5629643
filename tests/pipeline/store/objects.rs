//! Objects of the data API: what lists show, that watches miss nothing, and that no namespace reaches into another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use telegram_connector_operator::store::{
    self, ObjectChange, ObjectContent, ObjectKey, ObjectKind, ObjectQuery, Retention, Store,
    StoredObject,
};

use super::history::{Event, GROUPS, History, NAMESPACES, PEOPLE, Treatment, event};
use super::retention_since;
use crate::postgres::Postgres;

/// All objects of a query, by pages of so many.
async fn list(store: &dyn Store, query: &ObjectQuery, limit: u32) -> (Vec<StoredObject>, i64) {
    let (mut objects, mut after, mut revision) = (Vec::new(), None, None);
    loop {
        let page = store.list_objects(query, after, limit).await.unwrap();
        revision.get_or_insert(page.revision);
        objects.extend(page.objects);
        match page.next {
            Some(next) => after = Some(next),
            None => return (objects, revision.unwrap()),
        }
    }
}

fn chat_and_user(object: &StoredObject) -> (i64, Option<i64>) {
    match &object.content {
        ObjectContent::DeniedMessage(denied) => (denied.chat, denied.user_id),
        ObjectContent::Conversation(of) => (of.chat, Some(of.chat).filter(|chat| *chat > 0)),
        ObjectContent::DeadLetter(dead) => (dead.chat, dead.user),
        ObjectContent::OutgoingMessage(message) => (message.chat, message.user),
        ObjectContent::AccessGrant(grant) => (grant.user, Some(grant.user)),
        ObjectContent::AccessRequest(request) => (request.user, Some(request.user)),
    }
}

fn meets(query: &ObjectQuery, object: &StoredObject) -> bool {
    let (chat, user) = chat_and_user(object);
    query
        .namespace
        .as_ref()
        .is_none_or(|n| *n == object.namespace)
        && query
            .connector
            .as_ref()
            .is_none_or(|c| *c == object.connector)
        && query.chat.is_none_or(|c| c == chat)
        && query.user.is_none_or(|u| Some(u) == user)
        && query.key.is_none_or(|k| k == object.key)
}

/// Which parts of a query are given, and which of the objects it is about.
type Picks = (bool, Option<usize>, Option<usize>, Option<usize>, usize);

async fn check_queries(history: &History, picks: &[Picks]) {
    let store = &*history.store;
    for kind in ObjectKind::ALL {
        let (all, _) = list(store, &ObjectQuery::all(kind), 100).await;
        for (named, user, chat, key, side) in picks {
            let chats = [PEOPLE.as_slice(), &GROUPS].concat();
            let query = ObjectQuery {
                namespace: Some(NAMESPACES[*side].to_owned()),
                connector: named.then(|| history.connectors[*side].name.to_string()),
                user: user.map(|n| PEOPLE[n % PEOPLE.len()]),
                chat: chat.map(|n| chats[n % chats.len()]),
                key: key.and_then(|n| Some(all.get(n % all.len().max(1))?.key)),
                kind,
            };
            let expected: Vec<_> = all.iter().filter(|o| meets(&query, o)).cloned().collect();
            assert_eq!(list(store, &query, 2).await.0, expected, "{query:?}");
            let changes = store.object_changes(&query, 1, 1_000).await.unwrap();
            if !changes.is_gone(1) {
                assert!(changes.changes.iter().all(|change| match change {
                    ObjectChange::Present(object) => meets(&query, object),
                    ObjectChange::Deleted(object) => object.namespace == NAMESPACES[*side],
                }));
            }
            // Any key may be where a page goes on.
            for after in all.iter().map(|object| object.key) {
                let page = store.list_objects(&query, Some(after), 100).await.unwrap();
                assert!(
                    page.objects
                        .iter()
                        .all(|o| meets(&query, o) && o.key > after)
                );
            }
        }
        for object in &all {
            let other = NAMESPACES
                .into_iter()
                .find(|n| *n != object.namespace)
                .unwrap();
            let keys = vec![object.key];
            assert_eq!(store.delete_objects(kind, other, keys).await.unwrap(), 0);
            if kind == ObjectKind::Conversation {
                let words = store.transcript(other, object.key).await.unwrap();
                assert_eq!(words, None);
                assert!(
                    store
                        .transcript(&object.namespace, object.key)
                        .await
                        .unwrap()
                        .is_some()
                );
            }
        }
        assert_eq!(list(store, &ObjectQuery::all(kind), 100).await.0, all);
    }
}

fn check_namespaces(address: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let pick = |most: usize| prop::option::of(0..most);
    let picks = (any::<bool>(), pick(3), pick(5), pick(50), 0..2_usize);
    let strategy = (
        prop::collection::vec(event(), 1..40),
        prop::collection::vec(picks, 1..6),
    );
    let number = AtomicUsize::new(0);
    let store = runtime.block_on(store::open(address)).unwrap();
    let checked = runner.run(&strategy, |(events, picks)| {
        let number = i64::try_from(number.fetch_add(1, Ordering::Relaxed)).unwrap();
        runtime.block_on(async {
            let mut history = History::new(store.clone(), number).await;
            for (side, event) in events {
                history.apply(side, event).await;
            }
            history.write_held().await;
            check_queries(&history, &picks).await;
        });
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn no_query_reaches_another_namespace_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_namespaces(
        &format!("sqlite:{}/connectors.db", folder.path().display()),
        24,
    );
}

#[test]
fn no_query_reaches_another_namespace_in_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(postgres) = runtime.block_on(Postgres::start()) else {
        return;
    };
    check_namespaces(&postgres.address(), 12);
}

/// Lists once, and then follows the changes until `done`, and what is there by then.
async fn follow(store: Arc<dyn Store>, kind: ObjectKind, done: tokio::sync::watch::Receiver<bool>) {
    let query = ObjectQuery {
        namespace: Some("acme".into()),
        ..ObjectQuery::all(kind)
    };
    let (listed, mut revision) = list(&*store, &query, 3).await;
    let mut seen: BTreeMap<ObjectKey, StoredObject> = listed
        .into_iter()
        .map(|object| (object.key, object))
        .collect();
    loop {
        let ends = *done.borrow();
        let changes = store.object_changes(&query, revision, 5).await.unwrap();
        assert!(
            !changes.is_gone(revision),
            "{kind:?}: {revision} of {changes:?}"
        );
        assert!(changes.complete_to >= revision);
        for change in changes.changes {
            assert!(change.revision() > revision && change.revision() <= changes.complete_to);
            match change {
                ObjectChange::Present(object) => drop(seen.insert(object.key, *object)),
                ObjectChange::Deleted(object) => drop(seen.remove(&object.key)),
            }
        }
        revision = changes.complete_to;
        // What is complete when nobody writes any more is all there is.
        if ends && changes.complete_to == changes.newest {
            break;
        }
        tokio::task::yield_now().await;
    }
    let (now, _) = list(&*store, &query, 100).await;
    let seen: Vec<_> = seen.into_values().collect();
    // Denied messages are pruned in the end, and nobody sends any.
    let may_be_empty = [ObjectKind::DeniedMessage, ObjectKind::OutgoingMessage];
    assert!(!now.is_empty() || may_be_empty.contains(&kind), "{kind:?}");
    assert_eq!(seen, now, "{kind:?}");
}

/// Talks, is denied and given up, and deletes some of it again.
async fn write_much(store: Arc<dyn Store>, number: i64) {
    const TREATMENTS: [Treatment; 6] = [
        Treatment::Answered,
        Treatment::Denied,
        Treatment::GivenUp,
        Treatment::NotDelivered,
        Treatment::AsksForAccess,
        Treatment::DecidesAccess,
    ];
    let mut history = History::new(store.clone(), number).await;
    for round in 0..40_usize {
        let side = round % 2;
        for user in 0..3 {
            let says = Event::Says {
                user,
                group: (user == 2).then_some(0),
                answers: None,
            };
            history.apply(side, says).await;
        }
        let treatment = TREATMENTS[round / 2 % 6];
        history.grant(side, PEOPLE[round % 3], PEOPLE[0]).await;
        history.work(side, treatment, false).await;
        for kind in ObjectKind::ALL {
            let query = ObjectQuery {
                namespace: Some("acme".into()),
                ..ObjectQuery::all(kind)
            };
            let page = store.list_objects(&query, None, 1).await.unwrap();
            // What comes last stays, so that of every kind something is left to compare.
            if round % 3 == 0 && round < 30 {
                let keys = page.objects.iter().map(|object| object.key).collect();
                store.delete_objects(kind, "acme", keys).await.unwrap();
            }
        }
    }
    let now = jiff::Timestamp::now();
    let retention = Retention {
        sessions: jiff::Timestamp::MIN,
        ..retention_since(now)
    };
    store.prune(retention).await.unwrap();
}

async fn check_watches(address: &str) {
    let mut writers = Vec::new();
    let (done, is_done) = tokio::sync::watch::channel(false);
    let mut watchers = Vec::new();
    for number in 0..3 {
        let store = store::open(address).await.unwrap();
        writers.push(tokio::spawn(write_much(store.clone(), number)));
        for kind in ObjectKind::ALL {
            let watch = follow(store.clone(), kind, is_done.clone());
            watchers.push(tokio::spawn(watch));
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    done.send(true).unwrap();
    for watcher in watchers {
        watcher.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_and_watch_end_with_what_is_there_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_watches(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_and_watch_end_with_what_is_there_in_postgres() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_watches(&postgres.address()).await;
}

/// What is deleted is forgotten an hour later, and whoever has not seen it by then is told so.
async fn check_deleted_conversation(store: &dyn Store, history: &mut History) {
    history.say(0, PEOPLE[0], None, None).await;
    history.work(0, Treatment::Answered, false).await;
    let query = ObjectQuery::all(ObjectKind::Conversation);
    let (conversations, revision) = list(store, &query, 10).await;
    let key = conversations[0].key;
    let words = store.transcript("acme", key).await.unwrap().unwrap();
    assert_eq!(words.len(), 2);
    history.say(0, PEOPLE[0], None, None).await;
    assert_eq!(
        store
            .delete_objects(query.kind, "acme", vec![key])
            .await
            .unwrap(),
        1
    );
    assert_eq!(store.transcript("acme", key).await.unwrap(), None);
    let changes = store.object_changes(&query, revision, 10).await.unwrap();
    let [ObjectChange::Deleted(deleted)] = &changes.changes[..] else {
        panic!("{changes:?}");
    };
    assert_eq!((deleted.key, &*deleted.namespace), (key, "acme"));
    let uid = deleted.connector_uid.as_ref().unwrap();
    assert_eq!(uid.as_str(), history.connectors[0].uid.as_str());
    // The next message begins another one.
    history.work(0, Treatment::Answered, false).await;
    let (conversations, _) = list(store, &query, 10).await;
    assert_eq!(conversations.len(), 1);
    assert!(conversations[0].key > key);
}

#[tokio::test]
async fn deleted_conversation_ends_and_loses_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}/connectors.db", folder.path().display());
    let store = store::open(&address).await.unwrap();
    let mut history = History::new(store.clone(), 1).await;
    check_deleted_conversation(&*store, &mut history).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    let mut history = History::new(store.clone(), 1).await;
    check_deleted_conversation(&*store, &mut history).await;
}
