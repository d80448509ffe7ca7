-- How keys and callers are usually used, and the last day with a use.
CREATE TABLE habits (
    name  TEXT NOT NULL PRIMARY KEY,
    last  INTEGER NOT NULL,
    habit TEXT NOT NULL
) STRICT;
CREATE INDEX habits_by_last ON habits (last);
