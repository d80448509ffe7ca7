-- The foundation: everything that one chain on one machine keeps.
--
-- `n` orders a table from oldest to newest and is what pages run along.
-- Digests are BLOBs of 32 bytes, ids their text, times milliseconds since
-- the Unix epoch, lists JSON.

CREATE TABLE blobs (
    digest BLOB NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
    size   INTEGER NOT NULL,
    -- SHA-256 of each 64 KiB of the file, one after the other: what makes
    -- a range readable without reading the whole.
    chunks BLOB NOT NULL
) STRICT;

CREATE TABLE uploads (
    id      TEXT NOT NULL PRIMARY KEY,
    size    INTEGER NOT NULL,
    digest  BLOB NOT NULL CHECK (length(digest) = 32),
    owner   TEXT NOT NULL,
    expires INTEGER NOT NULL,
    -- Bytes that were fsynced. The file may be longer after a crash; what
    -- lies beyond is overwritten.
    offset  INTEGER NOT NULL CHECK (offset BETWEEN 0 AND size)
) STRICT;

CREATE TABLE products (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    environment TEXT NOT NULL,
    vendor      TEXT NOT NULL,
    class       TEXT NOT NULL,
    hardware    TEXT NOT NULL,
    format      TEXT NOT NULL,
    components  TEXT NOT NULL,
    created     INTEGER NOT NULL
) STRICT;

CREATE TABLE artifacts (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    id          BLOB NOT NULL UNIQUE REFERENCES blobs (digest),
    size        INTEGER NOT NULL,
    format      TEXT NOT NULL,
    inspection  TEXT NOT NULL,
    uploaded_by TEXT NOT NULL,
    created     INTEGER NOT NULL
) STRICT;

CREATE TABLE releases (
    n             INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT NOT NULL UNIQUE,
    product       TEXT NOT NULL REFERENCES products (id),
    channel       TEXT NOT NULL,
    version       TEXT NOT NULL,
    sequence      INTEGER NOT NULL,
    epoch         INTEGER NOT NULL,
    components    TEXT NOT NULL,
    manifest      BLOB NOT NULL CHECK (length(manifest) = 32),
    envelope      BLOB NOT NULL REFERENCES blobs (digest),
    state         TEXT NOT NULL,
    build         TEXT NOT NULL,
    source_commit TEXT NOT NULL,
    request       TEXT NOT NULL UNIQUE,
    requester     TEXT NOT NULL,
    log_index     INTEGER NOT NULL,
    created       INTEGER NOT NULL,
    UNIQUE (product, sequence),
    UNIQUE (product, channel, version)
) STRICT;

CREATE TABLE requests (
    id          TEXT NOT NULL PRIMARY KEY,
    key         TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    requester   TEXT NOT NULL,
    created     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    -- When the claim runs out; NULL while nobody holds one.
    lease_until INTEGER,
    result      BLOB
) STRICT;

CREATE TABLE tokens (
    hash       BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
    product    TEXT NOT NULL REFERENCES products (id),
    labels     TEXT NOT NULL,
    expires    INTEGER NOT NULL,
    uses       INTEGER NOT NULL CHECK (uses >= 0),
    created_by TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT;

CREATE TABLE devices (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    product    TEXT NOT NULL REFERENCES products (id),
    state      TEXT NOT NULL,
    -- What it runs: all five, or none while it has not spoken.
    version    TEXT,
    sequence   INTEGER,
    epoch      INTEGER,
    slot       TEXT,
    slot_state TEXT,
    last_seen  INTEGER,
    labels     TEXT NOT NULL,
    token      BLOB NOT NULL REFERENCES tokens (hash),
    created    INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_by_product ON devices (product, n);

-- One key, one device, for good: certificates may be renewed under it.
CREATE TABLE device_keys (
    spki   BLOB NOT NULL PRIMARY KEY CHECK (length(spki) = 32),
    device TEXT NOT NULL REFERENCES devices (id)
) STRICT;

CREATE TABLE certificates (
    n           INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),
    device      TEXT NOT NULL REFERENCES devices (id),
    spki        BLOB NOT NULL REFERENCES device_keys (spki),
    serial      TEXT NOT NULL,
    not_after   INTEGER NOT NULL
) STRICT;
CREATE INDEX certificates_by_device ON certificates (device, n);

CREATE TABLE holds (
    device  TEXT NOT NULL REFERENCES devices (id),
    release TEXT NOT NULL REFERENCES releases (id),
    PRIMARY KEY (device, release)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    release    TEXT NOT NULL REFERENCES releases (id),
    product    TEXT NOT NULL REFERENCES products (id),
    cohort     TEXT NOT NULL,
    state      TEXT NOT NULL,
    starts     INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created    INTEGER NOT NULL
) STRICT;
CREATE INDEX rollouts_by_state ON rollouts (state);

-- Rollout, release and request are what the device said, not references: a
-- report about something that is gone or was never here is still a report.
CREATE TABLE reports (
    n              INTEGER PRIMARY KEY AUTOINCREMENT,
    device         TEXT NOT NULL REFERENCES devices (id),
    id             TEXT NOT NULL,
    rollout        TEXT,
    release        TEXT,
    build          TEXT,
    request        TEXT,
    phase          TEXT NOT NULL,
    time           INTEGER NOT NULL,
    blocks_fetched INTEGER NOT NULL,
    blocks_resumed INTEGER NOT NULL,
    received       INTEGER NOT NULL,
    UNIQUE (device, id)
) STRICT;
CREATE INDEX reports_by_device ON reports (device, n);
CREATE INDEX reports_by_rollout ON reports (rollout, n);

CREATE TABLE credentials (
    n        INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    operator TEXT NOT NULL,
    kind     TEXT NOT NULL,
    digest   BLOB NOT NULL CHECK (length(digest) = 32),
    roles    TEXT NOT NULL,
    created  INTEGER NOT NULL,
    expires  INTEGER,
    revoked  INTEGER,
    UNIQUE (kind, digest)
) STRICT;
