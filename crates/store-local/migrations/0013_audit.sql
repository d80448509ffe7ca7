-- The audit trail. A record says who and what in words; the rows beside it
-- are what it is searched by.
CREATE TABLE audit (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    time    INTEGER NOT NULL,
    action  TEXT NOT NULL,
    who     TEXT,
    product TEXT,
    key     TEXT,
    request TEXT,
    record  TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (time);
CREATE INDEX audit_by_request ON audit (request) WHERE request IS NOT NULL;

-- Events name releases by their manifests.
CREATE INDEX releases_by_manifest ON releases (manifest);

-- How far the trail has come. It begins here: who did what before can be
-- read from releases and requests.
CREATE TABLE audit_position (
    event     INTEGER NOT NULL,
    signature INTEGER NOT NULL
) STRICT;
INSERT INTO audit_position
    SELECT (SELECT coalesce(max(number), 0) FROM events), (SELECT coalesce(max(n), 0) FROM signatures);

CREATE TABLE audit_receivers (
    name TEXT NOT NULL PRIMARY KEY,
    told INTEGER NOT NULL
) STRICT;
