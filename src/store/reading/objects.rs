//! Objects of the data API, read beside the writer. What a query asks for becomes conditions of the statement, so that each finds its index.

use super::{Columns, Dialect, Readers, Value, history};
use crate::history::ChatMessage;
use crate::identity::{BotId, ConnectorUid};
use crate::store::TokenCounts;
use crate::store::access_statements::{GRANT_COLUMNS, REQUEST_COLUMNS};
use crate::store::objects::{
    DeletedObject, ObjectChange, ObjectChanges, ObjectContent, ObjectKey, ObjectKind, ObjectPage,
    ObjectQuery, StoredConversation, StoredDeadLetter, StoredObject,
};
use crate::store::outgoing;

/// The conditions of a statement with their values.
#[derive(Default)]
struct Conditions<'a> {
    conditions: Vec<String>,
    values: Vec<Value<'a>>,
}

impl<'a> Conditions<'a> {
    /// The placeholder of a further value.
    fn value(&mut self, value: Value<'a>) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn number(&mut self, left: &str, number: i64) {
        let value = self.value(Value::Number(number));
        self.conditions.push(format!("{left} {value}"));
    }

    fn text(&mut self, left: &str, text: &'a str) {
        let value = self.value(Value::Text(Some(text)));
        self.conditions.push(format!("{left} {value}"));
    }

    /// Only what belongs to the connector that has the query's name now.
    fn connector(&mut self, query: &'a ObjectQuery, column: &str) {
        let Some(name) = &query.connector else { return };
        let name = self.value(Value::Text(Some(name)));
        let condition = match &query.namespace {
            // One at most, which the plan may rely on.
            Some(namespace) => {
                let namespace = self.value(Value::Text(Some(namespace)));
                format!(
                    "{column} = (SELECT max(id) FROM connector WHERE namespace = {namespace} AND name = {name} AND superseded = 0)"
                )
            }
            None => format!(
                "{column} IN (SELECT id FROM connector WHERE name = {name} AND superseded = 0)"
            ),
        };
        self.conditions.push(condition);
    }

    /// After these conditions, if there are any.
    fn where_clause(&self) -> String {
        if self.conditions.is_empty() {
            return String::new();
        }
        format!("WHERE {}", self.conditions.join(" AND "))
    }
}

/// The names of a kind's key columns, of the table that comes first (see [`tables`]).
fn key_columns(kind: ObjectKind, by_chat: bool) -> &'static str {
    match kind {
        ObjectKind::DeniedMessage
        | ObjectKind::DeadLetter
        | ObjectKind::OutgoingMessage
        | ObjectKind::AccessGrant
        | ObjectKind::AccessRequest => "o.id",
        ObjectKind::Conversation if by_chat => "l.id, o.number",
        ObjectKind::Conversation => "o.lane, o.number",
    }
}

/// The columns of a kind, as [`object`] reads them.
fn columns(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::DeniedMessage => {
            "o.id, CAST(0 AS BIGINT), o.namespace, o.name, c.uid, o.stored_at, o.revision, o.message, coalesce(c.superseded, 1) <> 0"
        }
        ObjectKind::Conversation => {
            "o.lane, o.number, o.namespace, c.name, c.uid, o.began_at, o.revision, l.bot, l.chat, l.topic, o.last_at, o.exchanges,
               o.input_tokens, o.output_tokens, l.session = o.number"
        }
        ObjectKind::DeadLetter => {
            "o.id, CAST(0 AS BIGINT), o.namespace, o.name, c.uid, o.at, o.revision, o.bot, o.chat, o.topic, o.sender, o.update_id, o.kind, o.number,
               o.attempts, o.reason"
        }
        ObjectKind::OutgoingMessage => outgoing::COLUMNS,
        ObjectKind::AccessGrant => GRANT_COLUMNS,
        ObjectKind::AccessRequest => REQUEST_COLUMNS,
    }
}

/// The tables of a kind: `o` with its connector `c`, and a conversation's lane `l`. Where a chat is asked for, the lanes come first.
fn tables<D: Dialect>(kind: ObjectKind, by_chat: bool) -> String {
    let join = D::JOIN_IN_ORDER;
    match kind {
        ObjectKind::DeniedMessage => {
            "denied o LEFT JOIN connector c ON c.id = o.connector".to_owned()
        }
        ObjectKind::DeadLetter => {
            "dead_letter o LEFT JOIN connector c ON c.id = o.connector".to_owned()
        }
        ObjectKind::OutgoingMessage => {
            "outgoing_message o LEFT JOIN connector c ON c.id = o.connector".to_owned()
        }
        ObjectKind::AccessGrant => {
            "access_grant o LEFT JOIN connector c ON c.id = o.connector".to_owned()
        }
        ObjectKind::AccessRequest => {
            "access_request o LEFT JOIN connector c ON c.id = o.connector".to_owned()
        }
        ObjectKind::Conversation if by_chat => {
            format!(
                "lane l {join} session o ON o.lane = l.id {join} connector c ON c.id = l.connector"
            )
        }
        ObjectKind::Conversation => {
            format!(
                "session o {join} lane l ON l.id = o.lane {join} connector c ON c.id = l.connector"
            )
        }
    }
}

/// What a query asks for. `index` stands before the columns whose indices are not to be used.
fn conditions<'a>(query: &'a ObjectQuery, index: &str) -> Conditions<'a> {
    let mut conditions = Conditions::default();
    let is_conversation = query.kind == ObjectKind::Conversation;
    if let Some(namespace) = &query.namespace {
        conditions.text(&format!("{index}o.namespace ="), namespace);
    }
    let (user, chat) = match query.kind {
        ObjectKind::Conversation => ("l.chat", "l.chat"),
        // The chat is the person's own.
        ObjectKind::AccessGrant | ObjectKind::AccessRequest => ("o.sender", "o.sender"),
        _ => ("o.sender", "o.chat"),
    };
    if let Some(id) = query.user {
        // Nobody's is what belongs to no person: a group is not the user 0.
        conditions.number(&format!("{user} > 0 AND {index}{user} ="), id);
    }
    if let Some(id) = query.chat {
        conditions.number(&format!("{index}{chat} ="), id);
    }
    // A connector's conversations are found in the order of the namespace's.
    let connector = if is_conversation {
        "+l.connector".to_owned()
    } else {
        format!("{index}o.connector")
    };
    conditions.connector(query, &connector);
    if let Some(ObjectKey(first, second)) = query.key {
        if is_conversation {
            conditions.number("o.lane =", first);
            conditions.number("o.number =", second);
        } else {
            conditions.number("o.id =", first);
            conditions.number("0 =", second);
        }
    }
    conditions
}

/// The newest complete revision, and the one from before which nothing is remembered.
async fn head<R: Readers>(readers: &R) -> Result<(i64, i64), sqlx::Error> {
    let statement = format!("SELECT {}, oldest FROM revision", R::Dialect::COMPLETE_TO);
    let found = readers.fetch(statement, &[]).await?;
    let head = found.first().map(|row| (row.number(0), row.number(1)));
    head.ok_or(sqlx::Error::RowNotFound)
}

/// A page of a list. The revision is read first: what is complete then is in the page.
pub(in crate::store) async fn list<R: Readers>(
    readers: &R,
    query: &ObjectQuery,
    after: Option<ObjectKey>,
    limit: u32,
) -> Result<ObjectPage, sqlx::Error> {
    let (revision, _) = head(readers).await?;
    let kind = query.kind;
    let (statement, values) = page_statement::<R::Dialect>(query, after, limit);
    let found = readers.fetch(statement, &values).await?;
    let objects = found.iter().take(limit as usize);
    let objects = objects
        .map(|row| object(kind, row))
        .collect::<Result<Vec<_>, _>>()?;
    let next = objects.last().map(|object| object.key);
    Ok(ObjectPage {
        next: next.filter(|_| found.len() > limit as usize),
        objects,
        revision,
    })
}

/// The statement of a page with its values: one row more than the page, which says whether there is another.
fn page_statement<D: Dialect>(
    query: &ObjectQuery,
    after: Option<ObjectKey>,
    limit: u32,
) -> (String, Vec<Value<'_>>) {
    let kind = query.kind;
    let by_chat = query.user.is_some() || query.chat.is_some();
    let keys = key_columns(kind, by_chat);
    let mut conditions = conditions(query, "");
    if let Some(ObjectKey(first, second)) = after {
        let first = conditions.value(Value::Number(first));
        let condition = if kind == ObjectKind::Conversation {
            let second = conditions.value(Value::Number(second));
            format!("({keys}) > ({first}, {second})")
        } else {
            format!("{keys} > {first}")
        };
        conditions.conditions.push(condition);
    }
    let most = conditions.value(Value::Number(i64::from(limit) + 1));
    let statement = format!(
        "SELECT {} FROM {} {} ORDER BY {keys} LIMIT {most}",
        columns(kind),
        tables::<D>(kind, by_chat),
        conditions.where_clause(),
    );
    (statement, conditions.values)
}

/// What changed after a revision.
pub(in crate::store) async fn changes<R: Readers>(
    readers: &R,
    query: &ObjectQuery,
    after: i64,
    limit: u32,
) -> Result<ObjectChanges, sqlx::Error> {
    let (newest, oldest) = head(readers).await?;
    let mut answer = ObjectChanges {
        changes: Vec::new(),
        complete_to: newest,
        oldest,
        newest,
    };
    if after >= newest || answer.is_gone(after) {
        return Ok(answer);
    }
    let window = (after, newest);
    let mut present = changed(readers, query, window, Some(limit)).await?;
    let mut deleted = deleted(readers, query, window, Some(limit)).await?;
    // A list that is full may end amid the changes of one transaction; what is told ends before it.
    let cut = |found: &[ObjectChange]| {
        let full = found.len() >= limit as usize;
        let last = found.last().filter(|_| full).map(ObjectChange::revision);
        last.map(|last| last - 1)
    };
    if let Some(cut) = [cut(&present), cut(&deleted)].into_iter().flatten().min() {
        answer.complete_to = cut;
        let first = [present.first(), deleted.first()].into_iter().flatten();
        let first = first.map(ObjectChange::revision).min();
        if let Some(first) = first.filter(|first| *first > cut) {
            // All of them are of one transaction: it is told whole.
            answer.complete_to = first;
            let window = (first - 1, first);
            present = changed(readers, query, window, None).await?;
            deleted = self::deleted(readers, query, window, None).await?;
        }
    }
    answer.changes = present;
    answer.changes.extend(deleted);
    let complete_to = answer.complete_to;
    answer
        .changes
        .retain(|change| change.revision() <= complete_to);
    answer.changes.sort_by_key(ObjectChange::revision);
    // What was dropped from memory while this was read may be missing in it.
    (_, answer.oldest) = head(readers).await?;
    Ok(answer)
}

/// What is there and has changed within these revisions: after the first, up to the second.
async fn changed<R: Readers>(
    readers: &R,
    query: &ObjectQuery,
    (after, until): (i64, i64),
    limit: Option<u32>,
) -> Result<Vec<ObjectChange>, sqlx::Error> {
    let (statement, values) = changed_statement::<R::Dialect>(query, (after, until), limit);
    let found = readers.fetch(statement, &values).await?;
    let present = |row| Ok(ObjectChange::Present(Box::new(object(query.kind, row)?)));
    found.iter().map(present).collect()
}

/// The statement of what has changed within these revisions, with its values.
fn changed_statement<D: Dialect>(
    query: &ObjectQuery,
    (after, until): (i64, i64),
    limit: Option<u32>,
) -> (String, Vec<Value<'_>>) {
    let mut conditions = conditions(query, D::NO_INDEX);
    conditions.number("o.revision >", after);
    conditions.number("o.revision <=", until);
    let most = conditions.value(Value::Number(limit.map_or(i64::MAX, i64::from)));
    let statement = format!(
        "SELECT {} FROM {} {} ORDER BY o.revision LIMIT {most}",
        columns(query.kind),
        tables::<D>(query.kind, false),
        conditions.where_clause(),
    );
    (statement, conditions.values)
}

/// What was deleted within these revisions.
async fn deleted<R: Readers>(
    readers: &R,
    query: &ObjectQuery,
    (after, until): (i64, i64),
    limit: Option<u32>,
) -> Result<Vec<ObjectChange>, sqlx::Error> {
    let mut conditions = Conditions::default();
    conditions.number("o.kind =", query.kind.code());
    conditions.number("o.revision >", after);
    conditions.number("o.revision <=", until);
    if let Some(namespace) = &query.namespace {
        conditions.text("o.namespace =", namespace);
    }
    if let Some(name) = &query.connector {
        conditions.text("o.name =", name);
    }
    if let Some(ObjectKey(first, second)) = query.key {
        conditions.number("o.first =", first);
        conditions.number("o.second =", second);
    }
    let most = conditions.value(Value::Number(limit.map_or(i64::MAX, i64::from)));
    let statement = format!(
        "SELECT o.first, o.second, o.namespace, o.name, c.uid, o.revision
         FROM deleted_object o LEFT JOIN connector c ON c.id = o.connector {} ORDER BY o.revision LIMIT {most}",
        conditions.where_clause(),
    );
    let found = readers.fetch(statement, &conditions.values).await?;
    let deleted = found.iter().map(|row| {
        ObjectChange::Deleted(DeletedObject {
            key: ObjectKey(row.number(0), row.number(1)),
            namespace: row.text(2).to_owned(),
            connector: row.text(3).to_owned(),
            connector_uid: row.text_or_null(4).map(ConnectorUid::from),
            revision: row.number(5),
        })
    });
    Ok(deleted.collect())
}

/// The words of a conversation, oldest first.
pub(in crate::store) async fn transcript<R: Readers>(
    readers: &R,
    namespace: &str,
    ObjectKey(lane, number): ObjectKey,
) -> Result<Option<Vec<ChatMessage>>, sqlx::Error> {
    let statement = format!(
        "SELECT {} FROM session s WHERE s.lane = $1 AND s.number = $2 AND s.namespace = $3",
        R::Dialect::EXCHANGES
    );
    let values = [
        Value::Number(lane),
        Value::Number(number),
        Value::Text(Some(namespace)),
    ];
    let found = readers.fetch(statement, &values).await?;
    Ok(found.first().map(|row| history(row.text_or_null(0))))
}

/// Reads [`columns`].
fn object(kind: ObjectKind, row: &impl Columns) -> Result<StoredObject, sqlx::Error> {
    let content = match kind {
        ObjectKind::DeniedMessage => {
            let message = serde_json::from_str(row.text(7));
            ObjectContent::DeniedMessage(message.map_err(|e| sqlx::Error::Decode(e.into()))?)
        }
        ObjectKind::Conversation => ObjectContent::Conversation(StoredConversation {
            bot: BotId(row.number(7)),
            chat: row.number(8),
            topic: row.number(9),
            last: row.time(10),
            exchanges: row.number(11),
            tokens: TokenCounts {
                input: row.number(12),
                output: row.number(13),
            },
            current: row.flag(14),
        }),
        ObjectKind::DeadLetter => {
            let dead_letter_kind = row.text(12).to_owned();
            ObjectContent::DeadLetter(StoredDeadLetter {
                bot: BotId(row.number(7)),
                chat: row.number(8),
                topic: row.number(9),
                user: Some(row.number(10)).filter(|user| *user != 0),
                update_id: row.number(11),
                part: (dead_letter_kind == "reply").then(|| row.count(13)),
                kind: dead_letter_kind,
                attempts: row.count(14),
                reason: row.text(15).to_owned(),
            })
        }
        ObjectKind::OutgoingMessage => {
            ObjectContent::OutgoingMessage(Box::new(super::outgoing::read(row)))
        }
        ObjectKind::AccessGrant => {
            ObjectContent::AccessGrant(Box::new(super::access::read_grant(row)))
        }
        ObjectKind::AccessRequest => {
            ObjectContent::AccessRequest(Box::new(super::access::read_request(row)))
        }
    };
    Ok(StoredObject {
        key: ObjectKey(row.number(0), row.number(1)),
        namespace: row.text(2).to_owned(),
        connector: row.text(3).to_owned(),
        connector_uid: row.text_or_null(4).map(ConnectorUid::from),
        // Nothing else outlives its connector.
        is_left: kind == ObjectKind::DeniedMessage && row.flag(8),
        created: row.time(5),
        revision: row.number(6),
        content,
    })
}

#[cfg(test)]
mod tests {
    use sqlx::Sqlite;
    use sqlx::sqlite::SqlitePool;

    use super::*;

    /// What `SQLite` does for a statement, a line for each table.
    async fn plan(db: &SqlitePool, statement: (String, Vec<Value<'_>>)) -> Vec<String> {
        let (statement, values) = statement;
        let explained = format!("EXPLAIN QUERY PLAN {statement}");
        let rows = db.fetch(explained, &values).await.expect("a plan");
        rows.iter().map(|row| row.text(3).to_owned()).collect()
    }

    #[tokio::test]
    async fn every_page_and_every_watch_finds_an_index() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = format!("sqlite:{}/connectors.db", folder.path().display());
        crate::store::open(&file).await.expect("a store");
        let db = SqlitePool::connect(&file).await.expect("a database");
        for kind in ObjectKind::ALL {
            let all = ObjectQuery {
                namespace: Some("acme".into()),
                ..ObjectQuery::all(kind)
            };
            let mut of_user = all.clone();
            of_user.user = Some(5001);
            let mut of_chat = all.clone();
            of_chat.chat = Some(-100);
            let mut of_connector = all.clone();
            of_connector.connector = Some("support".into());
            let mut one = all.clone();
            one.key = Some(ObjectKey(7, 1));
            for query in [all, of_user, of_chat, of_connector, one] {
                for after in [None, Some(ObjectKey(5, 1))] {
                    let page = page_statement::<Sqlite>(&query, after, 500);
                    let plan = plan(&db, page).await;
                    let scans = plan.iter().find(|step| step.starts_with("SCAN"));
                    assert_eq!(scans, None, "{query:?}: {plan:?}");
                }
                let changed = changed_statement::<Sqlite>(&query, (5, 9), Some(500));
                let plan = plan(&db, changed).await;
                let finds = plan
                    .iter()
                    .any(|step| step.contains("_changed") || step.contains("KEY"));
                assert!(finds, "{query:?}: {plan:?}");
            }
        }
    }
}
