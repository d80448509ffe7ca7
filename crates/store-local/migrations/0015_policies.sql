-- Policies: proposals, whose state leaves `open` once, who agreed, and which
-- was in force when. Their documents are blobs.
CREATE TABLE policy_proposals (
    n        INTEGER PRIMARY KEY,
    id       TEXT NOT NULL UNIQUE,
    policy   BLOB NOT NULL,
    state    TEXT NOT NULL,
    proposal TEXT NOT NULL
) STRICT;
CREATE INDEX policy_proposals_by_state ON policy_proposals (state, n);
CREATE UNIQUE INDEX policy_proposals_open ON policy_proposals (policy) WHERE state = 'open';
CREATE INDEX policy_proposals_by_policy ON policy_proposals (policy, n);

CREATE TABLE policy_approvals (
    proposal TEXT NOT NULL REFERENCES policy_proposals (id),
    holder   TEXT NOT NULL,
    approval TEXT NOT NULL,
    PRIMARY KEY (proposal, holder)
) STRICT;

CREATE TABLE policy_activations (
    number     INTEGER PRIMARY KEY,
    activation TEXT NOT NULL
) STRICT;
CREATE TRIGGER policy_activations_stay BEFORE UPDATE ON policy_activations
BEGIN SELECT RAISE(ABORT, 'what was in force never changes'); END;
CREATE TRIGGER policy_activations_remain BEFORE DELETE ON policy_activations
BEGIN SELECT RAISE(ABORT, 'what was in force is never deleted'); END;
