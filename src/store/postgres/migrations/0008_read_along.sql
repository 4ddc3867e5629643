-- What was said in a group before the bot was mentioned, for the next question there. body: who said what, as JSON.
CREATE TABLE read_along (
    lane    BIGINT NOT NULL,
    message BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    body    TEXT NOT NULL,
    PRIMARY KEY (lane, message)
);
CREATE INDEX read_along_age ON read_along (at);
CREATE INDEX read_along_user ON read_along (user_id);

-- It goes with its lane, whatever ends that.
CREATE FUNCTION end_read_along() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM read_along WHERE lane = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER end_read_along AFTER DELETE ON lane FOR EACH ROW EXECUTE FUNCTION end_read_along();
