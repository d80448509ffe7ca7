-- How many open jobs each share has: kept here, so that whoever hands one in
-- reads a row and does not count.
CREATE TABLE job_shares (
    share TEXT PRIMARY KEY,
    open  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO job_shares (share, open)
    SELECT share, count(*) FROM jobs WHERE state IN ('queued', 'waiting', 'held') GROUP BY share;
CREATE TRIGGER jobs_opened AFTER INSERT ON jobs WHEN new.state IN ('queued', 'waiting', 'held') BEGIN
    INSERT INTO job_shares (share, open) VALUES (new.share, 1)
        ON CONFLICT (share) DO UPDATE SET open = open + 1;
END;
CREATE TRIGGER jobs_ended AFTER UPDATE OF state ON jobs
    WHEN old.state IN ('queued', 'waiting', 'held') AND new.state NOT IN ('queued', 'waiting', 'held')
BEGIN
    UPDATE job_shares SET open = open - 1 WHERE share = new.share;
END;
CREATE TRIGGER jobs_opened_again AFTER UPDATE OF state ON jobs
    WHEN old.state NOT IN ('queued', 'waiting', 'held') AND new.state IN ('queued', 'waiting', 'held')
BEGIN
    UPDATE job_shares SET open = open + 1 WHERE share = new.share;
END;

-- Lists of jobs: what is rare is found without reading what is not. Most
-- jobs are signed; they are found from the newest on.
CREATE INDEX jobs_by_state ON jobs (state, n) WHERE state <> 'signed';
CREATE INDEX jobs_by_product ON jobs (product, n);
CREATE INDEX jobs_by_requester ON jobs (requester, n);
CREATE INDEX jobs_by_key ON jobs (signing_key, n);
-- Ended, and nobody has seen what a claim did.
CREATE INDEX jobs_unaccounted ON jobs (n)
    WHERE since IS NOT NULL AND state NOT IN ('queued', 'waiting', 'held');

CREATE INDEX releases_by_channel ON releases (product, channel, sequence);
