//! Sign-ins: how a statement of theirs is run here.

use futures::FutureExt as _;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection as Db, ToSql, params_from_iter};

use super::connection::Connection;
use crate::store::sign_ins::rows::{Cell, Row, Statements, Value};
use crate::store::sign_ins::transaction;
use crate::store::sign_ins::{HeldForSignIn, SignInAnswer, SignInRequest};
use crate::store::{Claim, HoldOutcome};

/// Does what is asked about sign-ins.
pub(super) fn apply(
    connection: &mut Connection,
    db: &Db,
    request: &SignInRequest,
) -> rusqlite::Result<SignInAnswer> {
    let (now, lease) = (connection.now(), connection.options.lease);
    let applied = run(transaction::apply(
        &mut Transaction(db),
        request,
        lease,
        now,
    ))?;
    if let Some((connector, messages)) = applied.put_back {
        connection.backlog.add(connector, messages);
    }
    Ok(applied.outcome)
}

/// Has a message wait for its sender's sign-in.
pub(super) fn hold(
    connection: &mut Connection,
    db: &Db,
    claim: Claim,
    held: &HeldForSignIn,
    now: i64,
) -> rusqlite::Result<HoldOutcome> {
    let place = (claim.connector, claim.lane);
    let (outcome, left) = run(transaction::hold(&mut Transaction(db), place, held, now))?;
    connection.backlog.remove(claim.connector, left);
    Ok(outcome)
}

/// Ends a person's membership.
pub(super) fn sign_out(db: &Db, connector: i64, user: i64, now: i64) -> rusqlite::Result<()> {
    run(transaction::sign_out(
        &mut Transaction(db),
        connector,
        user,
        now,
    ))
}

/// Nothing in it waits: this connection blocks.
fn run<T>(work: impl Future<Output = rusqlite::Result<T>>) -> rusqlite::Result<T> {
    work.now_or_never()
        .expect("a statement of this database is done when it returns")
}

/// The open transaction.
struct Transaction<'a>(&'a Db);

impl Statements for Transaction<'_> {
    type Error = rusqlite::Error;

    const DENY: &'static str = "INSERT INTO denied (connector, sender, at, message, namespace, name, stored_at, chat, revision)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT number FROM revision))";

    async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> rusqlite::Result<u64> {
        let mut statement = self.0.prepare_cached(statement)?;
        if statement.column_count() == 0 {
            return Ok(statement.execute(params_from_iter(values))? as u64);
        }
        let mut rows = statement.query(params_from_iter(values))?;
        let mut changed = 0;
        while rows.next()?.is_some() {
            changed += 1;
        }
        Ok(changed)
    }

    async fn rows(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> rusqlite::Result<Vec<Row>> {
        let mut statement = self.0.prepare_cached(statement)?;
        let columns = statement.column_count();
        let rows = statement.query_map(params_from_iter(values), |row| {
            let cells = (0..columns).map(|column| Ok(cell(row.get_ref(column)?)));
            cells.collect::<rusqlite::Result<_>>().map(Row)
        })?;
        rows.collect()
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Number(number) => ToSqlOutput::Owned(SqlValue::Integer(*number)),
            Self::Text(Some(text)) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Self::Bytes(Some(bytes)) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            Self::Text(None) | Self::Bytes(None) => ToSqlOutput::Owned(SqlValue::Null),
        })
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Integer(number) => Cell::Number(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
        ValueRef::Null | ValueRef::Real(_) => Cell::Null,
    }
}
