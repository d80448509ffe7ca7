-- Roles got other words, and credentials a team and a scope. Nobody loses a
-- right: whoever read everything could bring approvals, and administrators
-- could publish root documents, which is the officer's work now.
UPDATE credentials SET roles = replace(replace(replace(roles,
    '"viewer"', '"auditor","approver"'),
    '"engineer"', '"signer"'),
    '"admin"', '"officer","admin"');
ALTER TABLE credentials ADD COLUMN team TEXT;
ALTER TABLE credentials ADD COLUMN scope TEXT NOT NULL DEFAULT '{}';
