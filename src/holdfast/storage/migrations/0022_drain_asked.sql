-- compatible: 1
-- That somebody has asked a worker to drain: its process ends, and nobody puts another one in its place.

ALTER TABLE {s}worker ADD COLUMN drain_asked_at BIGINT;
