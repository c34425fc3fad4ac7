-- compatible: 1
-- The runs of a schedule, the newest first, however many slots it has had.

CREATE INDEX {p}slot_run ON {s}slot (schedule_id, run_id) WHERE run_id IS NOT NULL;
