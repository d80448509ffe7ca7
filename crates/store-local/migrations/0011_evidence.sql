-- Documents about a release's build: artifacts, in the order they were handed in.
ALTER TABLE releases ADD COLUMN evidence TEXT NOT NULL DEFAULT '[]';
