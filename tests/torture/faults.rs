//! Faults in addition to the kills: at Telegram, at the assistant, and at the store.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure};
use bot_api_simulator::{Fault, FaultKind, Simulator};
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{ConnectOptions, Connection};

use crate::operator::Operator;
use crate::test_env::TestEnv;

/// Makes calls to Telegram fail with fixed probabilities until [`Simulator::clear_faults`].
pub(crate) fn inject_telegram_faults(telegram: &Simulator) {
    let error = |code| FaultKind::Status {
        code,
        description: "Internal Server Error".into(),
    };
    let send = |fault| Fault::new(fault).method("sendMessage");
    let poll = |fault| Fault::new(fault).method("getUpdates");
    for fault in [
        send(FaultKind::TooManyRequests { retry_after: 1 }).probability(0.01),
        send(error(500)).probability(0.02),
        send(FaultKind::Html { code: 502 }).probability(0.01),
        send(FaultKind::Delay { ms: 50 }).probability(0.05),
        send(FaultKind::Reset).probability(0.005),
        send(FaultKind::DropAfter).probability(0.005),
        send(FaultKind::Hang).probability(0.001),
        send(FaultKind::HangAfter).probability(0.001),
        poll(error(500)).probability(0.03),
        poll(FaultKind::Reset).probability(0.03),
        poll(FaultKind::DropAfter).probability(0.03),
        poll(FaultKind::Hang).probability(0.002),
        // In both delivery modes: updates are delivered twice, and chats in another order.
        Fault::new(FaultKind::Duplicate).probability(0.1),
        Fault::new(FaultKind::Reorder).probability(0.2),
    ] {
        telegram.add_fault(fault);
    }
}

/// A random behaviour of the assistant; half of them are normal.
pub(crate) fn random_behaviour(rng: &mut StdRng) -> Behaviour {
    let fail = |status| Behaviour {
        fail: Some(InjectedFailure {
            status,
            times: Some(3),
            retry_after: None,
        }),
        ..Behaviour::default()
    };
    match rng.random_range(0..12) {
        0 => fail(500),
        1 => fail(429),
        2 => Behaviour {
            latency_ms: 150,
            ..Behaviour::default()
        },
        3 => Behaviour {
            word_delay_ms: 2,
            ..Behaviour::default()
        },
        4 => Behaviour {
            drop_after_words: Some(3),
            ..Behaviour::default()
        },
        5 => Behaviour {
            hang: true,
            ..Behaviour::default()
        },
        _ => Behaviour::default(),
    }
}

/// Makes writes to the store fail for up to 600 ms: another process holds its lock, or its volume is full. On `PostgreSQL` they wait.
pub(crate) async fn inject_store_fault(env: &TestEnv, operator: &Operator, rng: &mut StdRng) {
    let duration = Duration::from_millis(rng.random_range(50..600));
    if env.store.starts_with("postgres") {
        lock_inbox(&env.store, duration).await;
        return;
    }
    if rng.random_bool(0.5) {
        operator.limit_file_size(Some(0));
        tokio::time::sleep(duration).await;
        operator.limit_file_size(None);
        return;
    }
    let path = env.volume().join("connectors.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    // The file may not exist yet, or be locked.
    let Ok(mut connection) = options.connect().await else {
        return;
    };
    if sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut connection)
        .await
        .is_ok()
    {
        tokio::time::sleep(duration).await;
    }
    let _ = sqlx::query("ROLLBACK").execute(&mut connection).await;
    let _ = connection.close().await;
}

/// Locks the inbox in `PostgreSQL`. It may not exist yet.
async fn lock_inbox(store: &str, duration: Duration) {
    let options: sqlx::postgres::PgConnectOptions = store.parse().unwrap();
    let Ok(mut connection) = options.connect().await else {
        return;
    };
    let lock = sqlx::raw_sql("BEGIN; LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE")
        .execute(&mut connection)
        .await;
    if lock.is_ok() {
        tokio::time::sleep(duration).await;
    }
    let _ = connection.close().await;
}
