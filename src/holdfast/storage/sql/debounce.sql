-- Debounce: many triggers in a short time, one run.

-- name: take_debounce
-- Whoever comes first has the key; the others find it, and its row locked for them until they commit.
INSERT INTO {s}debounce (task, key, run_id, limit_at) VALUES (:task, :key, :run_id, {now} + CAST(:max_ms AS BIGINT))
ON CONFLICT (task, key) DO UPDATE SET key = excluded.key
RETURNING run_id

-- name: push_back
-- Later again, but not beyond the limit that the first trigger set, nor before the time it is scheduled for; only a run
-- that has never started can wait longer.
UPDATE {s}run SET due_at = n.due, expire_at = {s}run.expire_at + n.due - {s}run.due_at,
  payload = CASE WHEN :leading = 1 THEN payload ELSE CAST(:payload AS TEXT) END,
  metadata = CASE WHEN :leading = 1 THEN metadata ELSE COALESCE(CAST(:metadata AS TEXT), metadata) END
FROM (
  SELECT d.run_id, (SELECT max(x.at) FROM (
    SELECT CASE WHEN d.limit_at < {now} + :delay_ms THEN d.limit_at ELSE {now} + :delay_ms END AS at
    UNION ALL SELECT CAST(:not_before AS BIGINT)) x) AS due
  FROM {s}debounce d WHERE d.task = :task AND d.key = :key) n
WHERE {s}run.id = n.run_id AND {s}run.state = 'delayed' AND {s}run.started_at IS NULL AND {s}run.cancel_at IS NULL
RETURNING {s}run.id

-- name: renew_debounce
UPDATE {s}debounce SET run_id = :run_id, limit_at = {now} + CAST(:max_ms AS BIGINT) WHERE task = :task AND key = :key

-- name: forget_debounce
-- The run it points to is no longer delayed: the next trigger makes a new one anyway. One that is locked is just being used.
DELETE FROM {s}debounce WHERE (task, key) IN (
  SELECT d.task, d.key FROM {s}debounce d
  WHERE NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = d.run_id AND r.state = 'delayed') {skip_locked})
