//! Objects of the data API deleted, and persons erased.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::accept::BacklogCount;
use super::connection::Connection;
use super::{access, outgoing};
use crate::store::erasure::{
    AFTERWARDS, Blanked, END_DECISION, END_LANE, ERASE_PERSON, Erased, FIND_DECISIONS, LANES,
    MARK_CLAIMED, MENTIONS, Mention, has_number,
};
use crate::store::objects::{ErasedCounts, ObjectKey, ObjectKind};
use crate::store::requests::{DeleteObjects, Erase};
use crate::store::statements::END_CONVERSATION;

/// Deletes objects of a namespace; how many were there.
pub(super) async fn delete(
    db: &mut PgConnection,
    objects: &DeleteObjects,
) -> Result<u64, sqlx::Error> {
    let statement = match objects.kind {
        ObjectKind::DeniedMessage => "DELETE FROM denied WHERE id = ANY($1) AND namespace = $2",
        ObjectKind::DeadLetter => "DELETE FROM dead_letter WHERE id = ANY($1) AND namespace = $2",
        ObjectKind::OutgoingMessage => {
            let mut deleted = 0;
            for key in &objects.keys {
                deleted += outgoing::delete(db, *key, &objects.namespace).await?;
            }
            return Ok(deleted);
        }
        ObjectKind::AccessGrant => {
            let mut deleted = 0;
            for key in &objects.keys {
                deleted += access::delete_grant(db, *key, &objects.namespace).await?;
            }
            return Ok(deleted);
        }
        ObjectKind::AccessRequest => {
            let mut deleted = 0;
            for key in &objects.keys {
                deleted += access::delete_request(db, *key, &objects.namespace).await?;
            }
            return Ok(deleted);
        }
        ObjectKind::Conversation => {
            let mut ended = 0;
            for key in &objects.keys {
                ended += end_conversation(db, *key, &objects.namespace).await?;
            }
            return Ok(ended);
        }
    };
    let ids = objects.keys.iter().filter(|key| key.1 == 0);
    let ids: Vec<i64> = ids.map(|key| key.0).collect();
    let deleted = sqlx::query(statement)
        .bind(ids)
        .bind(&objects.namespace)
        .execute(db)
        .await?;
    Ok(deleted.rows_affected())
}

async fn end_conversation(
    db: &mut PgConnection,
    ObjectKey(lane, number): ObjectKey,
    namespace: &str,
) -> Result<u64, sqlx::Error> {
    let is_there = sqlx::query(
        "SELECT 1 FROM session WHERE lane = $1 AND number = $2 AND namespace = $3 FOR UPDATE",
    )
    .bind(lane)
    .bind(number)
    .bind(namespace)
    .fetch_optional(&mut *db)
    .await?;
    if is_there.is_none() {
        return Ok(0);
    }
    for statement in END_CONVERSATION {
        sqlx::query(statement)
            .bind(lane)
            .bind(number)
            .execute(&mut *db)
            .await?;
    }
    Ok(1)
}

/// A person, in one namespace or in all.
type Person<'a> = (i64, Option<&'a str>);

/// Erases all that is kept of a person. No other process writes meanwhile (see [`Connection`]).
pub(super) async fn erase(
    connection: &mut Connection,
    db: &mut PgConnection,
    erase: &Erase,
) -> Result<ErasedCounts, sqlx::Error> {
    let person = (erase.user, erase.namespace.as_deref());
    let mut counts = ErasedCounts::default();
    for lane in find(db, LANES.to_owned(), person).await? {
        for (what, statement) in END_LANE {
            let ended = sqlx::query(statement).bind(lane.get::<i64, _>(0));
            let rows = ended.execute(&mut *db).await?.rows_affected();
            counts.add(what, rows);
        }
    }
    for (what, statement) in ERASE_PERSON.into_iter().chain([COUNTED]) {
        let erased = sqlx::query(statement).bind(person.0).bind(person.1);
        let rows = erased.execute(&mut *db).await?.rows_affected();
        counts.add(what, rows);
    }
    let marked = sqlx::query(MARK_CLAIMED).bind(person.0).bind(person.1);
    marked.execute(&mut *db).await?;
    for row in find(db, FIND_DECISIONS.to_owned(), person).await? {
        if has_number(row.get(1), person.0) {
            let ended = sqlx::query(END_DECISION).bind(row.get::<&str, _>(0));
            let rows = ended.execute(&mut *db).await?.rows_affected();
            counts.add(Erased::Others, rows);
        }
    }
    for mention in &MENTIONS {
        blank(db, mention, person).await?;
    }
    for statement in AFTERWARDS {
        sqlx::query(statement).execute(&mut *db).await?;
    }
    connection.backlog = BacklogCount::load(db).await?;
    Ok(counts)
}

/// What replicas have counted together.
const COUNTED: (Erased, &str) = (
    Erased::Others,
    "DELETE FROM message_count WHERE sender = $1 AND connector IN
       (SELECT id FROM connector WHERE CAST($2 AS TEXT) IS NULL OR namespace = $2)",
);

async fn find(
    db: &mut PgConnection,
    statement: String,
    (user, namespace): Person<'_>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    // The statements are ours alone.
    sqlx::query(AssertSqlSafe(statement))
        .bind(user)
        .bind(namespace)
        .fetch_all(db)
        .await
}

/// Blanks the person in rows of others.
async fn blank(
    db: &mut PgConnection,
    mention: &Mention,
    person: Person<'_>,
) -> Result<(), sqlx::Error> {
    let keys = mention.keys.len();
    for row in find(db, mention.find(), person).await? {
        let Blanked::Changed(blanked) = mention.blank(row.get(keys), person.0) else {
            continue;
        };
        let mut store = sqlx::query(AssertSqlSafe(mention.store())).bind(blanked);
        for key in 0..keys {
            store = store.bind(row.get::<i64, _>(key));
        }
        store.execute(&mut *db).await?;
    }
    Ok(())
}
