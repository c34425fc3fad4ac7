-- Debounce: many triggers in a short time, one run.

-- name: take_debounce
-- Whoever comes first has the key; the others find it, and its row locked for them until they commit.
INSERT INTO {s}debounce (task, key, run_id, limit_at) VALUES (:task, :key, :run_id, {now} + CAST(:max_ms AS BIGINT))
ON CONFLICT (task, key) DO UPDATE SET key = excluded.key
RETURNING run_id

-- name: push_back
-- Later again, but not beyond the limit that the first trigger set; only a run that has never started can wait longer.
UPDATE {s}run SET
  due_at = CASE WHEN d.limit_at IS NOT NULL AND d.limit_at < {now} + :delay_ms THEN d.limit_at ELSE {now} + :delay_ms END,
  payload = CASE WHEN :leading = 1 THEN payload ELSE CAST(:payload AS TEXT) END,
  metadata = CASE WHEN :leading = 1 THEN metadata ELSE COALESCE(CAST(:metadata AS TEXT), metadata) END
FROM {s}debounce d
WHERE d.task = :task AND d.key = :key AND {s}run.id = d.run_id AND {s}run.state = 'delayed' AND {s}run.started_at IS NULL
  AND {s}run.cancel_at IS NULL
RETURNING {s}run.id

-- name: renew_debounce
UPDATE {s}debounce SET run_id = :run_id, limit_at = {now} + CAST(:max_ms AS BIGINT) WHERE task = :task AND key = :key

-- name: forget_debounce
-- The run it points to is no longer delayed: the next trigger makes a new one anyway.
DELETE FROM {s}debounce WHERE NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = run_id AND r.state = 'delayed')
