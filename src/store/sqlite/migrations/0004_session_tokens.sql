-- What the exchanges of a session cost, as the assistant counts it. A version before this one leaves both as they are.
ALTER TABLE session ADD COLUMN input_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE session ADD COLUMN output_tokens INTEGER NOT NULL DEFAULT 0;
