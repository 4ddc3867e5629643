//! Claims: which lanes are this process's, and what waits in them.

use rusqlite::Connection as Db;

use super::connection::{Connection, timestamp};
use super::sent_journal::SentPart;
use crate::history::{ChatMessage, Role};
use crate::store::requests::StoreRequest;
use crate::store::{
    Claim, ClaimOutcome, ClaimRequest, ClaimedLane, LaneKey, Session, TokenCounts, WaitingMessage,
    WaitingPart,
};

/// Messages that a claim brings along per lane; the rest come with the next claim.
const MESSAGES_PER_CLAIM: i64 = 16;

/// Does every `Claim` of the batch.
pub(super) fn apply_claims(
    connection: &mut Connection,
    db: &Db,
    requests: &mut [StoreRequest],
) -> rusqlite::Result<()> {
    for request in requests {
        if let StoreRequest::Claim(pending) = request {
            let claimed = claim(connection, db, &pending.request)?;
            pending.resolve(Ok(claimed));
        }
    }
    Ok(())
}

fn claim(
    connection: &mut Connection,
    db: &Db,
    claim_requests: &[ClaimRequest],
) -> rusqlite::Result<ClaimOutcome> {
    let now = connection.now();
    let lease = i64::try_from(connection.options.lease.as_millis()).unwrap_or(i64::MAX / 2);
    let owner = connection.claimant.register(db, now + lease)?;
    let mut claimed = ClaimOutcome::default();
    let mut take = db.prepare_cached(
        "UPDATE lane SET owner = ?1, erased = 0 WHERE id IN (
           SELECT id FROM lane WHERE connector = ?2 AND bot = ?3 AND owner IS NULL AND ready_at <= ?4
           ORDER BY ready_at LIMIT ?5)
         RETURNING id, chat, topic, session, sessions, handled, open_decisions > 0,
           (SELECT m.moved_from FROM moved_chat m WHERE m.connector = lane.connector AND m.bot = lane.bot AND m.chat = lane.chat)",
    )?;
    let mut next = db.prepare_cached(
        "SELECT min(ready_at) FROM lane
         WHERE connector = ?1 AND bot = ?2 AND owner IS NULL AND ready_at IS NOT NULL",
    )?;
    for claim_request in claim_requests {
        let connector = connection
            .connectors
            .id_of_named(db, &claim_request.connector)?;
        let (bot, most) = (
            claim_request.bot,
            i64::try_from(claim_request.lanes).unwrap_or(i64::MAX),
        );
        let taken = take.query_map((owner, connector, bot.0, now, most), |row| {
            let lane = row.get(0)?;
            let session: i64 = row.get(3)?;
            let (chat, topic) = (row.get(1)?, row.get(2)?);
            let claimed = ClaimedLane {
                claim: Claim {
                    lane,
                    owner,
                    connector,
                },
                key: LaneKey { bot, chat, topic },
                connector: claim_request.connector.uid.clone(),
                parts: Vec::new(),
                messages: Vec::new(),
                session: None,
                sessions: row.get(4)?,
                handled: row.get(5)?,
                has_open_decision: row.get(6)?,
                moved_from: row.get(7)?,
            };
            Ok((claimed, session))
        })?;
        let taken = taken.collect::<rusqlite::Result<Vec<_>>>()?;
        if taken.len() < claim_request.lanes {
            claimed.drained.push(claim_request.connector.uid.clone());
            let next: Option<i64> = next.query_row((connector, bot.0), |row| row.get(0))?;
            claimed
                .next_ready
                .extend(next.map(|at| (claim_request.connector.uid.clone(), timestamp(at))));
        }
        for (mut lane, session) in taken {
            let id = lane.claim.lane;
            lane.parts = unsent_parts(connection, db, id)?;
            lane.messages = messages(db, id)?;
            if session != 0 {
                lane.session = self::session(db, id, session, claim_request.history)?;
            }
            claimed.lanes.push(lane);
        }
    }
    Ok(claimed)
}

fn messages(db: &Db, lane: i64) -> rusqlite::Result<Vec<WaitingMessage>> {
    let mut found = db.prepare_cached(
        "SELECT id, update_id, body, attempts, received_at, crashes FROM inbox WHERE lane = ?1
         ORDER BY date, update_id LIMIT ?2",
    )?;
    let found = found.query_map((lane, MESSAGES_PER_CLAIM), |row| {
        Ok(WaitingMessage {
            id: row.get(0)?,
            update_id: row.get(1)?,
            json: row.get(2)?,
            attempts: row.get(3)?,
            received_at: timestamp(row.get(4)?),
            crashes: row.get(5)?,
        })
    })?;
    found.collect()
}

/// The parts that wait in a lane, without those whose record as sent could not be written when they were.
fn unsent_parts(
    connection: &mut Connection,
    db: &Db,
    lane: i64,
) -> rusqlite::Result<Vec<WaitingPart>> {
    let key = |part: &WaitingPart| SentPart {
        lane,
        reply: part.reply,
        number: part.number,
    };
    let mut unsent = parts(db, lane)?;
    let journal = connection.sent_journal.clone();
    let sent: Vec<_> = unsent
        .extract_if(.., |part| journal.find(key(part)).is_some())
        .filter_map(|part| journal.find(key(&part)))
        .collect();
    connection.remove_sent_parts(db, sent)?;
    Ok(unsent)
}

fn parts(db: &Db, lane: i64) -> rusqlite::Result<Vec<WaitingPart>> {
    let mut found = db.prepare_cached(
        "SELECT reply, number, part, attempts, ambiguous, stored_at FROM outbox WHERE lane = ?1
         ORDER BY stored_at, reply, number",
    )?;
    let found = found.query_map([lane], |row| {
        let part = serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(2, rusqlite::types::Type::Text, error.into())
        })?;
        Ok(WaitingPart {
            reply: row.get(0)?,
            number: row.get(1)?,
            part,
            attempts: row.get(3)?,
            ambiguous: row.get(4)?,
            stored_at: timestamp(row.get(5)?),
        })
    })?;
    found.collect()
}

/// A lane's current session with the newest `history` exchanges, oldest first.
fn session(db: &Db, lane: i64, number: i64, history: u32) -> rusqlite::Result<Option<Session>> {
    let mut found = db.prepare_cached(
        "SELECT key, began_at, state, exchanges, input_tokens, output_tokens FROM session WHERE lane = ?1 AND number = ?2",
    )?;
    let mut found = found.query_map((lane, number), |row| {
        Ok(Session {
            number,
            key: row.get(0)?,
            began_at: timestamp(row.get(1)?),
            state: row.get(2)?,
            exchanges: row.get(3)?,
            tokens: TokenCounts {
                input: row.get(4)?,
                output: row.get(5)?,
            },
            history: Vec::new(),
        })
    })?;
    let Some(mut session) = found.next().transpose()? else {
        return Ok(None);
    };
    if history > 0 {
        let mut kept = db.prepare_cached(
            "SELECT asked, answered FROM exchange WHERE lane = ?1 AND session = ?2 AND number > ?3 ORDER BY number",
        )?;
        let oldest = session.exchanges - i64::from(history);
        let mut rows = kept.query((lane, number, oldest))?;
        while let Some(row) = rows.next()? {
            for (role, text) in [(Role::User, row.get(0)?), (Role::Assistant, row.get(1)?)] {
                session.history.push(ChatMessage { role, text });
            }
        }
    }
    Ok(Some(session))
}
