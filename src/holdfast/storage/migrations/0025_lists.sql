-- compatible: 1
-- What lists of runs are filtered by, in the order in which they are shown. A run that has no version and no key, has
-- completed and neither waits nor is delayed, is in none of these.

CREATE INDEX {p}done_status ON {s}done (status, id) WHERE status <> 'completed';
CREATE INDEX {p}done_version ON {s}done (version, id) WHERE version IS NOT NULL;
CREATE INDEX {p}done_key ON {s}done (concurrency_key, id) WHERE concurrency_key IS NOT NULL;
CREATE INDEX {p}run_put_off ON {s}run (state, id) WHERE state IN ('delayed', 'waiting');
DROP INDEX {s}done_bad;
