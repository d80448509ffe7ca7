-- Root documents and revocations, by version: added, never changed.
CREATE TABLE trust_documents (
    kind         TEXT NOT NULL,
    version      INTEGER NOT NULL CHECK (version > 0),
    document     BLOB NOT NULL,
    published_by TEXT NOT NULL,
    published    INTEGER NOT NULL,
    PRIMARY KEY (kind, version)
) STRICT;

-- Devices may hold any of them: a changed one would be a second history.
CREATE TRIGGER trust_documents_stay BEFORE UPDATE ON trust_documents
BEGIN SELECT RAISE(ABORT, 'trust documents never change'); END;
CREATE TRIGGER trust_documents_remain BEFORE DELETE ON trust_documents
BEGIN SELECT RAISE(ABORT, 'trust documents are never deleted'); END;
