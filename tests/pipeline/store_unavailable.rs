//! A store that cannot be written: nothing is acknowledged, nothing is forgotten, and it heals without a restart.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use telegram_connector_operator::store::{self, StoreError, StoreOptions};
use telegram_connector_operator::telemetry::{Metrics, ReadinessCheck};

use crate::store::{BOT, claim, connector, end, finish, update};
use crate::test_env::{TestEnv, wait_until};

fn address(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}/connectors.db", folder.path().display())
}

/// Another process that writes and does not come to an end.
async fn lock_database(folder: &tempfile::TempDir) -> sqlx::SqliteConnection {
    let mut other = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(folder.path().join("connectors.db"))
        .connect()
        .await
        .unwrap();
    let begin = sqlx::query("BEGIN IMMEDIATE");
    begin.execute(&mut other).await.unwrap();
    other
}

#[tokio::test]
async fn store_operations_and_errors_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let metrics = Arc::new(Metrics::new());
    let options = StoreOptions {
        max_bytes: Some(512 << 10),
        metrics: Some(metrics.clone()),
        ..StoreOptions::default()
    };
    let store = store::open_with(&address(&folder), options).await.unwrap();
    let uid = connector("a").uid;
    let text = "x".repeat(3000);
    let mut accepted = 0;
    while store
        .accept(&uid, BOT, vec![update(accepted, accepted, 100, &text)])
        .await
        .is_ok()
    {
        accepted += 1;
    }
    let printed = metrics.encode();
    let done = format!("store_seconds_count{{operation=\"accept\"}} {accepted}\n");
    assert!(printed.contains(&done), "{done}{printed}");
    assert!(
        printed.contains("store_errors_total{operation=\"accept\"} 1\n"),
        "{printed}"
    );
}

#[tokio::test]
async fn full_disk_acknowledges_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        max_bytes: Some(512 << 10),
        ..StoreOptions::default()
    };
    let store = store::open_with(&address(&folder), options).await.unwrap();
    let uid = connector("a").uid;
    let text = "x".repeat(3000);
    let mut accepted = 0;
    let full = loop {
        match store
            .accept(&uid, BOT, vec![update(accepted, accepted, 100, &text)])
            .await
        {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(accepted < 1000, "never full");
    };
    assert!(matches!(full, StoreError::Unavailable(_)), "{full}");
    assert!(full.to_string().contains("free some space"), "{full}");
    assert!(full.to_string().contains("connectors.db"), "{full}");
    // What was refused is not known, what was accepted is all there and can be handled.
    let mut handled = Vec::new();
    loop {
        let claimed = claim(&*store, "a", 10).await;
        if claimed.lanes.is_empty() {
            break;
        }
        for lane in claimed.lanes {
            handled.push(lane.messages[0].update_id);
            end(&*store, lane.claim, finish(&lane)).await;
        }
    }
    handled.sort_unstable();
    assert_eq!(handled, (0..accepted).collect::<Vec<_>>());
    let again = store
        .accept(&uid, BOT, vec![update(accepted, accepted, 100, &text)])
        .await
        .unwrap();
    assert_eq!(
        again.new, 1,
        "the refused update is new when it comes again"
    );
}

#[tokio::test]
async fn locked_store_acknowledges_nothing_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        busy_timeout: Duration::from_millis(100),
        ..StoreOptions::default()
    };
    let store = store::open_with(&address(&folder), options).await.unwrap();
    let uid = connector("a").uid;
    let mut other = lock_database(&folder).await;
    let refused = store.accept(&uid, BOT, vec![update(1, 1, 100, "x")]).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(store.writable().await.is_err());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    other.close().await.unwrap();
    store.writable().await.unwrap();
    let accepted = store
        .accept(&uid, BOT, vec![update(1, 1, 100, "x")])
        .await
        .unwrap();
    assert_eq!(accepted.new, 1);
}

#[tokio::test]
async fn answer_waits_for_the_store_without_asking_again() {
    let mut env = TestEnv::new().await;
    let support = env.connector("support");
    env.ask(&support, "warm").await;
    env.wait_until_drained().await;
    env.assistant
        .set_behaviour(bot_api_simulator::sample_assistant::Behaviour {
            latency_ms: 300,
            ..Default::default()
        });
    env.telegram
        .send_private_message(support.id, crate::test_env::ANN, "hello");
    wait_until("the assistant is asked", async || {
        env.assistant.request_count() == 2
    })
    .await;
    let mut other = lock_database(&env.folder).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    // The reply is not in the outbox, so nothing has been sent.
    assert_eq!(
        env.telegram
            .sent_messages(support.id, crate::test_env::ANN)
            .len(),
        1
    );
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    env.telegram
        .wait_for_sent_messages(
            support.id,
            crate::test_env::ANN,
            1,
            crate::test_env::TIMEOUT,
        )
        .await;
    assert_eq!(env.assistant.request_count(), 2);
}

#[tokio::test]
async fn process_is_not_ready_while_claims_fail() {
    let mut env = TestEnv::with(|limits| limits.claim_failure_grace = Duration::ZERO).await;
    let support = env.connector("support");
    let is_ready = || env.readiness.is_passing(ReadinessCheck::WorkClaims);
    env.ask(&support, "warm").await;
    env.wait_until_drained().await;
    assert!(is_ready());
    // The store can be written, but no lane be claimed.
    let mut other = lock_database(&env.folder).await;
    for statement in [
        "CREATE TRIGGER no_claims BEFORE UPDATE OF owner ON lane WHEN NEW.owner IS NOT NULL BEGIN SELECT RAISE(ABORT, 'no claims'); END",
        "COMMIT",
    ] {
        sqlx::query(statement).execute(&mut other).await.unwrap();
    }
    env.telegram
        .send_private_message(support.id, crate::test_env::ANN, "hello");
    wait_until("it is not ready", async || !is_ready()).await;
    env.store.writable().await.unwrap();
    sqlx::query("DROP TRIGGER no_claims")
        .execute(&mut other)
        .await
        .unwrap();
    wait_until("it is ready again", async || is_ready()).await;
    env.wait_until_drained().await;
}
