//! A message that somebody sends while the process ends before or after each call of the store on its way: it arrives once, or is listed as one that may have
//! arrived twice.

use std::time::Duration;

use jiff::Timestamp;
use telegram_connector_operator::pipeline::{SendRequest, send_message};
use telegram_connector_operator::store::{OutgoingMessage, OutgoingPhase, Store};

use crate::kill_moments::{ending_at, resolve_anew};
use crate::outgoing::request;
use crate::postgres_server::Postgres;
use crate::test_env::{ANN, Connector, TestEnv, open_with_lease, wait_until};

/// A claim of a process that is gone holds for so long, where nothing else tells that it is.
const LEASE: Duration = Duration::from_millis(400);
/// More moments than there are on the way of one message in two parts.
const MOST_MOMENTS: usize = 60;

/// Calls that come by the clock, or of the test itself.
static NOT_ON_THE_WAY: [&str; 5] = [
    "keep_claims",
    "prune",
    "expire_decisions",
    "backlog",
    "outgoing_message",
];

/// The message in two parts of its own number, as a client sends it until it is answered.
fn message(n: usize) -> SendRequest {
    SendRequest {
        idempotency_key: Some(format!("key-{n}")),
        ..request(
            &format!("m-{n}"),
            &format!("begin {n}\n\n{}\n\nend {n}", "word ".repeat(1000)),
        )
    }
}

/// Sends message `n` in a process that ends at the moment `n`; whether it did. A process, as far as a runtime is one: gone from one moment to the next.
fn is_killed_while_sending(env: &TestEnv, support: &Connector, n: usize) -> bool {
    let process = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let killed = process.block_on(async {
        let store = ending_at(
            open_with_lease(&env.address, LEASE).await,
            n,
            &NOT_ON_THE_WAY,
        );
        resolve_anew(env, support);
        let _pipeline = env.second_process(store.clone());
        let work = async {
            let sent = send_message(&env.registry, &*store, message(n), Timestamp::now()).await;
            sent.unwrap();
            wait_until("the message is sent", async || is_sent(&*store, n).await).await;
        };
        tokio::select! {
            () = store.ended() => true,
            () = work => false,
        }
    });
    process.shutdown_background();
    killed
}

async fn is_sent(store: &dyn Store, n: usize) -> bool {
    let message = find(store, n).await;
    message.is_some_and(|message| message.phase == OutgoingPhase::Sent)
}

async fn find(store: &dyn Store, n: usize) -> Option<OutgoingMessage> {
    let name = format!("m-{n}");
    store.outgoing_message("acme", &name).await.unwrap()
}

async fn each_key_arrives_once_or_is_listed(mut env: TestEnv) {
    let support = env.connector_with("support", |c| c.sending_per_minute = Some(1000));
    env.ask(&support, "hi").await;
    env.wait_until_drained().await;
    env.stop(Duration::from_secs(5)).await;
    let mut listed = 0;
    for n in 1..=MOST_MOMENTS {
        let killed = tokio::task::block_in_place(|| is_killed_while_sending(&env, &support, n));
        // The next process: the client asks again, as it had no answer, and the message goes its way.
        env.store = open_with_lease(&env.address, LEASE).await;
        resolve_anew(&env, &support);
        let pipeline = env.second_process(env.store.clone());
        let again = send_message(&env.registry, &*env.store, message(n), Timestamp::now()).await;
        again.unwrap();
        wait_until("the message is sent", async || {
            is_sent(&*env.store, n).await
        })
        .await;
        let message = find(&*env.store, n).await.unwrap();
        pipeline.shutdown(Duration::from_secs(5)).await;
        let shown = env.telegram.sent_messages(support.id, ANN);
        for part in ["begin", "end"] {
            let part = format!("{part} {n}");
            let times = shown
                .iter()
                .filter(|m| m.text.lines().any(|line| line.trim() == part))
                .count();
            assert!(
                times == 1 || times == 2 && message.ambiguous,
                "moment {n}: {part:?} arrived {times} times: {message:?}"
            );
        }
        listed += usize::from(message.ambiguous);
        if !killed {
            println!("{} moments, {listed} listed as ambiguous", n - 1);
            assert!(
                n > 8,
                "create, claim, begin, record and end, each before and after"
            );
            return;
        }
    }
    panic!("more than {MOST_MOMENTS} moments");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sent_message_arrives_once_or_is_listed_whoever_ends() {
    each_key_arrives_once_or_is_listed(TestEnv::new().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_sent_message_arrives_once_or_is_listed() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    each_key_arrives_once_or_is_listed(TestEnv::on(&postgres.address()).await).await;
}
