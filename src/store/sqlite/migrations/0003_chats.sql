-- What the pipeline remembers of the messages that were handled in a lane, so that it knows an edit that changes nothing; and since when.
ALTER TABLE lane ADD COLUMN handled TEXT NOT NULL DEFAULT '';
ALTER TABLE lane ADD COLUMN handled_at INTEGER NOT NULL DEFAULT 0;

-- Groups that became supergroups: what belongs to the old id, and the rules that name it, belong to the new one.
CREATE TABLE moved_chat (
    connector  INTEGER NOT NULL,
    bot        INTEGER NOT NULL,
    chat       INTEGER NOT NULL,
    moved_from INTEGER NOT NULL,
    PRIMARY KEY (connector, bot, chat)
) STRICT, WITHOUT ROWID;
