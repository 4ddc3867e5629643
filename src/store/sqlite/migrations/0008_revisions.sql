-- Who sent it: the user's id; 0 where that is not known. What the versions before stored of a group's conversation is nobody's.
ALTER TABLE inbox ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
UPDATE inbox SET sender = coalesce((SELECT CASE typeof(u.value) WHEN 'integer' THEN u.value END
      FROM json_tree(CASE WHEN json_valid(body) THEN body ELSE '{}' END) u WHERE u.key = 'id' AND u.path IN ('$.message.from', '$.edited_message.from',
        '$.callback_query.from', '$.my_chat_member.from', '$.channel_post.from') LIMIT 1), 0);
ALTER TABLE outbox ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET sender = coalesce((SELECT l.chat FROM lane l WHERE l.id = outbox.lane AND l.chat > 0), 0);
ALTER TABLE dead_letter ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
UPDATE dead_letter SET sender = CASE WHEN kind = 'reply' THEN max(chat, 0) ELSE
    coalesce((SELECT CASE typeof(u.value) WHEN 'integer' THEN u.value END
      FROM json_tree(CASE WHEN json_valid(body) THEN body ELSE '{}' END) u WHERE u.key = 'id' AND u.path IN ('$.message.from', '$.edited_message.from',
        '$.callback_query.from', '$.my_chat_member.from', '$.channel_post.from') LIMIT 1), max(chat, 0)) END;
-- Somebody was erased since it was claimed: what whoever holds it remembers of others' words is not to be kept.
ALTER TABLE lane ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;
-- Of whoever asked. Where that is not known, the words that follow name them.
ALTER TABLE user_decision ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
-- speakers: the ids of whoever else's words the question holds, each between spaces; NULL for none.
ALTER TABLE exchange ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
ALTER TABLE exchange ADD COLUMN speakers TEXT;
UPDATE exchange SET sender = coalesce((SELECT l.chat FROM lane l WHERE l.id = exchange.lane AND l.chat > 0), 0);

ALTER TABLE denied ADD COLUMN chat INTEGER NOT NULL DEFAULT 0;
UPDATE denied SET chat = coalesce(CASE WHEN json_valid(message) THEN json_extract(message, '$.chat') END, 0);
ALTER TABLE session ADD COLUMN namespace TEXT NOT NULL DEFAULT '';
UPDATE session SET namespace = coalesce((SELECT c.namespace FROM lane l JOIN connector c ON c.id = l.connector WHERE l.id = session.lane), '');
-- A version before this one beside it does not say where its sessions belong.
CREATE TRIGGER name_session AFTER INSERT ON session WHEN NEW.namespace = ''
BEGIN
    UPDATE session SET namespace = coalesce((SELECT c.namespace FROM lane l JOIN connector c ON c.id = l.connector WHERE l.id = NEW.lane), '')
      WHERE lane = NEW.lane AND number = NEW.number;
END;

-- Counts the transactions that change what lists and watches show. Of what was deleted up to `oldest` nothing is remembered. at: when it was last counted up.
CREATE TABLE revision (
    number INTEGER NOT NULL,
    oldest INTEGER NOT NULL,
    at     INTEGER NOT NULL
) STRICT;
INSERT INTO revision (number, oldest, at) VALUES (1, 1, 0);
ALTER TABLE denied ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE session ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;
ALTER TABLE dead_letter ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

CREATE INDEX denied_of_namespace ON denied (namespace, id);
CREATE INDEX denied_of_user ON denied (sender, namespace, id);
CREATE INDEX denied_of_chat ON denied (chat, namespace, id);
CREATE INDEX denied_changed ON denied (revision);
CREATE INDEX dead_letter_of_namespace ON dead_letter (namespace, id);
CREATE INDEX dead_letter_of_user ON dead_letter (sender, namespace, id);
CREATE INDEX dead_letter_of_chat ON dead_letter (chat, namespace, id);
CREATE INDEX dead_letter_changed ON dead_letter (revision);
CREATE INDEX session_of_namespace ON session (namespace, lane, number);
CREATE INDEX session_changed ON session (revision);
CREATE INDEX lane_of_chat ON lane (chat);

-- What was deleted, for whoever watches. kind: 0 denied, 1 session, 2 dead_letter. Nothing of a person is in it.
CREATE TABLE deleted_object (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      INTEGER NOT NULL,
    first     INTEGER NOT NULL,
    second    INTEGER NOT NULL,
    connector INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    revision  INTEGER NOT NULL,
    at        INTEGER NOT NULL
) STRICT;
CREATE INDEX deleted_object_by_revision ON deleted_object (kind, revision);

CREATE TRIGGER denied_deleted AFTER DELETE ON denied
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 0, OLD.id, 0, OLD.connector, OLD.namespace, OLD.name, number, at FROM revision;
END;
CREATE TRIGGER session_deleted AFTER DELETE ON session
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 1, OLD.lane, OLD.number, coalesce(c.id, 0), OLD.namespace, coalesce(c.name, ''), r.number, r.at
      FROM revision r LEFT JOIN lane l ON l.id = OLD.lane LEFT JOIN connector c ON c.id = l.connector;
END;
CREATE TRIGGER dead_letter_deleted AFTER DELETE ON dead_letter
BEGIN
    INSERT INTO deleted_object (kind, first, second, connector, namespace, name, revision, at)
      SELECT 2, OLD.id, 0, OLD.connector, OLD.namespace, OLD.name, number, at FROM revision;
END;
-- A session that ends, or whose chat has another id now, shows it.
CREATE TRIGGER session_of_lane_changed AFTER UPDATE OF session, chat ON lane WHEN OLD.session <> NEW.session OR OLD.chat <> NEW.chat
BEGIN
    UPDATE session SET revision = (SELECT number FROM revision)
      WHERE lane = NEW.id AND (number = OLD.session OR OLD.chat <> NEW.chat);
END;
