//! The one connection that writes: a batch per transaction, and a new connection after any failure.

use std::collections::HashMap;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Row};
use tokio::time::timeout;

use super::accept::{self, BacklogCount};
use super::claimant::Claimant;
use super::{claim, day_usage, housekeeping, write};
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::group_commit::Backend;
use crate::store::requests::StoreRequest;
use crate::store::{StoreError, StoreOptions};

/// The writing connection with what it remembers between batches.
pub(super) struct Connection {
    connect: PgConnectOptions,
    open: Option<PgConnection>,
    pub(super) options: StoreOptions,
    pub(super) backlog: BacklogCount,
    pub(super) connectors: ConnectorIds,
    pub(super) claimant: Claimant,
}

/// Begins a transaction beside those of other processes, and one that none of them writes beside: what is erased there no write of theirs, begun
/// before, brings back.
const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock_shared(6073455146)";
const BEGIN_ALONE: &str = "BEGIN; SELECT pg_advisory_xact_lock(6073455146)";

/// How often a batch is tried again that collided with another process's (deadlock, serialization).
const COLLISIONS: u32 = 5;

impl Connection {
    pub(super) fn new(
        connect: PgConnectOptions,
        first: PgConnection,
        backlog: BacklogCount,
        options: StoreOptions,
    ) -> Self {
        Self {
            connect,
            open: Some(first),
            options,
            backlog,
            connectors: ConnectorIds::default(),
            claimant: Claimant::default(),
        }
    }

    pub(super) fn now(&self) -> i64 {
        self.options.clock.now().as_millisecond()
    }

    /// A new connection, over which is counted what waits: what was counted may rest on what was never committed.
    async fn reconnect(&mut self) -> Result<PgConnection, StoreError> {
        let mut db = self.connect.connect().await.map_err(|e| explain(&e))?;
        self.backlog = BacklogCount::load(&mut db).await.map_err(|e| explain(&e))?;
        Ok(db)
    }

    async fn transaction(
        &mut self,
        db: &mut PgConnection,
        requests: &mut [StoreRequest],
    ) -> Result<(), sqlx::Error> {
        let begin = if requests.iter().any(StoreRequest::excludes_others) {
            BEGIN_ALONE
        } else {
            BEGIN
        };
        sqlx::raw_sql(begin).execute(&mut *db).await?;
        if !requests.iter().any(StoreRequest::must_be_durable) {
            sqlx::query("SET LOCAL synchronous_commit = off")
                .execute(&mut *db)
                .await?;
        }
        day_usage::lock(db, requests).await?;
        accept::apply_accepts(self, db, requests).await?;
        write::apply_lane_writes(self, db, requests).await?;
        housekeeping::apply_requests(self, db, requests).await?;
        claim::apply_claims(self, db, requests).await?;
        sqlx::query("COMMIT").execute(&mut *db).await?;
        Ok(())
    }
}

impl Backend for Connection {
    async fn commit(&mut self, requests: &mut [StoreRequest]) -> Result<(), StoreError> {
        let mut collisions = 0;
        loop {
            let limit = self.options.answer_timeout;
            let mut db = match self.open.take() {
                Some(db) => db,
                None => timeout(limit, self.reconnect())
                    .await
                    .unwrap_or_else(|_| Err(unanswered()))?,
            };
            // The connection goes with a batch that is given up, and with the connection whatever the server has of it.
            let done = timeout(limit, self.transaction(&mut db, requests)).await;
            let error = match done {
                Ok(Ok(())) => {
                    self.open = Some(db);
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    self.connectors = ConnectorIds::default();
                    return Err(unanswered());
                }
            };
            // What was remembered may rest on what was rolled back.
            self.connectors = ConnectorIds::default();
            let rolled_back = timeout(limit, async {
                sqlx::query("ROLLBACK").execute(&mut db).await?;
                BacklogCount::load(&mut db).await
            });
            if let Ok(Ok(counted)) = rolled_back.await {
                self.backlog = counted;
                self.open = Some(db);
            }
            if collisions < COLLISIONS && is_collision(&error) {
                collisions += 1;
                continue;
            }
            return Err(explain(&error));
        }
    }
}

/// A server that is frozen or whose host is gone says nothing, and the system tells of it after a quarter of an hour.
pub(super) fn unanswered() -> StoreError {
    StoreError::Unavailable(
        "the PostgreSQL server does not answer in time: see that it runs and is not overloaded, and that the network lets this process reach it; \
         it is asked again"
            .into(),
    )
}

/// `query_canceled`: what a statement may take is over (`PostgreSQL`, appendix A).
const CANCELED: &str = "57014";

/// Deadlock or serialization failure: the same again may succeed.
fn is_collision(error: &sqlx::Error) -> bool {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(code.as_deref(), Some("40001" | "40P01"))
}

/// The numbers of connectors, remembered.
#[derive(Default)]
pub(super) struct ConnectorIds(HashMap<ConnectorUid, CachedConnector>);

struct CachedConnector {
    id: i64,
    stored_name: Option<ConnectorRef>,
}

impl ConnectorIds {
    /// The number of a connector, new ones being entered.
    pub(super) async fn id(
        &mut self,
        db: &mut PgConnection,
        uid: &ConnectorUid,
    ) -> Result<i64, sqlx::Error> {
        if let Some(known) = self.0.get(uid) {
            return Ok(known.id);
        }
        let row = sqlx::query(
            "INSERT INTO connector (uid) VALUES ($1) ON CONFLICT (uid) DO UPDATE SET uid = excluded.uid RETURNING id",
        )
        .bind(uid.as_str())
        .fetch_one(db)
        .await?;
        let id = row.get(0);
        self.0.insert(
            uid.clone(),
            CachedConnector {
                id,
                stored_name: None,
            },
        );
        Ok(id)
    }

    /// Has the name of a connector written down again when it is next told.
    pub(super) fn forget_name(&mut self, uid: &ConnectorUid) {
        if let Some(known) = self.0.get_mut(uid) {
            known.stored_name = None;
        }
    }

    /// The number of a connector whose name is known: it is written down for the listings, and that no other connector has the name now.
    pub(super) async fn id_of_named(
        &mut self,
        db: &mut PgConnection,
        connector: &ConnectorRef,
    ) -> Result<i64, sqlx::Error> {
        let id = self.id(db, &connector.uid).await?;
        if let Some(known) = self.0.get_mut(&connector.uid)
            && known.stored_name.as_ref() != Some(connector)
        {
            for statement in [
                "UPDATE connector SET namespace = $2, name = $3, superseded = 0
                 WHERE id = $1 AND (namespace, name, superseded) IS DISTINCT FROM ($2, $3, 0)",
                "UPDATE connector SET superseded = 1 WHERE namespace = $2 AND name = $3 AND id <> $1 AND superseded = 0",
            ] {
                sqlx::query(statement)
                    .bind(id)
                    .bind(&*connector.namespace)
                    .bind(&*connector.name)
                    .execute(&mut *db)
                    .await?;
            }
            known.stored_name = Some(connector.clone());
        }
        Ok(id)
    }
}

/// Says what is wrong and what to do; never with the address, which may hold a password.
pub(super) fn explain(error: &sqlx::Error) -> StoreError {
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    if matches!(error, sqlx::Error::PoolTimedOut) || code.as_deref() == Some(CANCELED) {
        return unanswered();
    }
    // The first two characters are the class (PostgreSQL, appendix A).
    match code.as_deref().map(|c| c.get(..2).unwrap_or_default()) {
        Some("53") => StoreError::Unavailable(format!(
            "PostgreSQL: {error}: free disk space, memory or connections there"
        )),
        Some("08" | "25" | "40" | "55" | "57" | "58") | None => StoreError::Unavailable(format!(
            "PostgreSQL: {error}: it is tried again with the next write"
        )),
        Some(_) => StoreError::Invalid(format!("PostgreSQL: {error}")),
    }
}

/// Rows as one JSON array: one statement and one parameter however many rows there are. `PostgreSQL`'s text holds no NUL, so it is
/// left out.
pub(super) fn rows<T: serde::Serialize>(rows: &[T]) -> String {
    let json = serde_json::to_string(rows).expect("numbers and strings always serialize");
    if !json.contains("\\u0000") {
        return json;
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        // An escape is a backslash with one character, or with u and four digits.
        let length = if rest[at + 1..].starts_with('u') {
            6
        } else {
            2
        };
        let escape = &rest[at..at + length];
        if escape != "\\u0000" {
            out.push_str(escape);
        }
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::rows;

    #[test]
    fn nul_is_dropped_and_its_escaped_spelling_is_kept() {
        assert_eq!(
            rows(&["a\0b", "\\u0000", "\\\0é"]),
            r#"["ab","\\u0000","\\é"]"#
        );
    }
}
