//! A `PostgreSQL` server that takes connections and says nothing any more: nobody waits for it for ever, and it is found again.

use std::time::Duration;

use telegram_connector_operator::store::{self, Store, StoreError, StoreOptions};

use crate::postgres_server::Postgres;
use crate::test_env::{TIMEOUT, wait_until};

fn impatient() -> StoreOptions {
    StoreOptions {
        answer_timeout: Duration::from_millis(300),
        read_timeout: Duration::from_millis(300),
        ..StoreOptions::default()
    }
}

/// What is said instead of an answer, in time.
async fn said<T>(asked: impl Future<Output = Result<T, StoreError>>) -> String {
    let answered = tokio::time::timeout(TIMEOUT, asked).await;
    let answered = answered.expect("it does not wait for ever");
    let error = answered.err().expect("there is no answer").to_string();
    let advises = error.contains("does not answer") && error.contains("see that it runs");
    assert!(advises, "{error}");
    error
}

async fn wait_until_read(store: &dyn Store) {
    wait_until("it is read again", async || store.backlog().await.is_ok()).await;
}

#[tokio::test]
async fn reads_of_a_silent_postgres_end_and_go_on_later() {
    let Some(mut postgres) = Postgres::start().await else {
        return;
    };
    let opened = store::open_with(&postgres.address(), impatient()).await;
    let store = opened.unwrap();
    let leases = store.shard_leases("fleet").unwrap();
    leases.renew(Duration::from_secs(3)).await.unwrap();
    let read = leases.observations_since(store::shards::ObservationCursor::default());
    let (_, cursor) = read.await.unwrap();
    wait_until_read(&*store).await;
    postgres.freeze();
    // More than there are connections: none is lost to a read that was given up.
    for _ in 0..3 {
        said(store.backlog()).await;
    }
    said(store.connectors()).await;
    said(leases.observations_since(cursor)).await;
    // Nor to one whose reader has gone away.
    for _ in 0..3 {
        let reader = store.backlog();
        let gone = tokio::time::timeout(Duration::from_millis(50), reader).await;
        assert!(gone.is_err());
    }
    postgres.thaw();
    wait_until_read(&*store).await;
    leases.observations_since(cursor).await.unwrap();
}

/// Between the store and its database: a host that goes away without a word, and another one in its place.
struct Path {
    port: u16,
    /// How many hosts have gone.
    gone: tokio::sync::watch::Sender<u32>,
}

impl Path {
    async fn to(postgres: &Postgres) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (socket, gone) = (postgres.socket(), tokio::sync::watch::Sender::new(0));
        let has_gone = gone.subscribe();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (socket, mut has_gone) = (socket.clone(), has_gone.clone());
                has_gone.mark_unchanged();
                tokio::spawn(async move {
                    let mut server = tokio::net::UnixStream::connect(socket).await.unwrap();
                    let copy = tokio::io::copy_bidirectional(&mut client, &mut server);
                    tokio::select! {
                        _ = copy => {}
                        // Both ends stay open, and nothing passes any more.
                        _ = has_gone.changed() => std::future::pending().await,
                    }
                });
            }
        });
        Self { port, gone }
    }
}

#[tokio::test]
async fn reads_go_on_over_new_connections_after_a_silent_loss() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let path = Path::to(&postgres).await;
    let address = format!("postgres://operator@127.0.0.1:{}/postgres", path.port);
    let opened = store::open_with(&address, impatient()).await;
    let store = opened.unwrap();
    for _ in 0..3 {
        let (one, other) = tokio::join!(store.backlog(), store.connectors());
        assert!(one.is_ok() && other.is_ok());
        path.gone.send_modify(|hosts| *hosts += 1);
        let (one, other) = tokio::join!(said(store.backlog()), said(store.connectors()));
        assert_eq!(one, other);
        wait_until_read(&*store).await;
    }
}

#[tokio::test]
async fn read_behind_a_lock_ends_at_the_server_too() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let opened = store::open_with(&postgres.address(), impatient()).await;
    let store = opened.unwrap();
    let mut other = postgres.connect().await;
    let lock = "BEGIN; LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut other).await.unwrap();
    said(store.backlog()).await;
    wait_until("the server has given up too", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        let waiting = sqlx::query_scalar::<_, i64>(waiting);
        let mut db = postgres.connect().await;
        waiting.fetch_one(&mut db).await.unwrap() == 0
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    wait_until_read(&*store).await;
}

#[tokio::test]
async fn silent_postgres_is_no_store_to_open() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = format!("postgres://operator:secret@127.0.0.1:{port}/connectors");
    let error = said(store::open_with(&address, impatient())).await;
    assert!(!error.contains("secret"), "{error}");
}
