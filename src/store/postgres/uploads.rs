//! The bytes of files that wait in the outbox: one statement each, since they are few and big.

use sqlx::postgres::PgConnection;

use crate::store::statements::{COUNT_UPLOAD_BYTES, INSERT_UPLOAD, NOTE_UPLOAD, has_upload_room};

/// The bytes of one file, and the part that they belong to.
pub(super) struct Upload<'a> {
    pub(super) lane: i64,
    pub(super) connector: i64,
    pub(super) reply: i64,
    pub(super) number: u32,
    pub(super) content: &'a [u8],
}

/// Stores the bytes of files beside their parts, as far as there is room: `most`, of a connector and of all. Two processes that store at the same
/// moment may exceed it by what they store.
pub(super) async fn store_uploads(
    db: &mut PgConnection,
    uploads: &[Upload<'_>],
    most: (u64, u64),
) -> Result<(), sqlx::Error> {
    for upload in uploads {
        let waiting = sqlx::query_as(COUNT_UPLOAD_BYTES)
            .bind(upload.connector)
            .fetch_one(&mut *db)
            .await?;
        if !has_upload_room(upload.content.len(), waiting, most) {
            continue;
        }
        let bytes = i64::try_from(upload.content.len()).unwrap_or(i64::MAX);
        let noted = sqlx::query(NOTE_UPLOAD)
            .bind(bytes)
            .bind(upload.lane)
            .bind(upload.reply)
            .bind(i64::from(upload.number))
            .execute(&mut *db)
            .await?;
        if noted.rows_affected() > 0 {
            sqlx::query(INSERT_UPLOAD)
                .bind(upload.reply)
                .bind(i64::from(upload.number))
                .bind(upload.connector)
                .bind(upload.content)
                .bind(bytes)
                .execute(&mut *db)
                .await?;
        }
    }
    Ok(())
}
