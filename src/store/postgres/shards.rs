//! The leases of shards in `PostgreSQL`. Renewals have a connection of their own, so that a lease is not lost behind a large batch; all times
//! are the database's, which all replicas share.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{ConnectOptions, Row};
use tokio::sync::Mutex;

use super::connection::{explain, rows};
use super::readers::ReadConnections;
use crate::identity::ConnectorUid;
use crate::store::StoreError;
use crate::store::shards::{
    FleetView, ObservationCursor, Replica, ReplicaId, SHARD_COUNT, Shard, ShardLeases,
    SharedObservation,
};

/// Observations in one statement: few enough that the shards' rows are not locked for long.
const OBSERVATIONS_PER_STATEMENT: usize = 1000;

/// A lease that ends later than any that is given now was given before the clock stepped back.
const PROLONG: &str = "UPDATE replica SET expires_at = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3
     WHERE fleet = $4 AND ((id = $1 AND name = $2) OR expires_at > (extract(epoch FROM clock_timestamp()) * 1000)::bigint + 2 * $3)
     RETURNING id";

const REGISTER: &str = "INSERT INTO replica (fleet, name, expires_at)
     VALUES ($1, $2, (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $3) RETURNING id";

const MAKE_SHARDS: &str =
    "INSERT INTO shard (fleet, number) SELECT $1, generate_series(0, $2) ON CONFLICT DO NOTHING";

/// What a fleet that is gone had observed says nothing of today.
const CLEAR_OLD_OBSERVATIONS: &str = "DELETE FROM observation WHERE fleet = $1 AND NOT EXISTS
     (SELECT 1 FROM replica WHERE fleet = $1 AND id <> $2 AND expires_at >= (extract(epoch FROM clock_timestamp()) * 1000)::bigint)";

const FLEET: &str =
    "SELECT r.id, r.expires_at - (extract(epoch FROM clock_timestamp()) * 1000)::bigint,
       coalesce(array_agg(s.number ORDER BY s.number) FILTER (WHERE s.number IS NOT NULL), '{}')
     FROM replica r LEFT JOIN shard s ON s.owner = r.id WHERE r.fleet = $1 GROUP BY r.id ORDER BY r.id";

const REMOVE_EXPIRED: &str = "DELETE FROM replica WHERE id IN
     (SELECT id FROM replica WHERE fleet = $2 AND id IS DISTINCT FROM $1
        AND expires_at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint FOR UPDATE SKIP LOCKED)
     RETURNING id";

const TAKE: &str = "UPDATE shard SET owner = r.id FROM (SELECT id FROM replica WHERE id = $1 AND name = $2 FOR SHARE) r
     WHERE fleet = $4 AND number = ANY($3) AND (owner IS NULL OR NOT EXISTS (SELECT 1 FROM replica other WHERE other.id = shard.owner))
     RETURNING number";

const WRITE_OBSERVATIONS: &str = "INSERT INTO observation (connector, fleet, shard, token_fingerprint, facts, changed_by)
     SELECT j.value->>0, s.fleet, s.number, (j.value->>2)::bigint, j.value->>3, txid_current()
     FROM json_array_elements($2::json) j(value) JOIN shard s ON s.number = (j.value->>1)::smallint AND s.owner = $1
     ORDER BY j.value->>0 FOR SHARE OF s
     ON CONFLICT (connector) DO UPDATE SET fleet = excluded.fleet, shard = excluded.shard, token_fingerprint = excluded.token_fingerprint,
       facts = excluded.facts, changed_by = excluded.changed_by
     WHERE (observation.fleet, observation.shard, observation.token_fingerprint, observation.facts)
       IS DISTINCT FROM (excluded.fleet, excluded.shard, excluded.token_fingerprint, excluded.facts)";

/// The row of this process.
#[derive(Clone)]
struct Registration {
    id: i64,
    name: String,
}

/// This process's side of the shards.
pub(super) struct PostgresShards {
    connect: PgConnectOptions,
    fleet: String,
    leases: Mutex<Leases>,
    /// For observations.
    readers: ReadConnections,
}

/// The connection of the leases, and what is registered over it.
#[derive(Default)]
struct Leases {
    /// None after a failure, and while a statement runs: one that is given up takes its connection along.
    open: Option<PgConnection>,
    registration: Option<Registration>,
}

impl PostgresShards {
    pub(super) fn new(connect: PgConnectOptions, readers: ReadConnections, fleet: &str) -> Self {
        Self {
            connect,
            fleet: fleet.to_owned(),
            leases: Mutex::default(),
            readers,
        }
    }

    /// The connection; what only prolongs a lease need not reach the disk.
    async fn connection(&self, leases: &mut Leases) -> Result<PgConnection, sqlx::Error> {
        if let Some(open) = leases.open.take() {
            return Ok(open);
        }
        let mut db = self.connect.connect().await?;
        sqlx::query("SET synchronous_commit = off")
            .execute(&mut db)
            .await?;
        Ok(db)
    }

    async fn prolong_or_register(
        &self,
        db: &mut PgConnection,
        registered: Option<&Registration>,
        lease: i64,
    ) -> Result<Registration, sqlx::Error> {
        if let Some(own) = registered {
            let prolonged: Vec<i64> = sqlx::query_scalar(PROLONG)
                .bind(own.id)
                .bind(&own.name)
                .bind(lease)
                .bind(&self.fleet)
                .fetch_all(&mut *db)
                .await?;
            if prolonged.contains(&own.id) {
                return Ok(own.clone());
            }
        }
        let name = format!("{:032x}", rand::random::<u128>());
        let id: i64 = sqlx::query_scalar(REGISTER)
            .bind(&self.fleet)
            .bind(&name)
            .bind(lease)
            .fetch_one(&mut *db)
            .await?;
        sqlx::query(CLEAR_OLD_OBSERVATIONS)
            .bind(&self.fleet)
            .bind(id)
            .execute(&mut *db)
            .await?;
        sqlx::query(MAKE_SHARDS)
            .bind(&self.fleet)
            .bind(i32::from(SHARD_COUNT) - 1)
            .execute(db)
            .await?;
        Ok(Registration { id, name })
    }

    async fn own_id(&self) -> Option<i64> {
        let leases = self.leases.lock().await;
        leases.registration.as_ref().map(|own| own.id)
    }
}

#[async_trait]
impl ShardLeases for PostgresShards {
    async fn renew(&self, lease: Duration) -> Result<FleetView, StoreError> {
        let mut leases = self.leases.lock().await;
        let leases = &mut *leases;
        let renewed = async {
            let mut db = self.connection(leases).await?;
            let lease = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 4);
            let own = self
                .prolong_or_register(&mut db, leases.registration.as_ref(), lease)
                .await?;
            let found = sqlx::query(FLEET)
                .bind(&self.fleet)
                .fetch_all(&mut db)
                .await?;
            let view = FleetView {
                own_id: ReplicaId(own.id),
                replicas: found.iter().map(replica).collect(),
            };
            leases.registration = Some(own);
            leases.open = Some(db);
            Ok(view)
        };
        renewed.await.map_err(|e| explain(&e))
    }

    async fn remove_expired(&self) -> Result<bool, StoreError> {
        let mut leases = self.leases.lock().await;
        let leases = &mut *leases;
        let removed = async {
            let mut db = self.connection(leases).await?;
            begin_durable(&mut db).await?;
            let own = leases.registration.as_ref().map(|own| own.id);
            let gone: Vec<i64> = sqlx::query_scalar(REMOVE_EXPIRED)
                .bind(own)
                .bind(&self.fleet)
                .fetch_all(&mut db)
                .await?;
            sqlx::query("UPDATE shard SET owner = NULL WHERE owner = ANY($1)")
                .bind(&gone)
                .execute(&mut db)
                .await?;
            commit(&mut db).await?;
            leases.open = Some(db);
            Ok(!gone.is_empty())
        };
        removed.await.map_err(|e| explain(&e))
    }

    async fn take(&self, shards: &[Shard]) -> Result<Vec<Shard>, StoreError> {
        let mut leases = self.leases.lock().await;
        let leases = &mut *leases;
        let Some(own) = leases.registration.clone() else {
            return Ok(Vec::new());
        };
        let taken = async {
            let mut db = self.connection(leases).await?;
            begin_durable(&mut db).await?;
            let taken: Vec<i16> = sqlx::query_scalar(TAKE)
                .bind(own.id)
                .bind(own.name)
                .bind(numbers(shards))
                .bind(&self.fleet)
                .fetch_all(&mut db)
                .await?;
            commit(&mut db).await?;
            leases.open = Some(db);
            Ok(taken.into_iter().map(shard).collect())
        };
        taken.await.map_err(|e| explain(&e))
    }

    async fn release(&self, shards: &[Shard]) -> Result<(), StoreError> {
        let mut leases = self.leases.lock().await;
        let leases = &mut *leases;
        let released = async {
            let mut db = self.connection(leases).await?;
            begin_durable(&mut db).await?;
            sqlx::query("UPDATE shard SET owner = NULL WHERE owner = $1 AND number = ANY($2)")
                .bind(leases.registration.as_ref().map(|own| own.id))
                .bind(numbers(shards))
                .execute(&mut db)
                .await?;
            commit(&mut db).await?;
            leases.open = Some(db);
            Ok(())
        };
        released.await.map_err(|e| explain(&e))
    }

    async fn leave(&self) -> Result<(), StoreError> {
        let mut leases = self.leases.lock().await;
        let leases = &mut *leases;
        let Some(own) = leases.registration.clone() else {
            return Ok(());
        };
        let left = async {
            let mut db = self.connection(leases).await?;
            begin_durable(&mut db).await?;
            sqlx::query("UPDATE shard SET owner = NULL WHERE owner = $1")
                .bind(own.id)
                .execute(&mut db)
                .await?;
            sqlx::query("DELETE FROM replica WHERE id = $1 AND name = $2")
                .bind(own.id)
                .bind(own.name)
                .execute(&mut db)
                .await?;
            commit(&mut db).await?;
            leases.registration = None;
            leases.open = Some(db);
            Ok(())
        };
        left.await.map_err(|e| explain(&e))
    }

    async fn write_observations(&self, observed: &[SharedObservation]) -> Result<(), StoreError> {
        let Some(own) = self.own_id().await else {
            return Ok(());
        };
        for observed in observed.chunks(OBSERVATIONS_PER_STATEMENT) {
            let values: Vec<_> = observed
                .iter()
                .map(|o| {
                    let connector = o.connector.as_str();
                    (connector, o.shard.0, o.token_fingerprint, &o.facts)
                })
                .collect();
            let written = self.readers.within_limit(async {
                let mut db = self.readers.lend().await?;
                let write = sqlx::query(WRITE_OBSERVATIONS).bind(own);
                write.bind(rows(&values)).execute(&mut *db).await?;
                db.give_back();
                Ok(())
            });
            written.await.map_err(|e| explain(&e))?;
        }
        Ok(())
    }

    async fn observations_since(
        &self,
        cursor: ObservationCursor,
    ) -> Result<(Vec<SharedObservation>, ObservationCursor), StoreError> {
        let read = async {
            let mut db = self.readers.lend().await?;
            // Whatever is under way now is looked at again: it may commit after the next statement has looked.
            let next: i64 =
                sqlx::query_scalar("SELECT txid_snapshot_xmin(txid_current_snapshot())")
                    .fetch_one(&mut *db)
                    .await?;
            let found = sqlx::query(
                "SELECT connector, shard, token_fingerprint, facts FROM observation WHERE fleet = $1 AND changed_by >= $2",
            )
            .bind(&self.fleet)
            .bind(cursor.0)
            .fetch_all(&mut *db)
            .await?;
            db.give_back();
            Ok((
                found.iter().map(observation).collect(),
                ObservationCursor(next),
            ))
        };
        let read = self.readers.within_limit(read).await;
        read.map_err(|e| explain(&e))
    }
}

/// Begins a transaction that moves shards: its commit reaches the disk.
async fn begin_durable(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN").execute(&mut *db).await?;
    sqlx::query("SET LOCAL synchronous_commit TO DEFAULT")
        .execute(db)
        .await
        .map(drop)
}

async fn commit(db: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("COMMIT").execute(db).await.map(drop)
}

fn numbers(shards: &[Shard]) -> Vec<i16> {
    let numbers = shards.iter().map(|shard| shard.0.cast_signed());
    numbers.collect()
}

fn shard(number: i16) -> Shard {
    Shard(number.cast_unsigned())
}

fn replica(row: &PgRow) -> Replica {
    let left: i64 = row.get(1);
    Replica {
        id: ReplicaId(row.get(0)),
        expires_in: u64::try_from(left).ok().map(Duration::from_millis),
        shards: row.get::<Vec<i16>, _>(2).into_iter().map(shard).collect(),
    }
}

fn observation(row: &PgRow) -> SharedObservation {
    SharedObservation {
        connector: ConnectorUid::from(row.get::<&str, _>(0)),
        shard: shard(row.get(1)),
        token_fingerprint: row.get(2),
        facts: row.get(3),
    }
}
