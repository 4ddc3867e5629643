-- Everything that is stored belongs to one connector: lanes are its own, and so are denied messages, notices and dead letters.

-- Bots that more than one connector has had: whose words their sessions hold, and who accepted what waits, is not known any more.
CREATE TEMPORARY TABLE shared_bot AS
    SELECT bot FROM (SELECT bot, connector FROM lane UNION SELECT bot, connector FROM dead_letter)
    GROUP BY bot HAVING count(*) > 1;

INSERT INTO dead_letter (at, namespace, name, connector, bot, chat, topic, update_id, date, kind, attempts, reason, body)
    SELECT i.received_at, c.namespace, c.name, c.id, l.bot, l.chat, l.topic, i.update_id, i.date, 'message', i.attempts,
      'which connector of this bot had accepted it was not stored by the version before', i.body
    FROM inbox i JOIN lane l ON l.id = i.lane JOIN connector c ON c.id = l.connector
    WHERE l.bot IN (SELECT bot FROM shared_bot);
DELETE FROM inbox WHERE lane IN (SELECT id FROM lane WHERE bot IN (SELECT bot FROM shared_bot));
DELETE FROM exchange WHERE lane IN (SELECT id FROM lane WHERE bot IN (SELECT bot FROM shared_bot));
DELETE FROM session WHERE lane IN (SELECT id FROM lane WHERE bot IN (SELECT bot FROM shared_bot));
UPDATE lane SET session = 0, ready_at = CASE WHEN EXISTS (SELECT 1 FROM outbox o WHERE o.lane = lane.id) THEN ready_at END
    WHERE bot IN (SELECT bot FROM shared_bot);
DROP TABLE shared_bot;

CREATE TABLE owned_lane (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    bot       INTEGER NOT NULL,
    chat      INTEGER NOT NULL,
    topic     INTEGER NOT NULL,
    connector INTEGER NOT NULL,
    owner     INTEGER,
    ready_at  INTEGER,
    session   INTEGER NOT NULL DEFAULT 0,
    sessions  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (connector, bot, chat, topic)
) STRICT;
INSERT INTO owned_lane (id, bot, chat, topic, connector, owner, ready_at, session, sessions)
    SELECT id, bot, chat, topic, connector, owner, ready_at, session, sessions FROM lane;
DROP TABLE lane;
ALTER TABLE owned_lane RENAME TO lane;
CREATE INDEX lane_ready ON lane (connector, bot, ready_at) WHERE owner IS NULL AND ready_at IS NOT NULL;
CREATE INDEX lane_owned ON lane (owner) WHERE owner IS NOT NULL;

-- When a chat was last told by a connector that it is denied (kind 0), or the ids it asked for (kind 1).
DROP TABLE notice;
CREATE TABLE notice (
    connector INTEGER NOT NULL,
    chat      INTEGER NOT NULL,
    kind      INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (connector, chat, kind)
) STRICT, WITHOUT ROWID;

-- superseded: deleted, or another connector has its name now. What is left of it is found by its uid only.
ALTER TABLE connector ADD COLUMN superseded INTEGER NOT NULL DEFAULT 0;
UPDATE connector SET superseded = 1 WHERE EXISTS
    (SELECT 1 FROM connector later WHERE later.namespace = connector.namespace AND later.name = connector.name AND later.id > connector.id);

-- sender: 0 for who has no id. A message of a name that several connectors have had belongs to nobody, and is kept until its retention ends.
ALTER TABLE denied ADD COLUMN connector INTEGER NOT NULL DEFAULT 0;
ALTER TABLE denied ADD COLUMN sender INTEGER NOT NULL DEFAULT 0;
UPDATE denied SET sender = coalesce(json_extract(message, '$.userId'), 0),
    connector = coalesce((SELECT min(c.id) FROM connector c WHERE c.namespace = denied.namespace AND c.name = denied.name HAVING count(*) = 1), 0);
DROP INDEX denied_by_connector;
CREATE INDEX denied_by_sender ON denied (connector, sender, id);
CREATE INDEX denied_of_connector ON denied (connector, id);
CREATE INDEX dead_letter_of_connector ON dead_letter (connector, id);

-- How often a process ended without notice while this message was the first of its lane: the message may be what ended it.
ALTER TABLE inbox ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0;
