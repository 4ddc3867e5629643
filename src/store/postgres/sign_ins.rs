//! Sign-ins: how a statement of theirs is run here.

use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{Column as _, Row as _, TypeInfo as _};

use super::connection::Connection;
use crate::store::sign_ins::rows::{Cell, Row, Statements, Value};
use crate::store::sign_ins::transaction;
use crate::store::sign_ins::{SignInAnswer, SignInRequest};
use crate::store::{Change, HoldOutcome, LaneWrite};

/// Does what is asked about sign-ins.
pub(super) async fn apply(
    connection: &mut Connection,
    db: &mut PgConnection,
    request: &SignInRequest,
) -> Result<SignInAnswer, sqlx::Error> {
    let (now, lease) = (connection.now(), connection.options.lease);
    let applied = transaction::apply(&mut Transaction(db), request, lease, now).await?;
    if let Some((connector, messages)) = applied.put_back {
        connection.backlog.add(connector, messages);
    }
    Ok(applied.outcome)
}

/// Does what a write says about sign-ins: what became of its message, if one is to wait.
pub(super) async fn apply_write(
    connection: &mut Connection,
    db: &mut PgConnection,
    write: &LaneWrite,
    now: i64,
) -> Result<Option<HoldOutcome>, sqlx::Error> {
    let claim = write.claim;
    let mut held = None;
    for change in &write.changes {
        match change {
            Change::HoldForSignIn(message) => {
                let place = (claim.connector, claim.lane);
                let (outcome, left) =
                    transaction::hold(&mut Transaction(db), place, message, now).await?;
                connection.backlog.remove(claim.connector, left);
                held = Some(outcome);
            }
            Change::SignOut { user } => {
                let db = &mut Transaction(db);
                transaction::sign_out(db, claim.connector, *user, now).await?;
            }
            _ => {}
        }
    }
    Ok(held)
}

/// The open transaction.
struct Transaction<'a>(&'a mut PgConnection);

impl Statements for Transaction<'_> {
    type Error = sqlx::Error;

    const DENY: &'static str = "INSERT INTO denied (connector, sender, at, message, namespace, name, stored_at, chat) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

    async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, sqlx::Error> {
        let done = bind(statement, values).execute(&mut *self.0).await?;
        Ok(done.rows_affected())
    }

    async fn rows(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, sqlx::Error> {
        let rows = bind(statement, values).fetch_all(&mut *self.0).await?;
        rows.iter().map(read).collect()
    }
}

fn bind<'q>(statement: &'static str, values: &[Value<'q>]) -> Query<'q, Postgres, PgArguments> {
    let mut query = sqlx::query(statement);
    for value in values {
        query = match *value {
            Value::Number(number) => query.bind(number),
            Value::Text(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
        };
    }
    query
}

fn read(row: &PgRow) -> Result<Row, sqlx::Error> {
    let cell = |(n, column): (usize, &sqlx::postgres::PgColumn)| {
        Ok(match column.type_info().name() {
            "INT8" => row
                .try_get::<Option<_>, _>(n)?
                .map_or(Cell::Null, Cell::Number),
            "TEXT" => row
                .try_get::<Option<_>, _>(n)?
                .map_or(Cell::Null, Cell::Text),
            "BYTEA" => row
                .try_get::<Option<_>, _>(n)?
                .map_or(Cell::Null, Cell::Bytes),
            _ => Cell::Null,
        })
    };
    row.columns()
        .iter()
        .enumerate()
        .map(cell)
        .collect::<Result<_, sqlx::Error>>()
        .map(Row)
}
