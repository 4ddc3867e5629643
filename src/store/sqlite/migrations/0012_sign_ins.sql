-- Sign-ins of people who wrote and are no members yet. phase: 0 begun, 1 the person has link and code, 2 ended (kept for the limit of an hour).
-- next_at: when a process works on it next; claims: how often one has begun to, so that one that lost it changes nothing.
-- device: what the provider is asked by, sealed. poll_every: milliseconds. cancelled: the person wants it no more. restarts: how often the provider was asked for another code.
CREATE TABLE sign_in (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    connector   INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    name        TEXT NOT NULL,
    username    TEXT,
    language    TEXT,
    phase       INTEGER NOT NULL DEFAULT 0,
    begun_at    INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    claims      INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0,
    poll_every  INTEGER NOT NULL DEFAULT 5000,
    device      BLOB,
    cancelled   INTEGER NOT NULL DEFAULT 0,
    restarts    INTEGER NOT NULL DEFAULT 0,
    first_reply INTEGER NOT NULL,
    held        INTEGER NOT NULL DEFAULT 0,
    held_bytes  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX sign_in_open ON sign_in (connector, user_id) WHERE phase < 2;
CREATE INDEX sign_in_due ON sign_in (next_at) WHERE phase < 2;
CREATE INDEX sign_in_of_user ON sign_in (user_id, connector, begun_at);
CREATE INDEX sign_in_by_age ON sign_in (begun_at);

-- Messages that wait for a sign-in, as they stood in the inbox.
CREATE TABLE sign_in_message (
    id          INTEGER PRIMARY KEY,
    sign_in     INTEGER NOT NULL,
    lane        INTEGER NOT NULL,
    update_id   INTEGER NOT NULL,
    date        INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    body        TEXT NOT NULL,
    sender      INTEGER NOT NULL
) STRICT;
CREATE INDEX sign_in_message_of ON sign_in_message (sign_in, id);
CREATE INDEX sign_in_message_of_lane ON sign_in_message (lane);
-- They go with their sign-in, whatever ends it.
CREATE TRIGGER end_sign_in_messages AFTER DELETE ON sign_in
BEGIN
    DELETE FROM sign_in_message WHERE sign_in = OLD.id;
END;

-- Who signed in, as whom, beside the grant that lets them in. refresh_token: sealed; NULL where the provider gave none.
-- recheck_at: when the provider is asked next; valid_until: when the recheck is due.
CREATE TABLE membership (
    connector     INTEGER NOT NULL,
    user_id       INTEGER NOT NULL,
    issuer        TEXT NOT NULL,
    subject       TEXT NOT NULL,
    language      TEXT,
    refresh_token BLOB,
    checked_at    INTEGER NOT NULL,
    recheck_at    INTEGER NOT NULL,
    valid_until   INTEGER NOT NULL,
    claims        INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (connector, user_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX membership_of_subject ON membership (connector, issuer, subject);
CREATE INDEX membership_due ON membership (recheck_at);
CREATE INDEX membership_checked ON membership (checked_at);
CREATE INDEX membership_of_user ON membership (user_id);

-- Whatever ends the grant of a sign-in ends the membership.
CREATE TRIGGER end_membership AFTER DELETE ON access_grant WHEN OLD.source = 0
BEGIN
    DELETE FROM membership WHERE connector = OLD.connector AND user_id = OLD.sender;
END;
