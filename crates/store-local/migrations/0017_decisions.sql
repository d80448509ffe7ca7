-- Records of policy decisions in the order in which they come. Ordered by
-- digest, each lay between two others, and what was next to it was written
-- again.
CREATE TABLE decisions_in_order (
    n      INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    record BLOB NOT NULL
) STRICT;
INSERT INTO decisions_in_order (digest, record) SELECT digest, record FROM decisions;
DROP TABLE decisions;
ALTER TABLE decisions_in_order RENAME TO decisions;
