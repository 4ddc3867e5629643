//! Messages that were not said to the bot: one statement each, in their order, since few connectors read along.

use sqlx::postgres::PgConnection;

use crate::store::ReadAlongMessage;
use crate::store::read_along::{DROP, KEEP, TRIM};

/// A change to what is kept of a lane.
pub(super) enum ReadAlongChange<'a> {
    /// A message is kept, beside so many others at most.
    Keep(i64, &'a ReadAlongMessage, u16),
    /// What was said up to this message goes.
    Drop(i64, i64),
}

pub(super) async fn apply_read_along(
    db: &mut PgConnection,
    changes: &[ReadAlongChange<'_>],
) -> Result<(), sqlx::Error> {
    for change in changes {
        match change {
            ReadAlongChange::Keep(lane, message, most) => {
                sqlx::query(KEEP)
                    .bind(message.message_id)
                    .bind(message.user_id)
                    .bind(message.sent_at.as_millisecond())
                    .bind(message.to_body())
                    .bind(lane)
                    .execute(&mut *db)
                    .await?;
                sqlx::query(TRIM)
                    .bind(lane)
                    .bind(i64::from(*most))
                    .execute(&mut *db)
                    .await?;
            }
            ReadAlongChange::Drop(lane, until) => {
                let ended = sqlx::query(DROP).bind(lane).bind(until);
                ended.execute(&mut *db).await?;
            }
        }
    }
    Ok(())
}
