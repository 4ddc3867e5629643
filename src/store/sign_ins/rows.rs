//! How the statements of sign-ins are run: each database says it by [`Statements`], and what is done with them is the same on both.

use jiff::Timestamp;

use crate::store::reading::timestamp;

/// A value for a statement.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum Value<'a> {
    Number(i64),
    Text(Option<&'a str>),
    Bytes(Option<&'a [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(Some(bytes))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Timestamp> for Value<'_> {
    fn from(time: Timestamp) -> Self {
        Self::Number(time.as_millisecond())
    }
}

/// A column that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) enum Cell {
    Null,
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A row that was read. A column that is not what it should be was tampered with, and reads as nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Row(pub(in crate::store) Vec<Cell>);

impl Row {
    pub(super) fn number(&self, column: usize) -> i64 {
        match self.0.get(column) {
            Some(Cell::Number(number)) => *number,
            _ => 0,
        }
    }

    pub(super) fn text(&self, column: usize) -> Option<String> {
        match self.0.get(column) {
            Some(Cell::Text(text)) => Some(text.clone()),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, column: usize) -> Option<Vec<u8>> {
        match self.0.get(column) {
            Some(Cell::Bytes(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(super) fn time(&self, column: usize) -> Timestamp {
        timestamp(self.number(column))
    }

    pub(super) fn count(&self, column: usize) -> u32 {
        u32::try_from(self.number(column)).unwrap_or(0)
    }
}

/// Runs statements in the open transaction of a database.
pub(in crate::store) trait Statements {
    type Error;

    /// Keeps a denied message: its connector, sender and date, itself, the connector's namespace and name, when it is stored, and its chat.
    const DENY: &'static str;

    /// Runs it; how many rows it changed.
    async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, Self::Error>;

    /// Runs it and reads what it returns.
    async fn rows(
        &mut self,
        statement: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, Self::Error>;
}

/// The first row that a statement returns.
pub(super) async fn first<D: Statements>(
    db: &mut D,
    statement: &'static str,
    values: &[Value<'_>],
) -> Result<Option<Row>, D::Error> {
    Ok(db.rows(statement, values).await?.into_iter().next())
}
