-- compatible: 1
-- When the attempt began that ended a run, which is not when the run did if it was tried more than once.

ALTER TABLE {s}done ADD COLUMN claimed_at BIGINT;  -- NULL: with the run
