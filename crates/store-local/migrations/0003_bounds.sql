-- Bounds on what one device may add, outcomes by device, and the product
-- that a signing request has reserved.

-- When it was issued. Those from before count as old.
ALTER TABLE certificates ADD COLUMN issued INTEGER NOT NULL DEFAULT 0;

CREATE INDEX reports_by_time ON reports (device, received);

-- The newest report of each device is found without reading the others.
DROP INDEX reports_by_rollout;
CREATE INDEX reports_by_rollout ON reports (rollout, device, n);

-- Both, or none while no number is reserved. It counts while the lease does.
ALTER TABLE requests ADD COLUMN product  TEXT;
ALTER TABLE requests ADD COLUMN sequence INTEGER;
CREATE INDEX requests_by_product ON requests (product) WHERE product IS NOT NULL;
