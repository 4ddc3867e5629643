//! Erasing a person: their id is nowhere any more, and what is others' is as it was.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use telegram_connector_operator::store::{self, ObjectKind, ObjectQuery, Store, StoreOptions};

use super::history::{ANN, BOB, GROUPS, History, Treatment, event};
use super::tables::dump;
use crate::postgres::Postgres;

/// Whether a row tells of the store itself, and not of what is in it.
fn is_bookkeeping(row: &str) -> bool {
    [
        "revision:",
        "deleted_object:",
        "sqlite_sequence:",
        "claimant:",
    ]
    .iter()
    .any(|table| row.starts_with(table))
}

fn assert_nowhere(rows: &[String]) {
    let ann = ANN.to_string();
    let found: Vec<_> = rows.iter().filter(|row| row.contains(&ann)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Whether the id is in a file, as it is written in texts and as `SQLite` writes numbers.
fn is_in_file(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    // A number of this size has six bytes.
    let number = |n: i64| n.to_be_bytes()[2..].to_vec();
    [ANN.to_string().into_bytes(), number(ANN), number(-ANN)]
        .iter()
        .any(|pattern| {
            bytes
                .windows(pattern.len())
                .any(|window| window == &pattern[..])
        })
}

fn assert_not_in_files(address: &str) {
    let Some(path) = address.strip_prefix("sqlite:") else {
        return;
    };
    for file in std::fs::read_dir(Path::new(path).parent().unwrap()).unwrap() {
        let file = file.unwrap().path();
        assert!(!is_in_file(&file), "{}", file.display());
    }
}

/// Every text of a person's holds their id, so that what does not is others'.
async fn check_erased(address: &str, history: &mut History, namespace: Option<&str>) {
    let before = dump(address).await;
    let store = history.store.clone();
    let counts = store.erase(ANN, namespace).await.unwrap();
    let after = dump(address).await;
    if namespace.is_none() {
        assert_nowhere(&after);
        assert_not_in_files(address);
    }
    let ann = ANN.to_string();
    let others = before
        .iter()
        .filter(|row| !row.contains(&ann) && !is_bookkeeping(row));
    for row in others {
        assert!(after.contains(row), "{row} is gone, with {counts:?}");
    }
    history.write_held().await;
    if namespace.is_none() {
        assert_nowhere(&dump(address).await);
        assert_not_in_files(address);
        let again = store.erase(ANN, None).await.unwrap();
        assert_eq!(again.total(), 0, "{again:?}");
    }
}

fn check_histories(address: &str, cases: u32) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let number = AtomicI64::new(0);
    let store = runtime.block_on(store::open(address)).unwrap();
    let histories = prop::collection::vec(event(), 1..60);
    let checked = runner.run(&histories, |events| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        runtime.block_on(async {
            let mut history = History::new(store.clone(), number).await;
            for (side, event) in events {
                history.apply(side, event).await;
            }
            check_erased(address, &mut history, None).await;
        });
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn nothing_of_an_erased_person_is_left_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    check_histories(
        &format!("sqlite:{}/connectors.db", folder.path().display()),
        32,
    );
}

#[test]
fn nothing_of_an_erased_person_is_left_in_postgres() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(postgres) = runtime.block_on(Postgres::start()) else {
        return;
    };
    check_histories(&postgres.address(), 16);
}

/// The same in both namespaces, and erased in one.
async fn check_one_namespace(address: &str) {
    let store = store::open(address).await.unwrap();
    let mut history = History::new(store.clone(), 1).await;
    for treatment in [
        Treatment::Denied,
        Treatment::GivenUp,
        Treatment::AsksForAccess,
        Treatment::Answered,
    ] {
        for side in 0..2 {
            history.say(side, ANN, None, None).await;
            history.say(side, ANN, Some(GROUPS[0]), Some(BOB)).await;
            history.say(side, BOB, Some(GROUPS[0]), Some(ANN)).await;
            history.send(side, ANN, None).await;
            history.grant(side, ANN, BOB).await;
            history.work(side, treatment, false).await;
        }
    }
    check_erased(address, &mut history, Some("acme")).await;
    for kind in ObjectKind::ALL {
        let mut counts = [0, 0];
        for (count, namespace) in counts.iter_mut().zip(super::history::NAMESPACES) {
            let query = ObjectQuery {
                namespace: Some(namespace.into()),
                user: Some(ANN),
                ..ObjectQuery::all(kind)
            };
            *count = store
                .list_objects(&query, None, 10)
                .await
                .unwrap()
                .objects
                .len();
        }
        assert_eq!(counts[0], 0, "{kind:?}");
        assert!(counts[1] > 0, "{kind:?}");
    }
}

#[tokio::test]
async fn person_is_erased_in_one_namespace_only() {
    let folder = tempfile::tempdir().unwrap();
    check_one_namespace(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_one_namespace(&postgres.address()).await;
}

/// What is erased makes room, and what is finished after it was erased makes none.
async fn check_backlog(address: &str) {
    let options = StoreOptions {
        backlog_per_bot: 4,
        ..StoreOptions::default()
    };
    let store: Arc<dyn Store> = store::open_with(address, options).await.unwrap();
    let mut history = History::new(store.clone(), 1).await;
    for _ in 0..3 {
        history.say(0, ANN, None, None).await;
    }
    history.work(0, Treatment::Answered, true).await;
    store.erase(ANN, None).await.unwrap();
    for _ in 0..3 {
        history.say(0, BOB, None, None).await;
    }
    history.write_held().await;
    history.say(0, BOB, None, None).await;
    let update = crate::store::update(900, BOB, 100, "one too many");
    let bot = telegram_connector_operator::identity::BotId(8_400_000_002);
    let uid = &history.connectors[0].uid;
    let refused = store.accept(uid, bot, vec![update]).await;
    assert!(
        matches!(refused, Err(store::StoreError::BacklogFull(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn erased_messages_count_in_the_backlog_no_more() {
    let folder = tempfile::tempdir().unwrap();
    check_backlog(&format!("sqlite:{}/connectors.db", folder.path().display())).await;
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    check_backlog(&postgres.address()).await;
}

/// Works through what waits, as a replica of its own.
async fn work_beside(mut history: History) {
    const TREATMENTS: [Treatment; 7] = [
        Treatment::Answered,
        Treatment::Denied,
        Treatment::ReadAlong,
        Treatment::AsksForAccess,
        Treatment::DecidesAccess,
        Treatment::NotDelivered,
        Treatment::GivenUp,
    ];
    for treatment in TREATMENTS.into_iter().cycle().take(20) {
        for side in 0..2 {
            history.work(side, treatment, false).await;
        }
    }
}

/// Everything was said before; what other processes make of it meanwhile stays or goes with it.
async fn check_beside_others(address: &str, numbers: std::ops::Range<i64>) {
    let mut histories = Vec::new();
    for number in numbers {
        let store = store::open(address).await.unwrap();
        let mut history = History::new(store, number).await;
        for round in 0..40 {
            let (side, group) = (round % 2, Some(GROUPS[round / 2 % 2]));
            history.say(side, ANN, None, None).await;
            history.say(side, ANN, group, Some(BOB)).await;
            history.say(side, BOB, group, Some(ANN)).await;
        }
        histories.push(history);
    }
    let store = store::open(address).await.unwrap();
    let others = histories
        .into_iter()
        .map(|history| tokio::spawn(work_beside(history)));
    let others: Vec<_> = others.collect();
    store.erase(ANN, None).await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    assert_nowhere(&dump(address).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_processes_bring_nothing_of_an_erased_person_back() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    for round in 0..5 {
        let numbers = 3 * round..3 * round + 3;
        check_beside_others(&postgres.address(), numbers).await;
    }
}
