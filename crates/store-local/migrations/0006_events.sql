-- What happened, for the log to tell. A row is written with what it is
-- about; it waits until it has an index.
CREATE TABLE events (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    event     BLOB NOT NULL,
    log_index INTEGER
) STRICT;
CREATE INDEX events_waiting ON events (number) WHERE log_index IS NULL;
