-- compatible: 1
-- A run whose app pins versions goes on only where its version is: it has a route of that version from its first claim on.

ALTER TABLE {s}run ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
CREATE INDEX {p}run_pinned ON {s}run (route_id, id) WHERE pinned = 1;
CREATE INDEX {p}route_task ON {s}route (task);
