-- What the pipeline remembers of the messages that were handled in a lane, so that it knows an edit that changes nothing; and since when.
ALTER TABLE lane ADD COLUMN handled TEXT NOT NULL DEFAULT '';
ALTER TABLE lane ADD COLUMN handled_at bigint NOT NULL DEFAULT 0;
