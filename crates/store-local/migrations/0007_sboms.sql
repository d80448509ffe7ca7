-- The software bill of materials of a release, a blob.
ALTER TABLE releases ADD COLUMN sbom BLOB;
