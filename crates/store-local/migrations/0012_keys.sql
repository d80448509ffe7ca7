-- Signing keys: the public halves stay for ever; the state changes. Uses are
-- counted when they are granted.
CREATE TABLE keys (
    id          BLOB PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    implicit    INTEGER NOT NULL,
    purpose     TEXT NOT NULL,
    environment TEXT NOT NULL,
    spki        BLOB NOT NULL,
    entered     INTEGER NOT NULL,
    state       TEXT NOT NULL,
    granted     INTEGER NOT NULL DEFAULT 0 CHECK (granted >= 0)
) STRICT;

CREATE TRIGGER keys_stay BEFORE UPDATE OF id, purpose, environment, spki, entered ON keys
BEGIN SELECT RAISE(ABORT, 'what a key is never changes'); END;
CREATE TRIGGER keys_remain BEFORE DELETE ON keys
BEGIN SELECT RAISE(ABORT, 'keys are never deleted'); END;

CREATE TABLE key_hours (
    key     BLOB NOT NULL REFERENCES keys (id),
    hour    INTEGER NOT NULL,
    granted INTEGER NOT NULL CHECK (granted >= 0),
    PRIMARY KEY (key, hour)
) STRICT, WITHOUT ROWID;

-- What happened, for people; limits do not depend on it.
CREATE TABLE key_uses (
    key     BLOB NOT NULL REFERENCES keys (id),
    hour    INTEGER NOT NULL,
    product TEXT NOT NULL,
    caller  TEXT NOT NULL,
    uses    INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    PRIMARY KEY (key, hour, product, caller)
) STRICT, WITHOUT ROWID;
