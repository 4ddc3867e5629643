-- What was said in a group before the bot was mentioned, for the next question there. body: who said what, as JSON.
CREATE TABLE read_along (
    lane    INTEGER NOT NULL,
    message INTEGER NOT NULL,
    user_id INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (lane, message)
) STRICT, WITHOUT ROWID;
CREATE INDEX read_along_age ON read_along (at);
CREATE INDEX read_along_user ON read_along (user_id);

-- It goes with its lane, whatever ends that.
CREATE TRIGGER end_read_along AFTER DELETE ON lane
BEGIN
    DELETE FROM read_along WHERE lane = OLD.id;
END;
