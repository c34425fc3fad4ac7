-- compatible: 1
-- A trigger may name the version that is to carry its run out: `pinned` is 2 then, from the beginning on, and 1 for a run
-- that is bound to the version which has started it. A route of a version that was named is kept for a day.

ALTER TABLE {s}route ADD COLUMN named_at BIGINT;
DROP INDEX {s}run_pinned;
CREATE INDEX {p}run_pinned ON {s}run (route_id, id) WHERE pinned > 0;
