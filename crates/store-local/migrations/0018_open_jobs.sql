-- The same indexes and triggers, without lists: for `IN` with three words
-- SQLite makes a table each time that it asks, thirteen for each signature.
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (deadline) WHERE state = 'queued' OR state = 'waiting' OR state = 'held';
DROP INDEX jobs_unaccounted;
CREATE INDEX jobs_unaccounted ON jobs (n)
    WHERE since IS NOT NULL AND state <> 'queued' AND state <> 'waiting' AND state <> 'held';

DROP TRIGGER jobs_opened;
CREATE TRIGGER jobs_opened AFTER INSERT ON jobs
    WHEN new.state = 'queued' OR new.state = 'waiting' OR new.state = 'held'
BEGIN
    INSERT INTO job_shares (share, open) VALUES (new.share, 1)
        ON CONFLICT (share) DO UPDATE SET open = open + 1;
END;
DROP TRIGGER jobs_ended;
CREATE TRIGGER jobs_ended AFTER UPDATE OF state ON jobs
    WHEN (old.state = 'queued' OR old.state = 'waiting' OR old.state = 'held')
        AND new.state <> 'queued' AND new.state <> 'waiting' AND new.state <> 'held'
BEGIN
    UPDATE job_shares SET open = open - 1 WHERE share = new.share;
END;
DROP TRIGGER jobs_opened_again;
CREATE TRIGGER jobs_opened_again AFTER UPDATE OF state ON jobs
    WHEN (new.state = 'queued' OR new.state = 'waiting' OR new.state = 'held')
        AND old.state <> 'queued' AND old.state <> 'waiting' AND old.state <> 'held'
BEGIN
    UPDATE job_shares SET open = open + 1 WHERE share = new.share;
END;
