-- Whoever has a file asks who signed it.
ALTER TABLE audit ADD COLUMN build TEXT;
ALTER TABLE audit ADD COLUMN source_commit TEXT;
CREATE TABLE audit_artifacts (
    artifact TEXT NOT NULL,
    number   INTEGER NOT NULL REFERENCES audit (number),
    PRIMARY KEY (artifact, number)
) STRICT, WITHOUT ROWID;
-- Records are forgotten by their numbers.
CREATE INDEX audit_artifacts_by_number ON audit_artifacts (number);

-- What stands on record so far, whose files are told by signatures and releases. What is damaged is told when it is read.
UPDATE audit SET build = record ->> '$.subject.build', source_commit = record ->> '$.subject.commit'
WHERE json_valid(record);
INSERT OR IGNORE INTO audit_artifacts (artifact, number)
SELECT record ->> '$.subject.digest', number FROM audit
WHERE json_valid(record) AND record ->> '$.subject.digest' IS NOT NULL
UNION
SELECT signature ->> '$.signed', number FROM audit JOIN signatures ON signatures.request = audit.request
WHERE action = 'artifact-signed' AND json_valid(signature) AND signature ->> '$.signed' IS NOT NULL
UNION
SELECT files.value, number FROM audit JOIN releases ON releases.request = audit.request,
       json_each(CASE WHEN json_valid(components) THEN components ELSE '[]' END) AS component,
       json_each(json_array(component.value ->> '$.artifact', component.value ->> '$.payload')) AS files
WHERE files.type = 'text';

CREATE INDEX audit_by_build ON audit (build) WHERE build IS NOT NULL;
CREATE INDEX audit_by_commit ON audit (source_commit) WHERE source_commit IS NOT NULL;
