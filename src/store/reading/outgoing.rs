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
    find(readers, "o.id = $1", &values).await
}

/// A message by its name.
pub(in crate::store) async fn by_name(
    readers: &impl Readers,
    namespace: &str,
    name: &str,
) -> Result<Option<OutgoingMessage>, sqlx::Error> {
    let values = [Value::Text(Some(namespace)), Value::Text(Some(name))];
    find(readers, "o.namespace = $1 AND o.name = $2", &values).await
}

async fn find(
    readers: &impl Readers,
    which: &str,
    values: &[Value<'_>],
) -> Result<Option<OutgoingMessage>, sqlx::Error> {
    let statement = format!(
        "SELECT {COLUMNS} FROM outgoing_message o JOIN connector c ON c.id = o.connector WHERE {which}"
    );
    let found = readers.fetch(statement, values).await?;
    Ok(found.first().map(read))
}

/// Reads [`COLUMNS`].
pub(super) fn read(row: &impl Columns) -> OutgoingMessage {
    let ids = row.text(18).split(',');
    OutgoingMessage {
        id: row.number(0),
        connector: ConnectorRef {
            namespace: row.text(2).into(),
            name: row.text_or_null(3).unwrap_or_default().into(),
            uid: ConnectorUid::from(row.text_or_null(4).unwrap_or_default()),
        },
        created_at: row.time(5),
        revision: row.number(6),
        name: row.text(7).to_owned(),
        bot: BotId(row.number(8)),
        chat: row.number(9),
        topic: row.number(10),
        user: Some(row.number(11)).filter(|user| *user != 0),
        idempotency_key: row.text_or_null(12).map(str::to_owned),
        text: row.text(13).to_owned(),
        silent: row.number(14) != 0,
        phase: OutgoingPhase::from_code(row.number(15)),
        reason: row.text_or_null(16).map(str::to_owned),
        ambiguous: row.number(17) != 0,
        message_ids: ids.filter_map(|id| id.parse().ok()).collect(),
        finished_at: row.number_or_null(19).map(timestamp),
    }
}
