//! What goes wrong besides the kills: at Telegram, at the assistant, and at the store.

use std::time::Duration;

use bot_api_simulator::sample_assistant::{Behaviour, InjectedFailure};
use bot_api_simulator::{Fault, FaultKind, Simulator};
use rand::Rng;
use rand::rngs::StdRng;
use sqlx::{ConnectOptions, Connection};

use crate::operator::Operator;
use crate::world::World;

/// Of all calls of a kind, so many meet a fault until [`Simulator::clear_faults`].
pub(crate) fn at_telegram(telegram: &Simulator) {
    let broken = |code| FaultKind::Status {
        code,
        description: "Internal Server Error".into(),
    };
    let send = |fault| Fault::new(fault).method("sendMessage");
    let poll = |fault| Fault::new(fault).method("getUpdates");
    for fault in [
        send(FaultKind::TooManyRequests { retry_after: 1 }).probability(0.01),
        send(broken(500)).probability(0.02),
        send(FaultKind::Html { code: 502 }).probability(0.01),
        send(FaultKind::Delay { ms: 50 }).probability(0.05),
        send(FaultKind::Reset).probability(0.005),
        send(FaultKind::DropAfter).probability(0.005),
        send(FaultKind::Hang).probability(0.001),
        send(FaultKind::HangAfter).probability(0.001),
        poll(broken(500)).probability(0.03),
        poll(FaultKind::Reset).probability(0.03),
        poll(FaultKind::DropAfter).probability(0.03),
        poll(FaultKind::Hang).probability(0.002),
        // Of both ways: given out again, and chats in another order than they happened.
        Fault::new(FaultKind::Duplicate).probability(0.1),
        Fault::new(FaultKind::Reorder).probability(0.2),
    ] {
        telegram.add_fault(fault);
    }
}

/// The assistant's mood at this moment.
pub(crate) fn mood(rng: &mut StdRng) -> Behaviour {
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

/// For a moment the store cannot be written: another process holds its lock, or its volume has no room.
pub(crate) async fn at_the_store(world: &World, operator: &Operator, rng: &mut StdRng) {
    let moment = Duration::from_millis(rng.random_range(50..600));
    if rng.random_bool(0.5) {
        operator.limit_files(Some(0));
        tokio::time::sleep(moment).await;
        operator.limit_files(None);
        return;
    }
    let path = world.volume().join("connectors.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    // It may not be there yet, or be locked at this very moment.
    let Ok(mut other) = options.connect().await else {
        return;
    };
    if sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .is_ok()
    {
        tokio::time::sleep(moment).await;
    }
    let _ = sqlx::query("ROLLBACK").execute(&mut other).await;
    let _ = other.close().await;
}
