-- The bytes of files that wait in the outbox. upload_bytes: how many a part has here; NULL for text, and for a file that has none.
ALTER TABLE outbox ADD COLUMN upload_bytes BIGINT;

CREATE TABLE upload (
    reply     BIGINT NOT NULL,
    number    BIGINT NOT NULL,
    connector BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    content   BYTEA NOT NULL,
    PRIMARY KEY (reply, number)
);
CREATE INDEX upload_sizes ON upload (connector, bytes);
-- Pictures and sound are compressed already.
ALTER TABLE upload ALTER COLUMN content SET STORAGE EXTERNAL;

-- A part takes its bytes with it, whatever ends it: sent, given up, replaced, its connector deleted.
CREATE FUNCTION end_upload() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM upload WHERE reply = OLD.reply AND number = OLD.number;
    RETURN NULL;
END $$;
CREATE TRIGGER end_upload AFTER DELETE OR UPDATE OF upload_bytes ON outbox FOR EACH ROW WHEN (OLD.upload_bytes IS NOT NULL)
    EXECUTE FUNCTION end_upload();
