//! What has come into lanes that are in work: a read beside the writer, for whoever holds their claims.

use super::{Columns, Dialect, Readers, Value};
use crate::store::WaitingMessage;

/// The newest messages of a lane that are looked at.
const NEWEST: i64 = 16;

/// The newest messages that wait in these lanes, in order.
pub(in crate::store) async fn waiting_messages<R: Readers>(
    readers: &R,
    lanes: &[i64],
) -> Result<Vec<(i64, Vec<WaitingMessage>)>, sqlx::Error> {
    let lanes = serde_json::to_string(lanes).expect("numbers always serialize");
    let statement = format!(
        "SELECT i.lane, i.id, i.update_id, i.body, i.attempts, i.received_at, i.crashes {}
         ORDER BY i.lane, i.date, i.update_id",
        R::Dialect::NEWEST_OF_LANES
    );
    let values = [Value::Text(Some(&lanes)), Value::Number(NEWEST)];
    let mut by_lane: Vec<(i64, Vec<WaitingMessage>)> = Vec::new();
    for row in readers.fetch(statement, &values).await? {
        let lane = row.number(0);
        let message = WaitingMessage {
            id: row.number(1),
            update_id: row.number(2),
            json: row.text(3).to_owned(),
            attempts: row.count(4),
            received_at: row.time(5),
            crashes: row.count(6),
        };
        match by_lane.last_mut().filter(|(last, _)| *last == lane) {
            Some((_, messages)) => messages.push(message),
            None => by_lane.push((lane, vec![message])),
        }
    }
    Ok(by_lane)
}
