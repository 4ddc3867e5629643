//! Grants and requests, read beside the writer.

use super::{Columns, Readers, Value, timestamp};
use crate::identity::{ConnectorRef, ConnectorUid};
use crate::store::access_statements::{GRANT_COLUMNS, REQUEST_COLUMNS};
use crate::store::{AccessRequest, Grant, GrantSource, RequestPhase};

/// A user's grants for a connector that are not over at a time.
pub(in crate::store) async fn grants_of(
    readers: &impl Readers,
    connector: i64,
    user: i64,
    now: i64,
) -> Result<Vec<Grant>, sqlx::Error> {
    let values = [connector, user, now].map(Value::Number);
    let which =
        "o.connector = $1 AND o.sender = $2 AND (o.until IS NULL OR o.until > $3) ORDER BY o.id";
    find_grants(readers, which, &values).await
}

/// A grant by the store's number.
pub(in crate::store) async fn grant(
    readers: &impl Readers,
    id: i64,
) -> Result<Option<Grant>, sqlx::Error> {
    let found = find_grants(readers, "o.id = $1", &[Value::Number(id)]).await?;
    Ok(found.into_iter().next())
}

async fn find_grants(
    readers: &impl Readers,
    which: &str,
    values: &[Value<'_>],
) -> Result<Vec<Grant>, sqlx::Error> {
    let statement = format!(
        "SELECT {GRANT_COLUMNS} FROM access_grant o LEFT JOIN connector c ON c.id = o.connector WHERE {which}"
    );
    let found = readers.fetch(statement, values).await?;
    Ok(found.iter().map(read_grant).collect())
}

/// A connector's request by the store's number.
pub(in crate::store) async fn request(
    readers: &impl Readers,
    connector: i64,
    id: i64,
) -> Result<Option<AccessRequest>, sqlx::Error> {
    let values = [connector, id].map(Value::Number);
    find_request(readers, "o.connector = $1 AND o.id = $2", &values).await
}

/// A connector's request by its token.
pub(in crate::store) async fn request_by_token(
    readers: &impl Readers,
    connector: i64,
    token: &str,
) -> Result<Option<AccessRequest>, sqlx::Error> {
    let values = [Value::Number(connector), Value::Text(Some(token))];
    find_request(readers, "o.connector = $1 AND o.token = $2", &values).await
}

/// A namespace's request by the store's number.
pub(in crate::store) async fn request_of_namespace(
    readers: &impl Readers,
    namespace: &str,
    id: i64,
) -> Result<Option<AccessRequest>, sqlx::Error> {
    let values = [Value::Text(Some(namespace)), Value::Number(id)];
    find_request(readers, "o.namespace = $1 AND o.id = $2", &values).await
}

/// A user's request that is muted, or else one that waits.
pub(in crate::store) async fn open_request(
    readers: &impl Readers,
    connector: i64,
    user: i64,
    now: i64,
) -> Result<Option<AccessRequest>, sqlx::Error> {
    let values = [connector, user, now].map(Value::Number);
    let which = "o.connector = $1 AND o.sender = $2 AND (o.phase = 3 OR o.phase = 0 AND o.expires_at > $3) ORDER BY o.phase DESC LIMIT 1";
    find_request(readers, which, &values).await
}

async fn find_request(
    readers: &impl Readers,
    which: &str,
    values: &[Value<'_>],
) -> Result<Option<AccessRequest>, sqlx::Error> {
    let statement = format!(
        "SELECT {REQUEST_COLUMNS} FROM access_request o LEFT JOIN connector c ON c.id = o.connector WHERE {which}"
    );
    let found = readers.fetch(statement, values).await?;
    Ok(found.first().map(read_request))
}

/// Whether the time of a request is over that waits.
pub(in crate::store) async fn has_expired(
    readers: &impl Readers,
    now: i64,
) -> Result<bool, sqlx::Error> {
    let statement = "SELECT id FROM access_request WHERE phase = 0 AND expires_at <= $1 LIMIT 1";
    let values = [Value::Number(now)];
    let found = readers.fetch(statement.into(), &values).await?;
    Ok(!found.is_empty())
}

fn connector(row: &impl Columns) -> ConnectorRef {
    ConnectorRef {
        namespace: row.text(2).into(),
        name: row.text(3).into(),
        uid: ConnectorUid::from(row.text_or_null(4).unwrap_or_default()),
    }
}

/// Reads [`GRANT_COLUMNS`].
pub(super) fn read_grant(row: &impl Columns) -> Grant {
    Grant {
        id: row.number(0),
        connector: connector(row),
        since: row.time(5),
        revision: row.number(6),
        user: row.number(7),
        name: row.text(8).to_owned(),
        username: row.text_or_null(9).map(str::to_owned),
        source: GrantSource::from_code(row.number(10)),
        by: row.text(11).to_owned(),
        until: row.number_or_null(12).map(timestamp),
    }
}

/// Reads [`REQUEST_COLUMNS`].
pub(super) fn read_request(row: &impl Columns) -> AccessRequest {
    let (shown, tapped) = (row.number_or_null(21), row.number_or_null(22));
    AccessRequest {
        id: row.number(0),
        connector: connector(row),
        asked_at: row.time(5),
        revision: row.number(6),
        user: row.number(7),
        name: row.text(8).to_owned(),
        username: row.text_or_null(9).map(str::to_owned),
        token: row.text(10).to_owned(),
        level: row.text(11).to_owned(),
        phase: RequestPhase::from_code(row.number(12)),
        expires_at: row.time(13),
        until: row.number_or_null(14).map(timestamp),
        decided_at: row.number_or_null(15).map(timestamp),
        decided_by: row.text_or_null(16).map(str::to_owned),
        language: row.text_or_null(17).map(str::to_owned),
        chat: row.number(18),
        topic: row.number(19),
        notice_chat: row.number(20),
        notice_message: tapped.or(shown),
        notice_copy: shown.filter(|shown| tapped.is_some_and(|tapped| tapped != *shown)),
    }
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePool;

    use super::super::{Columns as _, Readers as _};
    use crate::store::access_statements as statements;
    use crate::store::statements::{DELETE_CONNECTOR_DATA, MOVE_CHAT, prune_statements};

    const READS: [&str; 5] = [
        "SELECT o.id FROM access_grant o WHERE o.connector = $1 AND o.sender = $2 AND (o.until IS NULL OR o.until > $3) ORDER BY o.id",
        "SELECT o.id FROM access_request o WHERE o.connector = $1 AND o.sender = $2 AND (o.phase = 3 OR o.phase = 0 AND o.expires_at > $3) ORDER BY o.phase DESC LIMIT 1",
        "SELECT o.id FROM access_request o WHERE o.connector = $1 AND o.token = $2",
        "SELECT id FROM access_request WHERE phase = 0 AND expires_at <= $1 LIMIT 1",
        statements::FIND_EXPIRED,
    ];

    #[tokio::test]
    async fn every_statement_of_access_finds_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("sqlite:{}/connectors.db", folder.path().display());
        crate::store::open(&file).await.expect("a store");
        let db = SqlitePool::connect(&file).await.expect("a database");
        let before = jiff::Timestamp::UNIX_EPOCH;
        let retention = crate::store::Retention {
            identities: before,
            denied: before,
            read_along: before,
            outgoing: before,
            grants: before,
            sessions: before,
        };
        let prunes = prune_statements(&retention).map(|(statement, _)| statement);
        let of_others = DELETE_CONNECTOR_DATA
            .into_iter()
            .chain(MOVE_CHAT)
            .chain(prunes);
        let writes = [
            statements::REPLACE_GRANT,
            statements::FIND_OPEN,
            statements::COUNT_ASKED,
            statements::COUNT_WAITING,
            statements::TRIM_ENDED,
            statements::INSERT_REQUEST,
            statements::FIND_WAITING,
            statements::FIND_WAITING_OF_NAMESPACE,
            statements::END_REQUEST,
            statements::READY_ASKING_LANE,
            statements::FOLLOW_UP,
            statements::NOTE_SHOWN,
            statements::DELETE_GRANT,
        ];
        let writes = writes
            .into_iter()
            .chain(statements::GRANT_REQUESTED)
            .chain(statements::DELETE_REQUEST)
            .chain(of_others.filter(|statement| statement.contains("access_")));
        for statement in READS.into_iter().chain(writes) {
            let explained = format!("EXPLAIN QUERY PLAN {statement}");
            let plan = db.fetch(explained, &[]).await.expect("a plan");
            let scans = plan.iter().map(|step| step.text(3));
            let scans: Vec<_> = scans
                .filter(|step| step.starts_with("SCAN access_"))
                .collect();
            assert!(scans.is_empty(), "{statement}: {scans:?}");
        }
    }
}
