-- Changes of many runs that somebody has asked for and does not wait for.

-- name: insert_bulk
INSERT INTO {s}bulk (id, kind, state, name, run_ids, total, created_at, ended_at)
VALUES (:id, :kind, CASE WHEN :total = 0 THEN 'completed' ELSE 'pending' END, CAST(:name AS TEXT), :run_ids, :total, {now},
  CASE WHEN :total = 0 THEN {now} END)
ON CONFLICT (id) DO NOTHING

-- name: bulk
SELECT id, kind, state, name, total, success_count, failure_count, created_at, ended_at FROM {s}bulk WHERE id = :id

-- name: lock_bulk
SELECT kind, state, run_ids, done_count, success_count, failure_count FROM {s}bulk WHERE id = :id {for_update}

-- name: note_bulk
UPDATE {s}bulk SET done_count = :done, success_count = :success, failure_count = :failure,
  state = CASE WHEN :done >= total THEN 'completed' ELSE state END, ended_at = CASE WHEN :done >= total THEN {now} END
WHERE id = :id

-- name: abort_bulk
UPDATE {s}bulk SET state = 'aborted', ended_at = {now} WHERE id = :id AND state = 'pending'

-- name: list_bulk
SELECT id, kind, state, name, total, success_count, failure_count, created_at, ended_at FROM {s}bulk
WHERE id < :before ORDER BY id DESC LIMIT :n

-- name: list_bulk_after
SELECT id, kind, state, name, total, success_count, failure_count, created_at, ended_at FROM {s}bulk
WHERE id > :after ORDER BY id LIMIT :n

-- name: next_bulk
-- The oldest that is not finished and that nobody makes a step of just now.
SELECT id FROM {s}bulk WHERE state = 'pending' ORDER BY id LIMIT 1 {skip_locked}

-- name: forget_bulk
DELETE FROM {s}bulk WHERE id {any} SELECT id FROM {s}bulk WHERE created_at < {now} - :older_ms ORDER BY id LIMIT :n {end}
RETURNING id
