//! What is asked in a day: counted beside other processes, which count the same rows.

use sqlx::Row;
use sqlx::postgres::PgConnection;

use super::connection::rows;
use crate::store::day_usage::{
    COUNT_MESSAGE, COUNT_TOKENS, LimitedQuestion, MARK_COUNTED, READ_USAGE, ReachedLimit,
    TokenCount, Verdict,
};
use crate::store::requests::StoreRequest;
use crate::store::{Change, LaneWrite};

/// Locks the rows that a batch counts in, in one order in all processes, before it touches anything else: so none waits for another in a circle.
pub(super) async fn lock(
    db: &mut PgConnection,
    requests: &[StoreRequest],
) -> Result<(), sqlx::Error> {
    let mut counted: Vec<(i64, i64, i64, i64)> = Vec::new();
    for request in requests {
        match request {
            StoreRequest::CountQuestion(pending) => {
                let question = &pending.request;
                let senders = question.senders_of_messages().into_iter();
                counted.extend(
                    senders.map(|s| (question.connector, s, question.day, question.message)),
                );
            }
            StoreRequest::Write(pending) => {
                for tokens in token_counts(&pending.request.write) {
                    let senders = tokens.senders.iter();
                    counted.extend(
                        senders.map(|s| (tokens.connector, *s, tokens.day, tokens.message)),
                    );
                }
            }
            _ => {}
        }
    }
    if counted.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO day_usage (connector, sender, day)
         SELECT DISTINCT (value->>0)::bigint, (value->>1)::bigint, (value->>2)::bigint FROM json_array_elements($1::json) j(value)
         WHERE EXISTS (SELECT 1 FROM inbox i WHERE i.id = (value->>3)::bigint) ORDER BY 1, 2, 3
         ON CONFLICT (connector, sender, day) DO UPDATE SET messages = day_usage.messages",
    )
    .bind(rows(&counted))
    .execute(db)
    .await
    .map(drop)
}

/// Counts a question, or says which limit lets it not be asked.
pub(super) async fn count_question(
    db: &mut PgConnection,
    question: &LimitedQuestion,
) -> Result<Option<ReachedLimit>, sqlx::Error> {
    let (connector, day, user, message) = question.values();
    let usage = sqlx::query(READ_USAGE)
        .bind(connector)
        .bind(day)
        .bind(user)
        .bind(message)
        .fetch_optional(&mut *db)
        .await?;
    let usage = usage.map(|row| [0, 1, 2, 3, 4].map(|column: usize| row.get(column)));
    let verdict = question.verdict(usage);
    if verdict == Verdict::Counts {
        for sender in question.senders_of_messages() {
            let count = sqlx::query(COUNT_MESSAGE).bind(connector).bind(sender);
            count.bind(day).execute(&mut *db).await?;
        }
        sqlx::query(MARK_COUNTED)
            .bind(message)
            .execute(&mut *db)
            .await?;
    }
    Ok(verdict.refusal())
}

/// Counts the tokens of a lane's answers; before their messages leave the inbox.
pub(super) async fn count_tokens(
    db: &mut PgConnection,
    write: &LaneWrite,
) -> Result<(), sqlx::Error> {
    for tokens in token_counts(write) {
        for sender in &tokens.senders {
            sqlx::query(COUNT_TOKENS)
                .bind(tokens.connector)
                .bind(sender)
                .bind(tokens.day)
                .bind(tokens.tokens)
                .bind(tokens.message)
                .execute(&mut *db)
                .await?;
        }
    }
    Ok(())
}

fn token_counts(write: &LaneWrite) -> impl Iterator<Item = &TokenCount> {
    write.changes.iter().filter_map(|change| match change {
        Change::CountTokens(tokens) => Some(&**tokens),
        _ => None,
    })
}
