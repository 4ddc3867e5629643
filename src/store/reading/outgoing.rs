//! Outgoing messages, read beside the writer.

use super::{Columns, Readers, Value, timestamp};
use crate::identity::{BotId, ConnectorRef, ConnectorUid};
use crate::store::OutgoingMessage;
use crate::store::outgoing::{COLUMNS, OutgoingPhase};

/// A message by the store's number.
pub(in crate::store) async fn by_id(
    readers: &impl Readers,
    id: i64,
) -> Result<Option<OutgoingMessage>, sqlx::Error> {
    let values = [Value::Number(id)];
    find(readers, "m.id = $1", &values).await
}

/// A message by its name.
pub(in crate::store) async fn by_name(
    readers: &impl Readers,
    namespace: &str,
    name: &str,
) -> Result<Option<OutgoingMessage>, sqlx::Error> {
    let values = [Value::Text(Some(namespace)), Value::Text(Some(name))];
    find(readers, "m.namespace = $1 AND m.name = $2", &values).await
}

async fn find(
    readers: &impl Readers,
    which: &str,
    values: &[Value<'_>],
) -> Result<Option<OutgoingMessage>, sqlx::Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM outgoing_message m JOIN connector c ON c.id = m.connector WHERE {which}"
    );
    let found = readers.fetch(statement, values).await?;
    Ok(found.first().map(read))
}

/// A message from its [`COLUMNS`].
pub(in crate::store) fn read(row: &impl Columns) -> OutgoingMessage {
    let ids = row.text(16).split(',');
    OutgoingMessage {
        id: row.number(0),
        connector: ConnectorRef {
            uid: ConnectorUid::from(row.text(1)),
            namespace: row.text(2).into(),
            name: row.text(3).into(),
        },
        name: row.text(4).to_owned(),
        bot: BotId(row.number(5)),
        chat: row.number(6),
        topic: row.number(7),
        user: Some(row.number(8)).filter(|user| *user != 0),
        idempotency_key: row.text_or_null(9).map(str::to_owned),
        text: row.text(10).to_owned(),
        silent: row.number(11) != 0,
        created_at: row.time(12),
        phase: OutgoingPhase::from_code(row.number(13)),
        reason: row.text_or_null(14).map(str::to_owned),
        ambiguous: row.number(15) != 0,
        message_ids: ids.filter_map(|id| id.parse().ok()).collect(),
        finished_at: row.number_or_null(17).map(timestamp),
    }
}
