-- Signing requests on their way. What was asked never changes; `progress`
-- does. `since` is set while a claim is not accounted for: from there on the
-- log may have entries of it.
CREATE TABLE jobs (
    n           INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    key         TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    product     TEXT NOT NULL REFERENCES products (id),
    requester   TEXT NOT NULL,
    signing_key TEXT NOT NULL,
    priority    INTEGER NOT NULL,
    share       TEXT NOT NULL,
    created     INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    state       TEXT NOT NULL,
    not_before  INTEGER NOT NULL DEFAULT 0,
    attempt     INTEGER NOT NULL DEFAULT 0,
    lease_until INTEGER,
    since       INTEGER,
    asked       TEXT NOT NULL,
    progress    TEXT
) STRICT;
-- The queue: each share's oldest job is found without reading the others.
CREATE INDEX jobs_queue ON jobs (signing_key, priority, share, n)
    WHERE state = 'queued' AND lease_until IS NULL;
CREATE INDEX jobs_claimed ON jobs (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX jobs_open ON jobs (deadline) WHERE state IN ('queued', 'waiting', 'held');

CREATE TABLE job_approvals (
    request  TEXT NOT NULL REFERENCES jobs (id),
    holder   TEXT NOT NULL,
    approval TEXT NOT NULL,
    PRIMARY KEY (request, holder)
) STRICT;

-- Records of policy decisions.
CREATE TABLE decisions (
    digest BLOB PRIMARY KEY,
    record BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What artifact jobs came to. Never changed, never deleted.
CREATE TABLE signatures (
    n         INTEGER PRIMARY KEY,
    request   TEXT NOT NULL UNIQUE,
    key_id    BLOB NOT NULL,
    tbs       BLOB NOT NULL,
    log_index INTEGER NOT NULL,
    signature TEXT NOT NULL
) STRICT;
CREATE INDEX signatures_by_tbs ON signatures (tbs, key_id);
