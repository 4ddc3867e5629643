//! Sign-ins and memberships, read beside the writer.

use super::{Columns, Readers, Value};
use crate::identity::ConnectorUid;
use crate::store::sign_ins::statements::{FIND_SUBJECT, FIND_WORK};
use crate::store::sign_ins::transaction::latest;
use crate::store::sign_ins::{HeldMessage, SignInWork};

/// For which connectors something is due at the time `now`.
pub(in crate::store) async fn work(
    readers: &impl Readers,
    now: i64,
) -> Result<SignInWork, sqlx::Error> {
    let values = [Value::Number(now), Value::Number(latest(now))];
    let mut work = SignInWork::default();
    for row in readers.fetch(FIND_WORK.to_owned(), &values).await? {
        let uid = ConnectorUid::from(row.text(1));
        if row.number(0) == 0 {
            work.sign_ins.push(uid);
        } else {
            work.memberships.push(uid);
        }
    }
    Ok(work)
}

/// The messages that wait for a sign-in, oldest first.
pub(in crate::store) async fn held_messages(
    readers: &impl Readers,
    sign_in: i64,
) -> Result<Vec<HeldMessage>, sqlx::Error> {
    let statement = "SELECT id, body FROM sign_in_message WHERE sign_in = $1 ORDER BY id";
    let found = readers
        .fetch(statement.to_owned(), &[Value::Number(sign_in)])
        .await?;
    let message = |row: &_| HeldMessage {
        id: Columns::number(row, 0),
        json: Columns::text(row, 1).to_owned(),
    };
    Ok(found.iter().map(message).collect())
}

/// Who is signed in with an account.
pub(in crate::store) async fn member_with(
    readers: &impl Readers,
    connector: i64,
    issuer: &str,
    subject: &str,
) -> Result<Option<(i64, Option<String>)>, sqlx::Error> {
    let values = [
        Value::Number(connector),
        Value::Text(Some(issuer)),
        Value::Text(Some(subject)),
    ];
    let found = readers.fetch(FIND_SUBJECT.to_owned(), &values).await?;
    let row = found.first();
    Ok(row.map(|row| (row.number(0), row.text_or_null(1).map(str::to_owned))))
}

/// The connectors at which somebody is signed in, each with the provider.
pub(in crate::store) async fn membership_issuers(
    readers: &impl Readers,
) -> Result<Vec<(ConnectorUid, String)>, sqlx::Error> {
    let statement =
        "SELECT DISTINCT c.uid, m.issuer FROM membership m JOIN connector c ON c.id = m.connector";
    let found = readers.fetch(statement.to_owned(), &[]).await?;
    let pair = |row: &_| {
        let uid = ConnectorUid::from(Columns::text(row, 0));
        (uid, Columns::text(row, 1).to_owned())
    };
    Ok(found.iter().map(pair).collect())
}
