-- The manifest of what a device says that it runs.
ALTER TABLE devices ADD COLUMN manifest BLOB;
