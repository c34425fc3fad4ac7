-- Runs that are changed from outside: when they start, and what they are found by.

-- name: reschedule
-- One that has not started yet; its time to live counts from its new time. What is in the past is due at once.
UPDATE {s}run SET due_at = COALESCE(CAST(:due_at AS BIGINT), {now} + CAST(:delay_ms AS BIGINT)),
  expire_at = expire_at + COALESCE(CAST(:due_at AS BIGINT), {now} + CAST(:delay_ms AS BIGINT)) - due_at,
  sort_at = COALESCE(CAST(:due_at AS BIGINT), {now} + CAST(:delay_ms AS BIGINT)) - priority_ms,
  changes = COALESCE(changes, 0) + 1
WHERE id = :id AND state = 'delayed' AND started_at IS NULL AND cancel_at IS NULL
RETURNING id

-- name: lock_tagged
SELECT id, tags FROM {s}run WHERE id = :id {for_update}

-- name: lock_tagged_done
SELECT id, tags FROM {s}done WHERE id = :id {for_update}

-- name: set_tags
UPDATE {s}run SET tags = :tags, changes = COALESCE(changes, 0) + 1 WHERE id = :id

-- name: set_tags_done
UPDATE {s}done SET tags = :tags WHERE id = :id
