-- What was asked of assistants in a day, where a connector limits it: by its users, and (sender 0) by all of them. day: the date in days since
-- 1970-01-01. A version before this one leaves it as it is.
CREATE TABLE day_usage (
    connector BIGINT NOT NULL,
    sender    BIGINT NOT NULL,
    day       BIGINT NOT NULL,
    messages  BIGINT NOT NULL DEFAULT 0,
    tokens    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (connector, sender, day)
);

-- The question was counted: another attempt at it is not.
ALTER TABLE inbox ADD COLUMN counted BIGINT NOT NULL DEFAULT 0;
