//! What is asked in a day, counted.

use rusqlite::{Connection as Db, OptionalExtension as _};

use crate::store::day_usage::{
    COUNT_MESSAGE, COUNT_TOKENS, LimitedQuestion, MARK_COUNTED, READ_USAGE, ReachedLimit,
    TokenCount, Verdict,
};

/// Counts a question, or says which limit lets it not be asked.
pub(super) fn count_question(
    db: &Db,
    question: &LimitedQuestion,
) -> rusqlite::Result<Option<ReachedLimit>> {
    let usage = db
        .prepare_cached(READ_USAGE)?
        .query_row(question.values(), |row| {
            Ok([
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ])
        })
        .optional()?;
    let verdict = question.verdict(usage);
    if verdict == Verdict::Counts {
        for sender in question.senders_of_messages() {
            db.prepare_cached(COUNT_MESSAGE)?.execute((
                question.connector,
                sender,
                question.day,
            ))?;
        }
        db.prepare_cached(MARK_COUNTED)?
            .execute([question.message])?;
    }
    Ok(verdict.refusal())
}

/// Counts the tokens of an answer; before its message leaves the inbox.
pub(super) fn count_tokens(db: &Db, count: &TokenCount) -> rusqlite::Result<()> {
    for sender in &count.senders {
        let row = (
            count.connector,
            sender,
            count.day,
            count.tokens,
            count.message,
        );
        db.prepare_cached(COUNT_TOKENS)?.execute(row)?;
    }
    Ok(())
}
