//! The leases of shards on a real `PostgreSQL`: what belongs to whom, and who is fenced off.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use telegram_connector_operator::store;
use telegram_connector_operator::store::shards::{
    FleetView, ObservationCursor, Shard, ShardLeases, SharedObservation,
};

use crate::postgres::Postgres;
use crate::store::connector;
use crate::test_env::wait_until;

/// Long enough for every test.
const LEASE: Duration = Duration::from_mins(10);
/// Over at once.
const NO_LEASE: Duration = Duration::ZERO;

const FLEET: &str = "acme/operator";

async fn replica(postgres: &Postgres) -> Arc<dyn ShardLeases> {
    replica_of(postgres, FLEET).await
}

async fn replica_of(postgres: &Postgres, fleet: &str) -> Arc<dyn ShardLeases> {
    let store = store::open(&postgres.address()).await.unwrap();
    store.shard_leases(fleet).expect("PostgreSQL has shards")
}

async fn database(postgres: &Postgres) -> PgConnection {
    let options = PgConnectOptions::from_str(&postgres.address()).unwrap();
    options.connect().await.unwrap()
}

fn shards(numbers: impl IntoIterator<Item = u16>) -> Vec<Shard> {
    numbers.into_iter().map(Shard).collect()
}

fn own(view: &FleetView) -> Vec<Shard> {
    view.own_shards().collect()
}

#[tokio::test]
async fn free_shard_is_taken_by_one_of_two_replicas() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (first, second) = (replica(&postgres).await, replica(&postgres).await);
    first.renew(LEASE).await.unwrap();
    second.renew(LEASE).await.unwrap();
    let (a, b) = (shards(0..200), shards(100..256));
    let (a, b) = tokio::join!(first.take(&a), second.take(&b));
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.len() + b.len(), 256, "every shard has an owner");
    let view = first.renew(LEASE).await.unwrap();
    assert_eq!(view.replicas.len(), 2);
    let owned: HashSet<Shard> = view
        .replicas
        .iter()
        .flat_map(|r| r.shards.clone())
        .collect();
    assert_eq!(owned.len(), 256);
    assert_eq!(own(&view).len(), a.len());
}

#[tokio::test]
async fn shard_that_was_released_can_be_taken_by_another() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (first, second) = (replica(&postgres).await, replica(&postgres).await);
    first.renew(LEASE).await.unwrap();
    second.renew(LEASE).await.unwrap();
    first.take(&shards(0..4)).await.unwrap();
    second.release(&shards(0..4)).await.unwrap();
    assert!(
        second.take(&shards(0..4)).await.unwrap().is_empty(),
        "nobody gives up what is another's"
    );
    first.release(&shards([1, 2])).await.unwrap();
    assert_eq!(second.take(&shards(0..4)).await.unwrap().len(), 2);
    first.leave().await.unwrap();
    let view = second.renew(LEASE).await.unwrap();
    assert_eq!((view.replicas.len(), own(&view)), (1, shards([1, 2])));
    assert_eq!(second.take(&shards(0..4)).await.unwrap(), shards([0, 3]));
}

#[tokio::test]
async fn fleets_on_one_database_have_shards_of_their_own() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let ours = replica(&postgres).await;
    let theirs = replica_of(&postgres, "beta/operator").await;
    ours.renew(LEASE).await.unwrap();
    theirs.renew(NO_LEASE).await.unwrap();
    for fleet in [&ours, &theirs] {
        assert_eq!(fleet.take(&shards(0..256)).await.unwrap().len(), 256);
    }
    let seen = [observation("a", 1, "{}")];
    theirs.write_observations(&seen).await.unwrap();
    assert!(
        !ours.remove_expired().await.unwrap(),
        "nobody judges another fleet"
    );
    let view = ours.renew(LEASE).await.unwrap();
    assert_eq!((view.replicas.len(), own(&view).len()), (1, 256));
    let all = ObservationCursor::default();
    assert!(ours.observations_since(all).await.unwrap().0.is_empty());
    assert_eq!(theirs.observations_since(all).await.unwrap().0, seen);
}

#[tokio::test]
async fn late_owner_is_fenced_off_once_its_shards_are_taken() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (late, alive) = (replica(&postgres).await, replica(&postgres).await);
    let before = late.renew(NO_LEASE).await.unwrap();
    late.take(&shards(0..256)).await.unwrap();
    alive.renew(LEASE).await.unwrap();
    // Its lease is over, but nobody has taken anything: it goes on.
    let view = late.renew(Duration::from_millis(1)).await.unwrap();
    assert_eq!((view.own_id, own(&view).len()), (before.own_id, 256));
    wait_until("the lease is over", async || {
        let view = alive.renew(LEASE).await.unwrap();
        view.replicas.iter().any(|r| r.expires_in.is_none())
    })
    .await;
    assert!(alive.take(&shards(0..256)).await.unwrap().is_empty());
    assert!(alive.remove_expired().await.unwrap());
    assert!(!alive.remove_expired().await.unwrap());
    assert!(
        late.take(&shards([0])).await.unwrap().is_empty(),
        "who is removed takes nothing"
    );
    assert_eq!(alive.take(&shards(0..128)).await.unwrap().len(), 128);
    late.release(&shards(0..256)).await.unwrap();
    let after = late.renew(LEASE).await.unwrap();
    assert_ne!(after.own_id, before.own_id, "another life");
    assert!(own(&after).is_empty());
    assert_eq!(own(&alive.renew(LEASE).await.unwrap()).len(), 128);
}

#[tokio::test]
async fn replica_in_time_is_never_removed() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (first, second) = (replica(&postgres).await, replica(&postgres).await);
    first.renew(NO_LEASE).await.unwrap();
    second.renew(LEASE).await.unwrap();
    assert!(
        !first.remove_expired().await.unwrap(),
        "nobody judges itself"
    );
    let view = second.renew(LEASE).await.unwrap();
    assert!(view.replicas.iter().any(|r| r.id == view.own_id));
}

#[tokio::test]
async fn lease_from_before_a_clock_stepped_back_ends_in_time() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (gone, alive) = (replica(&postgres).await, replica(&postgres).await);
    gone.renew(Duration::from_hours(24)).await.unwrap();
    gone.take(&shards(0..256)).await.unwrap();
    wait_until("its lease is over", async || {
        alive.renew(Duration::from_millis(50)).await.unwrap();
        alive.remove_expired().await.unwrap()
    })
    .await;
    assert_eq!(alive.take(&shards(0..256)).await.unwrap().len(), 256);
}

#[tokio::test]
async fn idle_replica_writes_one_row_per_renewal() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let replica = replica(&postgres).await;
    replica.renew(LEASE).await.unwrap();
    replica.take(&shards(0..256)).await.unwrap();
    let mut db = database(&postgres).await;
    for statement in [
        "CREATE TABLE written (what text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN INSERT INTO written VALUES (TG_TABLE_NAME); RETURN NULL; END $$",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON replica FOR EACH ROW EXECUTE FUNCTION note()",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON shard FOR EACH ROW EXECUTE FUNCTION note()",
    ] {
        sqlx::query(statement).execute(&mut db).await.unwrap();
    }
    for _ in 0..5 {
        replica.renew(LEASE).await.unwrap();
        assert!(!replica.remove_expired().await.unwrap());
    }
    let written: Vec<String> = sqlx::query_scalar("SELECT what FROM written")
        .fetch_all(&mut db)
        .await
        .unwrap();
    assert_eq!(written, ["replica"; 5]);
}

fn observation(name: &str, shard: u16, facts: &str) -> SharedObservation {
    SharedObservation {
        connector: connector(name).uid,
        shard: Shard(shard),
        token_fingerprint: 7,
        facts: facts.into(),
    }
}

#[tokio::test]
async fn observations_are_read_once_and_only_from_the_owner() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let (poller, leader) = (replica(&postgres).await, replica(&postgres).await);
    poller.renew(LEASE).await.unwrap();
    leader.renew(LEASE).await.unwrap();
    poller.take(&shards([1])).await.unwrap();
    leader.take(&shards([2])).await.unwrap();
    let seen = [
        observation("a", 1, r#"{"detail":"a \"quoted\" \\u0000 é"}"#),
        observation("b", 2, "{}"),
    ];
    poller.write_observations(&seen).await.unwrap();
    let (rows, cursor) = leader
        .observations_since(ObservationCursor::default())
        .await
        .unwrap();
    assert_eq!(rows, seen[..1], "shard 2 is another's");
    // Nothing new is written and nothing is read again.
    poller.write_observations(&seen[..1]).await.unwrap();
    let (rows, cursor) = leader.observations_since(cursor).await.unwrap();
    assert!(rows.is_empty(), "{rows:?}");
    let changed = [observation("a", 1, r#"{"detail":"other"}"#)];
    poller.write_observations(&changed).await.unwrap();
    let (rows, cursor) = leader.observations_since(cursor).await.unwrap();
    assert_eq!(rows, changed);
    // Whoever has lost the shard says nothing any more.
    poller.release(&shards([1])).await.unwrap();
    leader.take(&shards([1])).await.unwrap();
    poller.write_observations(&seen).await.unwrap();
    assert!(
        leader
            .observations_since(cursor)
            .await
            .unwrap()
            .0
            .is_empty()
    );
}

#[tokio::test]
async fn observation_committed_late_is_not_missed() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let leader = replica(&postgres).await;
    leader.renew(LEASE).await.unwrap();
    leader.take(&shards([1])).await.unwrap();
    let mut slow = database(&postgres).await;
    for statement in [
        "BEGIN",
        "INSERT INTO observation VALUES ('slow', 'acme/operator', 1, 0, '{}', txid_current())",
    ] {
        sqlx::query(statement).execute(&mut slow).await.unwrap();
    }
    let written = [observation("a", 1, "{}")];
    leader.write_observations(&written).await.unwrap();
    let (rows, cursor) = leader
        .observations_since(ObservationCursor::default())
        .await
        .unwrap();
    assert_eq!(rows, written);
    sqlx::query("COMMIT").execute(&mut slow).await.unwrap();
    let (rows, _) = leader.observations_since(cursor).await.unwrap();
    assert!(rows.iter().any(|r| r.connector.as_str() == "slow"));
}

#[tokio::test]
async fn observations_of_a_deleted_connector_go_with_its_data() {
    let Some(postgres) = Postgres::start().await else {
        return;
    };
    let store = store::open(&postgres.address()).await.unwrap();
    let replica = store.shard_leases(FLEET).expect("PostgreSQL has shards");
    replica.renew(LEASE).await.unwrap();
    replica.take(&shards([1])).await.unwrap();
    let written = [observation("a", 1, "{}"), observation("b", 1, "{}")];
    replica.write_observations(&written).await.unwrap();
    store
        .delete_connector_data(&connector("a").uid)
        .await
        .unwrap();
    let (rows, _) = replica
        .observations_since(ObservationCursor::default())
        .await
        .unwrap();
    assert_eq!(rows, written[1..]);
}

#[tokio::test]
async fn sqlite_store_has_no_shards() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("sqlite:{}", folder.path().join("a.db").display());
    let store = store::open(&address).await.unwrap();
    assert!(store.shard_leases(FLEET).is_none());
}
