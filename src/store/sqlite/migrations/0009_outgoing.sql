-- Messages that somebody sends through a bot, until a day after they ended. phase: 0 pending, 1 sent, 2 failed. message_ids: separated by commas.
-- sender: the person whose private chat it goes to, as of what is sent by them; 0 for a group. ambiguous: a part of it may have been sent twice. Its parts stand in the outbox under the reply number id - 2^62, which no message has.
CREATE TABLE outgoing_message (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    connector       INTEGER NOT NULL,
    namespace       TEXT NOT NULL,
    name            TEXT NOT NULL,
    bot             INTEGER NOT NULL,
    chat            INTEGER NOT NULL,
    topic           INTEGER NOT NULL,
    sender          INTEGER NOT NULL DEFAULT 0,
    idempotency_key TEXT,
    body            TEXT NOT NULL,
    silent          INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    phase           INTEGER NOT NULL DEFAULT 0,
    reason          TEXT,
    ambiguous       INTEGER NOT NULL DEFAULT 0,
    message_ids     TEXT NOT NULL DEFAULT '',
    finished_at     INTEGER,
    revision        INTEGER NOT NULL DEFAULT 1,
    UNIQUE (namespace, name)
) STRICT;
CREATE UNIQUE INDEX outgoing_message_key ON outgoing_message (connector, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX outgoing_message_rate ON outgoing_message (connector, created_at);
CREATE INDEX outgoing_message_pending ON outgoing_message (connector) WHERE phase = 0;
CREATE INDEX outgoing_message_by_age ON outgoing_message (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX outgoing_message_of_namespace ON outgoing_message (namespace, id);
CREATE INDEX outgoing_message_of_user ON outgoing_message (sender, namespace, id);
CREATE INDEX outgoing_message_of_chat ON outgoing_message (chat, namespace, id);
CREATE INDEX outgoing_message_changed ON outgoing_message (revision);
CREATE INDEX dead_letter_outgoing ON dead_letter (reply) WHERE reply < 0;

-- Chats that a bot has met and whose last lane has gone since: when.
CREATE TABLE met_chat (
    connector INTEGER NOT NULL,
    bot       INTEGER NOT NULL,
    chat      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (connector, bot, chat)
) STRICT, WITHOUT ROWID;
CREATE INDEX met_chat_by_age ON met_chat (at);

CREATE TRIGGER keep_met_chat AFTER DELETE ON lane WHEN OLD.chat <> 0
BEGIN
    INSERT INTO met_chat (connector, bot, chat, at) VALUES (OLD.connector, OLD.bot, OLD.chat, unixepoch() * 1000)
        ON CONFLICT (connector, bot, chat) DO UPDATE SET at = excluded.at;
END;

-- What lists and watches show. A message changes in writes that are not counted as such.
CREATE TRIGGER note_new_outgoing AFTER INSERT ON outgoing_message
BEGIN
    UPDATE outgoing_message SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
CREATE TRIGGER note_changed_outgoing AFTER UPDATE OF phase, reason, ambiguous, message_ids, finished_at ON outgoing_message
BEGIN
    UPDATE revision SET number = number + 1;
    UPDATE outgoing_message SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
-- Of kind 3: its name is that of the message.
CREATE TRIGGER note_deleted_outgoing AFTER DELETE ON outgoing_message
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 3, OLD.id, 0, OLD.connector, OLD.namespace, OLD.name, number, at FROM revision;
END;
