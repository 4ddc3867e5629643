//! Reads beside the writer: the same statements on both databases, with `$1`, `$2`… for values, which either understands.

pub(super) mod access;
pub(super) mod listing;
pub(super) mod objects;
pub(super) mod outgoing;
pub(super) mod sign_ins;
pub(super) mod user_decisions;
pub(super) mod waiting_messages;

use std::future::Future;

use jiff::Timestamp;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Encode, Executor, IntoArguments, Pool, Row, Type};

use crate::history::{ChatMessage, Role};

/// What a database says in its own words.
pub(super) trait Dialect: sqlx::Database {
    /// An expression: the exchanges of session `s`, newest first, as a JSON array of pairs.
    const EXCHANGES: &'static str;
    /// The beginning of a query: the lanes of the JSON array `$1` as `j`, each joined with its `$2` newest messages as `i`.
    const NEWEST_OF_LANES: &'static str;
    /// Whether several processes work on it.
    const SHARED: bool;
    /// Joins with a table that is to be looked into after those before it, where the planner has no statistics of its own.
    const JOIN_IN_ORDER: &'static str;
    /// Stands before a column whose index is not to be used, where the planner has no statistics of its own.
    const NO_INDEX: &'static str;
    /// An expression over the table `revision`: everything up to it can be read.
    const COMPLETE_TO: &'static str;
}

/// A value for a statement.
pub(super) enum Value<'a> {
    Number(i64),
    Text(Option<&'a str>),
    Flag(bool),
}

/// Connections that only read.
pub(super) trait Readers: Send + Sync + 'static {
    /// A row that was read.
    type Row: Columns;
    /// What is its own of this database.
    type Dialect: Dialect;

    /// Whether several processes work on it.
    fn is_shared(&self) -> bool {
        Self::Dialect::SHARED
    }

    /// All rows. The statement is ours alone; what others wrote comes as `values`.
    fn fetch(
        &self,
        statement: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<Self::Row>, sqlx::Error>> + Send;
}

impl<DB: Dialect> Readers for Pool<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    DB::Row: Columns,
    for<'v> i64: Encode<'v, DB> + Type<DB>,
    for<'v> bool: Encode<'v, DB> + Type<DB>,
    for<'v> Option<&'v str>: Encode<'v, DB> + Type<DB>,
{
    type Row = DB::Row;
    type Dialect = DB;

    fn fetch(
        &self,
        statement: String,
        values: &[Value<'_>],
    ) -> impl Future<Output = Result<Vec<DB::Row>, sqlx::Error>> + Send {
        query::<DB>(statement, values).fetch_all(self)
    }
}

/// A statement of ours with its values.
pub(super) fn query<'v, DB: Dialect>(
    statement: String,
    values: &[Value<'v>],
) -> Query<'v, DB, DB::Arguments>
where
    i64: Encode<'v, DB> + Type<DB>,
    bool: Encode<'v, DB> + Type<DB>,
    Option<&'v str>: Encode<'v, DB> + Type<DB>,
{
    let mut query = sqlx::query::<DB>(AssertSqlSafe(statement));
    for value in values {
        query = match value {
            Value::Number(number) => query.bind(*number),
            Value::Text(text) => query.bind(*text),
            Value::Flag(flag) => query.bind(*flag),
        };
    }
    query
}

/// The columns of a row, by their number.
pub(super) trait Columns: Send {
    fn number(&self, column: usize) -> i64;
    fn number_or_null(&self, column: usize) -> Option<i64>;
    fn text(&self, column: usize) -> &str;
    fn text_or_null(&self, column: usize) -> Option<&str>;
    fn flag(&self, column: usize) -> bool;
    fn bytes(&self, column: usize) -> &[u8];

    fn count(&self, column: usize) -> u32 {
        count(self.number(column))
    }

    fn time(&self, column: usize) -> Timestamp {
        timestamp(self.number(column))
    }
}

impl<R: Row> Columns for R
where
    usize: ColumnIndex<R>,
    for<'r> i64: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> bool: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r str: Decode<'r, R::Database> + Type<R::Database>,
    for<'r> &'r [u8]: Decode<'r, R::Database> + Type<R::Database>,
{
    fn number(&self, column: usize) -> i64 {
        self.get(column)
    }

    fn number_or_null(&self, column: usize) -> Option<i64> {
        self.get(column)
    }

    fn text(&self, column: usize) -> &str {
        self.get(column)
    }

    fn text_or_null(&self, column: usize) -> Option<&str> {
        self.get(column)
    }

    fn flag(&self, column: usize) -> bool {
        self.get(column)
    }

    fn bytes(&self, column: usize) -> &[u8] {
        self.get(column)
    }
}

/// A small count as the store keeps it; a row that was tampered with reads as none.
pub(super) fn count(stored: i64) -> u32 {
    u32::try_from(stored).unwrap_or(0)
}

/// A time as the store keeps it; a row that was tampered with reads as the epoch.
pub(super) fn timestamp(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Exchanges come newest first; they are told oldest first.
pub(super) fn history(newest_first: Option<&str>) -> Vec<ChatMessage> {
    let exchanges: Vec<(String, String)> = newest_first
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    let turns = exchanges.into_iter().rev().map(|(asked, answered)| {
        [(Role::User, asked), (Role::Assistant, answered)]
            .map(|(role, text)| ChatMessage { role, text })
    });
    turns.flatten().collect()
}
