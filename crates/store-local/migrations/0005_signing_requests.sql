-- Releases that wait for people, and who agreed. The request itself never
-- changes; its state leaves `waiting` once.
CREATE TABLE signing_requests (
    n       INTEGER PRIMARY KEY,
    id      TEXT NOT NULL UNIQUE,
    product TEXT NOT NULL REFERENCES products (id),
    state   TEXT NOT NULL,
    request TEXT NOT NULL
) STRICT;
CREATE INDEX signing_requests_by_state ON signing_requests (state, n);

CREATE TABLE approvals (
    request  TEXT NOT NULL REFERENCES signing_requests (id),
    holder   TEXT NOT NULL,
    approval TEXT NOT NULL,
    PRIMARY KEY (request, holder)
) STRICT;
