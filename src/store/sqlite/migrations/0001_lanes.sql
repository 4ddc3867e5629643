-- Times are Unix milliseconds, except inbox.date: Telegram's own seconds.

CREATE TABLE connector (
    id        INTEGER PRIMARY KEY,
    uid       TEXT NOT NULL UNIQUE,
    namespace TEXT NOT NULL DEFAULT '',
    name      TEXT NOT NULL DEFAULT ''
) STRICT;

-- A process that claims lanes. Its row is the fence: whoever takes over its lanes deletes it, and its writes fail.
CREATE TABLE claimant (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL,
    locked     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- The identity of every update that was ever accepted, until its age makes a second delivery impossible.
CREATE TABLE seen (
    bot       INTEGER NOT NULL,
    update_id INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (bot, update_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_by_age ON seen (at);

-- ready_at is NULL while nothing waits. A lane is free while owner is NULL.
CREATE TABLE lane (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    bot       INTEGER NOT NULL,
    chat      INTEGER NOT NULL,
    topic     INTEGER NOT NULL,
    connector INTEGER NOT NULL,
    owner     INTEGER,
    ready_at  INTEGER,
    session   INTEGER NOT NULL DEFAULT 0,
    sessions  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (bot, chat, topic)
) STRICT;
CREATE INDEX lane_ready ON lane (connector, bot, ready_at) WHERE owner IS NULL AND ready_at IS NOT NULL;
CREATE INDEX lane_owned ON lane (owner) WHERE owner IS NOT NULL;

CREATE TABLE inbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    lane        INTEGER NOT NULL,
    update_id   INTEGER NOT NULL,
    date        INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    attempts    INTEGER NOT NULL DEFAULT 0,
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX inbox_order ON inbox (lane, date, update_id);

CREATE TABLE outbox (
    lane      INTEGER NOT NULL,
    reply     INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    update_id INTEGER NOT NULL,
    attempts  INTEGER NOT NULL DEFAULT 0,
    ambiguous INTEGER NOT NULL DEFAULT 0,
    stored_at INTEGER NOT NULL,
    part      TEXT NOT NULL,
    PRIMARY KEY (lane, reply, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    lane      INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    key       TEXT NOT NULL,
    began_at  INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,
    exchanges INTEGER NOT NULL DEFAULT 0,
    state     TEXT,
    PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_age ON session (last_at);

CREATE TABLE exchange (
    lane     INTEGER NOT NULL,
    session  INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    asked    TEXT NOT NULL,
    answered TEXT NOT NULL,
    PRIMARY KEY (lane, session, number)
) STRICT, WITHOUT ROWID;

-- When a chat was last told that it is denied.
CREATE TABLE notice (
    bot  INTEGER NOT NULL,
    chat INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (bot, chat)
) STRICT, WITHOUT ROWID;

CREATE TABLE denied (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    stored_at INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    message   TEXT NOT NULL
) STRICT;
CREATE INDEX denied_by_connector ON denied (namespace, name, id);
CREATE INDEX denied_by_age ON denied (stored_at);

CREATE TABLE dead_letter (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    connector INTEGER NOT NULL,
    bot       INTEGER NOT NULL,
    chat      INTEGER NOT NULL,
    topic     INTEGER NOT NULL,
    update_id INTEGER NOT NULL,
    date      INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    reply     INTEGER NOT NULL DEFAULT 0,
    number    INTEGER NOT NULL DEFAULT 0,
    attempts  INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    body      TEXT NOT NULL
) STRICT;
CREATE INDEX dead_letter_by_age ON dead_letter (at);
