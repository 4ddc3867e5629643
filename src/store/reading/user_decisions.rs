//! Decisions of users, read beside the writer.

use super::{Columns, Readers, Value, timestamp};
use crate::store::UserDecision;
use crate::store::user_decisions::{COLUMNS, DecisionKind};

/// A connector's decision by its id, whatever its state.
pub(in crate::store) async fn user_decision(
    readers: &impl Readers,
    connector: i64,
    id: &str,
) -> Result<Option<UserDecision>, sqlx::Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM user_decision d LEFT JOIN lane l ON l.id = d.shown_lane WHERE d.connector = $1 AND d.id = $2"
    );
    let values = [Value::Number(connector), Value::Text(Some(id))];
    let found = readers.fetch(statement, &values).await?;
    found.first().map(read).transpose()
}

/// The open decisions of the lane that asked for them, oldest first.
pub(in crate::store) async fn open_user_decisions(
    readers: &impl Readers,
    lane: i64,
) -> Result<Vec<UserDecision>, sqlx::Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM user_decision d LEFT JOIN lane l ON l.id = d.shown_lane
         WHERE d.lane = $1 AND d.state = 0 ORDER BY d.opened_at, d.id"
    );
    let found = readers.fetch(statement, &[Value::Number(lane)]).await?;
    found.iter().map(read).collect()
}

fn read(row: &impl Columns) -> Result<UserDecision, sqlx::Error> {
    let taken = row.text_or_null(9).map(parse).transpose()?;
    Ok(UserDecision {
        id: row.text(0).to_owned(),
        kind: DecisionKind::from_code(row.number(1)),
        lane: row.number(2),
        session: row.number(3),
        shown_lane: row.number(4),
        shown_chat: row.number_or_null(5),
        message_id: row.number_or_null(6),
        expires_at: timestamp(row.number(7)),
        details: parse(row.text(8))?,
        taken,
    })
}

fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T, sqlx::Error> {
    serde_json::from_str(json).map_err(|e| sqlx::Error::Decode(e.into()))
}
