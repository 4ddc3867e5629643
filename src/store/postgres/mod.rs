//! The store in `PostgreSQL`: for any number of replicas. Lanes are claimed with `FOR UPDATE SKIP LOCKED`, one process at a time.

mod accept;
mod arrived;
mod claim;
mod claimant;
mod connection;
mod housekeeping;
mod listing;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::group_commit::{Op, Reply, Writer};
use super::lane::place;
use super::{
    Accepted, Backlog, Claimed, DeadLetter, DeniedMessage, Inbox, LaneWrite, Listing, Page,
    Retention, SessionSummary, Store, StoreError, StoreOptions, WaitingMessage, Wake, Want,
    Written,
};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::telegram::RawUpdate;

use connection::{Connection, explain};
use housekeeping::PRUNED_AT_ONCE;

/// The store in a database.
pub(super) struct PostgresStore {
    writer: Writer,
    readers: PgPool,
    wake: Arc<Wake>,
}

/// Connects and makes or upgrades the tables. `address` may hold a password and is never shown.
pub(super) async fn open(
    address: &str,
    options: StoreOptions,
) -> Result<PostgresStore, StoreError> {
    let invalid = |what: &str, error: &dyn std::fmt::Display| {
        StoreError::Invalid(format!(
            "--store postgres://…: {what}: {error}. Expected postgres://USER:PASSWORD@HOST:PORT/DATABASE of a database that this user may create tables in"
        ))
    };
    let connect: PgConnectOptions = address
        .parse()
        .map_err(|_| invalid("the address cannot be read", &"not a PostgreSQL URL"))?;
    let connect = connect
        .application_name("telegram-connector-operator")
        .disable_statement_logging();
    let mut first = connect
        .connect()
        .await
        .map_err(|e| invalid("no connection", &e))?;
    sqlx::migrate!("src/store/postgres/migrations")
        .run(&mut first)
        .await
        .map_err(|e| invalid("the tables cannot be made or upgraded", &e))?;
    let backlog = accept::BacklogCount::load(&mut first)
        .await
        .map_err(|e| invalid("it cannot be read", &e))?;
    let readers = PgPoolOptions::new()
        .min_connections(0)
        .max_connections(2)
        .idle_timeout(Duration::from_mins(1))
        .connect_lazy_with(connect.clone());
    let metrics = options.metrics.clone();
    Ok(PostgresStore {
        writer: Writer::start(Connection::new(connect, first, backlog, options), metrics),
        readers,
        wake: Arc::default(),
    })
}

/// A reply of another kind than the write's would be a fault of this module.
macro_rules! reply {
    ($call:expr, $pattern:pat => $value:expr) => {
        match $call? {
            $pattern => Ok($value),
            _ => unreachable!("the writer answers each operation in kind"),
        }
    };
}

#[async_trait]
impl Inbox for PostgresStore {
    async fn accept(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        updates: Vec<RawUpdate>,
    ) -> Result<Accepted, StoreError> {
        if updates.is_empty() {
            return Ok(Accepted { new: 0, known: 0 });
        }
        let updates = updates
            .into_iter()
            .map(|u| {
                let place = place(u.json.get());
                (u, place)
            })
            .collect();
        let op = Op::Accept {
            connector: connector.clone(),
            bot,
            updates,
        };
        let accepted = reply!(self.writer.call(op).await, Reply::Accepted(a) => a)?;
        if accepted.new > 0 {
            self.wake.wake(connector);
        }
        Ok(accepted)
    }

    async fn forget(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Forget(connector.clone())).await, Reply::Done => ())
    }

    async fn connectors(&self) -> Result<Vec<ConnectorRef>, StoreError> {
        listing::connectors(&self.readers)
            .await
            .map_err(|e| explain(&e))
    }

    async fn writable(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::Probe).await, Reply::Done => ())
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn wake(&self) -> Arc<Wake> {
        self.wake.clone()
    }

    async fn claim(&self, wants: Vec<Want>) -> Result<Claimed, StoreError> {
        reply!(self.writer.call(Op::Claim(wants)).await, Reply::Claimed(c) => c)
    }

    async fn write(&self, write: LaneWrite) -> Result<Written, StoreError> {
        reply!(self.writer.call(Op::Write(write)).await, Reply::Written(w) => w)
    }

    async fn arrived(&self, lanes: &[i64]) -> Result<Vec<(i64, Vec<WaitingMessage>)>, StoreError> {
        arrived::arrived(&self.readers, lanes)
            .await
            .map_err(|e| explain(&e))
    }

    async fn keep_claims(&self) -> Result<Vec<(ConnectorUid, Timestamp)>, StoreError> {
        reply!(self.writer.call(Op::KeepClaims).await, Reply::Waiting(w) => w)
    }

    async fn release_claims(&self) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReleaseClaims).await, Reply::Done => ())
    }

    async fn ready_now(&self, connector: &ConnectorUid) -> Result<(), StoreError> {
        reply!(self.writer.call(Op::ReadyNow(connector.clone())).await, Reply::Done => ())
    }

    async fn backlog(&self) -> Result<Vec<Backlog>, StoreError> {
        listing::backlog(&self.readers)
            .await
            .map_err(|e| explain(&e))
    }

    async fn bury_other_bots(
        &self,
        connector: &ConnectorUid,
        bot: BotId,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let op = Op::BuryOtherBots {
            connector: connector.clone(),
            bot,
            before,
        };
        reply!(self.writer.call(op).await, Reply::Count(n) => n)
    }

    async fn prune(&self, retention: Retention) -> Result<bool, StoreError> {
        let more = reply!(self.writer.call(Op::Prune(retention)).await, Reply::More(more) => more)?;
        let idle = listing::idle_lanes(&self.readers, PRUNED_AT_ONCE)
            .await
            .map_err(|e| explain(&e))?;
        if idle.is_empty() {
            return Ok(more);
        }
        let found = idle.len() as u64;
        let removed = reply!(self.writer.call(Op::PruneLanes(idle)).await, Reply::Count(n) => n)?;
        // Those that came back to life meanwhile are no reason to look again at once.
        Ok(more || (removed == found && found >= PRUNED_AT_ONCE.unsigned_abs()))
    }

    async fn denied(&self, listing: &Listing) -> Result<Page<DeniedMessage>, StoreError> {
        listing::denied(&self.readers, listing)
            .await
            .map_err(|e| explain(&e))
    }

    async fn sessions(&self, listing: &Listing) -> Result<Page<SessionSummary>, StoreError> {
        listing::sessions(&self.readers, listing)
            .await
            .map_err(|e| explain(&e))
    }

    async fn dead_letters(&self, listing: &Listing) -> Result<Page<DeadLetter>, StoreError> {
        listing::dead_letters(&self.readers, listing)
            .await
            .map_err(|e| explain(&e))
    }

    async fn retry_dead_letters(&self, ids: &[i64]) -> Result<u64, StoreError> {
        reply!(self.writer.call(Op::Retry(ids.to_vec())).await, Reply::Count(n) => n)
    }
}
