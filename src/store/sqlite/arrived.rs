//! What has come into lanes that are in work: a read beside the writer, for whoever holds their claims.

use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use super::connection::timestamp;
use crate::store::WaitingMessage;

/// The newest messages of a lane that are looked at.
const NEWEST: i64 = 16;

/// The newest messages that wait in these lanes, in order.
pub(super) async fn arrived(
    readers: &SqlitePool,
    lanes: &[i64],
) -> Result<Vec<(i64, Vec<WaitingMessage>)>, sqlx::Error> {
    let found = sqlx::query(
        "SELECT i.lane, i.id, i.update_id, i.body, i.attempts, i.received_at
         FROM json_each(?1) j CROSS JOIN inbox i ON i.id IN
           (SELECT id FROM inbox WHERE lane = j.value ORDER BY date DESC, update_id DESC LIMIT ?2)
         ORDER BY i.lane, i.date, i.update_id",
    )
    .bind(serde_json::to_string(lanes).expect("numbers always serialize"))
    .bind(NEWEST)
    .fetch_all(readers)
    .await?;
    let mut by_lane: Vec<(i64, Vec<WaitingMessage>)> = Vec::new();
    for row in found {
        let lane = row.get(0);
        let message = WaitingMessage {
            id: row.get(1),
            update_id: row.get(2),
            json: row.get(3),
            attempts: row.get::<u32, _>(4),
            received_at: timestamp(row.get(5)),
        };
        match by_lane.last_mut().filter(|(last, _)| *last == lane) {
            Some((_, messages)) => messages.push(message),
            None => by_lane.push((lane, vec![message])),
        }
    }
    Ok(by_lane)
}
