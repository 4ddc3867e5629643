-- Questions with buttons that wait for a person. state: 0 open, 1 taken, 2 the assistant has been told.
-- lane asked, shown_lane shows the buttons. follow_up: the update that stands in the inbox once it is taken. details, taken: JSON.
CREATE TABLE user_decision (
    id         TEXT PRIMARY KEY,
    connector  INTEGER NOT NULL,
    lane       INTEGER NOT NULL,
    shown_lane INTEGER NOT NULL,
    reply      INTEGER NOT NULL,
    session    INTEGER NOT NULL,
    kind       INTEGER NOT NULL,
    state      INTEGER NOT NULL DEFAULT 0,
    opened_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    taken_at   INTEGER,
    message_id INTEGER,
    update_id  INTEGER NOT NULL,
    follow_up  TEXT NOT NULL,
    details    TEXT NOT NULL,
    taken      TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX user_decision_expiring ON user_decision (expires_at) WHERE state = 0;
CREATE INDEX user_decision_of_lane ON user_decision (lane) WHERE state = 0;
CREATE INDEX user_decision_shown ON user_decision (shown_lane, reply) WHERE state = 0;
CREATE INDEX user_decision_by_age ON user_decision (opened_at);

-- How many of the lane's decisions are open.
ALTER TABLE lane ADD COLUMN open_decisions INTEGER NOT NULL DEFAULT 0;
