-- Tokens that were good for one change, and what they were used for. They go
-- when they have ended.
CREATE TABLE used_tokens (
    token   BLOB NOT NULL PRIMARY KEY,
    purpose BLOB,
    ends    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX used_tokens_by_end ON used_tokens (ends);
