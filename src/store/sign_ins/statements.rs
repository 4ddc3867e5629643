//! The statements of sign-ins, the same on both databases. Values stand in the order of their numbers, as `SQLite` counts them.

/// Counts the message `$1` with the open sign-in of the connector `$2` and the user `$3`, if there is room for it: `$4` messages, `$5` bytes.
pub(super) const COUNT_HELD: &str =
    "UPDATE sign_in SET held = held + 1, held_bytes = held_bytes + (SELECT octet_length(body) FROM inbox WHERE id = $1)
     WHERE connector = $2 AND user_id = $3 AND phase < 2 AND cancelled = 0 AND held < $4 AND held_bytes < $5
       AND EXISTS (SELECT 1 FROM inbox WHERE id = $1) RETURNING id";

/// Moves the message `$2` from the inbox to the sign-in `$1`.
pub(super) const HOLD: [&str; 2] = [
    "INSERT INTO sign_in_message (id, sign_in, lane, update_id, date, received_at, body, sender)
       SELECT id, $1, lane, update_id, date, received_at, body, sender FROM inbox WHERE id = $2",
    "DELETE FROM inbox WHERE $1 > 0 AND id = $2",
];

pub(super) const FIND_MESSAGE: &str = "SELECT id FROM inbox WHERE id = $1";
pub(super) const FIND_OPEN: &str =
    "SELECT id FROM sign_in WHERE connector = $1 AND user_id = $2 AND phase < 2";
/// Whether the user `$2` is let in by a grant of the connector `$1` at `$3`.
pub(super) const FIND_GRANT: &str = "SELECT id FROM access_grant WHERE connector = $1 AND sender = $2 AND (until IS NULL OR until > $3)";
/// Sign-ins of the connector `$1` and the user `$2` that began from `$3` up to `$4`.
pub(super) const COUNT_LATELY: &str = "SELECT count(*) FROM sign_in WHERE connector = $1 AND user_id = $2 AND begun_at > $3 AND begun_at <= $4";
pub(super) const COUNT_OPEN: &str =
    "SELECT count(*) FROM sign_in WHERE connector = $1 AND phase < 2";

/// Begins a sign-in of the connector `$1` in the lane `$2` for the user `$3`, named `$4`, `$5`, of the language `$6`, at `$7`, until `$8`, with the message `$9`.
pub(super) const BEGIN: &str = "INSERT INTO sign_in (connector, lane, user_id, name, username, language, begun_at, expires_at, first_reply, next_at, held, held_bytes)
     SELECT $1, $2, $3, $4, $5, $6, $7, $8, i.id, $7, 1, octet_length(i.body) FROM inbox i WHERE i.id = $9
     ON CONFLICT (connector, user_id) WHERE phase < 2 DO NOTHING RETURNING id";

/// The connectors with due sign-ins, and with due memberships, at `$1`. What is put off beyond `$2`, and what was checked in the future, was so by a clock
/// that has stepped back since.
pub(in crate::store) const FIND_WORK: &str = "SELECT DISTINCT CAST(0 AS BIGINT), c.uid FROM sign_in s JOIN connector c ON c.id = s.connector
       WHERE s.phase < 2 AND (s.next_at <= $1 OR s.next_at > $2)
     UNION ALL
     SELECT DISTINCT CAST(1 AS BIGINT), c.uid FROM membership m JOIN connector c ON c.id = m.connector WHERE m.recheck_at <= $1 OR m.checked_at > $1";

/// Claims due sign-ins until `$1`: of the connector `$2`, due at `$3` (or put off beyond `$4`), `$5` at most.
pub(super) const CLAIM_SIGN_INS: &str = "UPDATE sign_in SET claims = claims + 1, next_at = $1 WHERE id IN
       (SELECT s.id FROM sign_in s JOIN connector c ON c.id = s.connector WHERE c.uid = $2 AND s.phase < 2 AND (s.next_at <= $3 OR s.next_at > $4)
        ORDER BY s.next_at, s.id LIMIT $5)
       AND phase < 2 AND (next_at <= $3 OR next_at > $4)
     RETURNING id, claims, connector, (SELECT l.bot FROM lane l WHERE l.id = sign_in.lane), user_id, name, username, language, device, poll_every, failures,
       expires_at, cancelled";

/// Whether the sign-in `$1` is still that of the claim `$2`; its row is ours from here to the end of the transaction.
pub(super) const HOLD_CLAIM: &str = "UPDATE sign_in SET claims = claims WHERE id = $1 AND claims = $2 AND phase < 2 RETURNING connector, lane, user_id, first_reply, language, name, username, restarts";

pub(super) const SET_ASKED: &str = "UPDATE sign_in SET phase = 1, device = $1, next_at = $2, poll_every = $3, expires_at = $4, failures = 0 WHERE id = $5";
/// Has the provider asked for another code from `$1` to `$2` for the sign-in `$3`, unless it was `$4` times.
pub(super) const SET_BEGUN: &str = "UPDATE sign_in SET phase = 0, device = NULL, next_at = $1, expires_at = $2, failures = 0, restarts = restarts + 1 WHERE id = $3 AND restarts < $4";
/// The open sign-ins of the connector `$1`, some of them, as claims.
pub(super) const FIND_OPEN_OF: &str = "SELECT s.id, s.claims FROM sign_in s JOIN connector c ON c.id = s.connector WHERE c.uid = $1 AND s.phase < 2 LIMIT 500";
pub(super) const SET_WAITING: &str =
    "UPDATE sign_in SET next_at = $1, poll_every = $2, failures = $3 WHERE id = $4";
/// Ends the sign-in `$1`: what it was asked by goes.
pub(super) const END: &str =
    "UPDATE sign_in SET phase = 2, device = NULL, held_bytes = 0 WHERE id = $1";
/// Cancels at `$1` the open sign-in of the connector `$2` and the user `$3`; whoever works on it loses it.
pub(super) const CANCEL: &str = "UPDATE sign_in SET cancelled = 1, claims = claims + 1, next_at = CASE WHEN next_at > $1 THEN $1 ELSE next_at END WHERE connector = $2 AND user_id = $3 AND phase < 2";

/// Whether a message newer than `$2` waits for the sign-in `$1`.
pub(super) const FIND_NEWER: &str =
    "SELECT id FROM sign_in_message WHERE sign_in = $1 AND id > $2 LIMIT 1";
pub(super) const DROP_MESSAGES: &str = "DELETE FROM sign_in_message WHERE sign_in = $1";
/// Puts the messages of the sign-in `$1` back into the inbox. Their dates and numbers put them before what came later.
pub(super) const PUT_BACK: &str = "INSERT INTO inbox (lane, update_id, date, received_at, body, sender)
     SELECT m.lane, m.update_id, m.date, m.received_at, m.body, m.sender FROM sign_in_message m WHERE m.sign_in = $1 AND EXISTS (SELECT 1 FROM lane l WHERE l.id = m.lane) ORDER BY m.id";
/// Makes the lanes ready at `$1` of the messages of the sign-in `$2`.
pub(super) const WAKE_LANES: &str = "UPDATE lane SET ready_at = CASE WHEN ready_at IS NULL OR ready_at > $1 THEN $1 ELSE ready_at END
     WHERE id IN (SELECT m.lane FROM sign_in_message m WHERE m.sign_in = $2)";
/// Makes the lane `$2` ready at `$1`.
pub(super) const WAKE_LANE: &str = "UPDATE lane SET ready_at = CASE WHEN ready_at IS NULL OR ready_at > $1 THEN $1 ELSE ready_at END WHERE id = $2";
/// Stores the part `$3` with the number `$2` of the reply `$1`, at `$4`, for the user `$5`, in the lane `$6`.
pub(super) const STORE_PART: &str = "INSERT INTO outbox (lane, reply, number, update_id, part, stored_at, sender)
     SELECT l.id, $1, $2, 0, $3, $4, $5 FROM lane l WHERE l.id = $6 ON CONFLICT (lane, reply, number) DO NOTHING";
/// The lane of the private chat `$1` with the bot of the lane `$3`, made at `$2` where there is none.
pub(super) const PRIVATE_LANE: &str = "INSERT INTO lane (bot, chat, topic, connector, ready_at) SELECT l.bot, $1, 0, l.connector, $2 FROM lane l WHERE l.id = $3
     ON CONFLICT (connector, bot, chat, topic) DO UPDATE SET ready_at = coalesce(lane.ready_at, excluded.ready_at) RETURNING id";

/// Who is signed in at the connector `$1` as the subject `$3` of the issuer `$2`.
pub(in crate::store) const FIND_SUBJECT: &str = "SELECT user_id, language FROM membership WHERE connector = $1 AND issuer = $2 AND subject = $3";
pub(super) const DROP_MEMBERSHIP: &str =
    "DELETE FROM membership WHERE connector = $1 AND user_id = $2";
/// Lets the user `$1`, named `$2`, `$3`, in by `$4`'s account, at `$5`, at the connector `$6`.
pub(super) const ADD_GRANT: &str = "INSERT INTO access_grant (connector, namespace, name, sender, user_name, username, source, granted_by, since)
     SELECT c.id, c.namespace, c.name, $1, $2, $3, 0, $4, $5 FROM connector c WHERE c.id = $6";
/// Ends what let the user `$2` in at the connector `$1` by a sign-in.
pub(super) const END_GRANT: &str =
    "DELETE FROM access_grant WHERE connector = $1 AND sender = $2 AND source = 0";
pub(super) const ADD_MEMBERSHIP: &str = "INSERT INTO membership (connector, user_id, issuer, subject, language, refresh_token, checked_at, recheck_at, valid_until)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
/// Claims due memberships until `$1`: due at `$2`, of the connector `$3`, `$4` at most.
pub(super) const CLAIM_MEMBERSHIPS: &str = "UPDATE membership SET claims = claims + 1, recheck_at = $1, checked_at = CASE WHEN checked_at > $2 THEN $2 ELSE checked_at END
     WHERE connector IN (SELECT id FROM connector WHERE uid = $3) AND user_id IN
       (SELECT m.user_id FROM membership m JOIN connector c ON c.id = m.connector WHERE c.uid = $3 AND (m.recheck_at <= $2 OR m.checked_at > $2)
        ORDER BY m.recheck_at LIMIT $4)
       AND (recheck_at <= $2 OR checked_at > $2)
     RETURNING connector, user_id, claims, issuer, subject, refresh_token, valid_until, failures";
pub(super) const KEEP_MEMBERSHIP: &str = "UPDATE membership SET refresh_token = coalesce($1, refresh_token), recheck_at = $2, valid_until = $3, checked_at = $4, failures = 0
     WHERE connector = $5 AND user_id = $6 AND claims = $7";
pub(super) const WAIT_MEMBERSHIP: &str = "UPDATE membership SET recheck_at = $1, failures = $2 WHERE connector = $3 AND user_id = $4 AND claims = $5";
pub(super) const END_MEMBERSHIP: &str =
    "DELETE FROM membership WHERE connector = $1 AND user_id = $2 AND claims = $3";
/// Some members of the connector `$1` whose provider is not `$2`.
pub(super) const FIND_OTHER_MEMBERS: &str =
    "SELECT m.connector, m.user_id FROM membership m JOIN connector c ON c.id = m.connector
     WHERE c.uid = $1 AND (CAST($2 AS TEXT) IS NULL OR m.issuer <> $2) LIMIT 500";
