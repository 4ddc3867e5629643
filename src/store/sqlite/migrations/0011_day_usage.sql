-- What was asked of assistants in a day, where a connector limits it: by its users, and (sender 0) by all of them. day: the date in days since
-- 1970-01-01. A version before this one leaves it as it is.
CREATE TABLE day_usage (
    connector INTEGER NOT NULL,
    sender    INTEGER NOT NULL,
    day       INTEGER NOT NULL,
    messages  INTEGER NOT NULL DEFAULT 0,
    tokens    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (connector, sender, day)
) STRICT, WITHOUT ROWID;

-- The question was counted: another attempt at it is not.
ALTER TABLE inbox ADD COLUMN counted INTEGER NOT NULL DEFAULT 0;
