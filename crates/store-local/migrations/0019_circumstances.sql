-- Who did what an event tells of, and from where: the log holds no names. It
-- goes when it stands on record.
ALTER TABLE events ADD COLUMN circumstances TEXT;
