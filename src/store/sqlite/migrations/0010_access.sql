-- Who is let in beside the lists. source: 0 sign-in, 1 request, 2 an administrator. sender: the user, as of what is theirs. until: NULL for ever.
CREATE TABLE access_grant (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    connector  INTEGER NOT NULL,
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    sender     INTEGER NOT NULL,
    user_name  TEXT NOT NULL,
    username   TEXT,
    source     INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    since      INTEGER NOT NULL,
    until      INTEGER,
    revision   INTEGER NOT NULL DEFAULT 1,
    UNIQUE (connector, sender, source)
) STRICT;
CREATE INDEX access_grant_by_age ON access_grant (until) WHERE until IS NOT NULL;
CREATE INDEX access_grant_of_namespace ON access_grant (namespace, id);
CREATE INDEX access_grant_of_user ON access_grant (sender, namespace, id);
CREATE INDEX access_grant_changed ON access_grant (revision);

-- Who asks to be let in. phase: 0 waiting, 1 allowed, 2 refused, 3 muted, 4 expired. bot, chat, topic: the lane in which it was asked.
-- reply: under which number the message about it stands in the outbox of the lane of notice_chat. follow_up: the update that stands in the inbox once it is decided.
CREATE TABLE access_request (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    token          TEXT NOT NULL UNIQUE,
    connector      INTEGER NOT NULL,
    namespace      TEXT NOT NULL,
    name           TEXT NOT NULL,
    bot            INTEGER NOT NULL,
    chat           INTEGER NOT NULL,
    topic          INTEGER NOT NULL,
    update_id      INTEGER NOT NULL,
    reply          INTEGER NOT NULL,
    sender         INTEGER NOT NULL,
    user_name      TEXT NOT NULL,
    username       TEXT,
    level          TEXT NOT NULL,
    language       TEXT,
    phase          INTEGER NOT NULL DEFAULT 0,
    asked_at       INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    until          INTEGER,
    decided_at     INTEGER,
    decided_by     TEXT,
    follow_up      TEXT NOT NULL,
    notice_chat    INTEGER NOT NULL,
    notice_topic   INTEGER NOT NULL,
    notice_message INTEGER,
    tapped_message INTEGER,
    revision       INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE UNIQUE INDEX access_request_waiting ON access_request (connector, sender) WHERE phase = 0;
CREATE INDEX access_request_expiring ON access_request (expires_at) WHERE phase = 0;
CREATE INDEX access_request_asked ON access_request (connector, sender, asked_at);
CREATE INDEX access_request_shown ON access_request (reply);
CREATE INDEX access_request_by_age ON access_request (decided_at) WHERE decided_at IS NOT NULL AND phase <> 3;
CREATE INDEX access_request_of_namespace ON access_request (namespace, id);
CREATE INDEX access_request_of_user ON access_request (sender, namespace, id);
CREATE INDEX access_request_changed ON access_request (revision);

-- What lists and watches show. What changes them counts the revision up.
CREATE TRIGGER note_new_grant AFTER INSERT ON access_grant
BEGIN
    UPDATE access_grant SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
CREATE TRIGGER note_changed_grant AFTER UPDATE OF user_name, username, granted_by, until ON access_grant
BEGIN
    UPDATE access_grant SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
CREATE TRIGGER note_new_access_request AFTER INSERT ON access_request
BEGIN
    UPDATE access_request SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
CREATE TRIGGER note_changed_access_request AFTER UPDATE OF phase, decided_by ON access_request
BEGIN
    UPDATE access_request SET revision = (SELECT number FROM revision) WHERE id = NEW.id;
END;
-- Of the kinds 4 and 5.
CREATE TRIGGER note_deleted_grant AFTER DELETE ON access_grant
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 4, OLD.id, 0, OLD.connector, OLD.namespace, OLD.name, number, at FROM revision;
END;
CREATE TRIGGER note_deleted_access_request AFTER DELETE ON access_request
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 5, OLD.id, 0, OLD.connector, OLD.namespace, OLD.name, number, at FROM revision;
END;
