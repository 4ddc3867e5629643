-- The bytes of files that wait in the outbox. upload_bytes: how many a part has here; NULL for text, and for a file that has none.
ALTER TABLE outbox ADD COLUMN upload_bytes INTEGER;

CREATE TABLE upload (
    reply     INTEGER NOT NULL,
    number    INTEGER NOT NULL,
    connector INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    content   BLOB NOT NULL,
    PRIMARY KEY (reply, number)
) STRICT;
CREATE INDEX upload_sizes ON upload (connector, bytes);

-- A part takes its bytes with it, whatever ends it: sent, given up, replaced, its connector deleted.
CREATE TRIGGER end_upload AFTER DELETE ON outbox WHEN OLD.upload_bytes IS NOT NULL
BEGIN
    DELETE FROM upload WHERE reply = OLD.reply AND number = OLD.number;
END;
