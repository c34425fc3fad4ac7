-- Batches whose items come after them.

-- name: insert_batch
INSERT INTO {s}batch (id, run_count, idempotency_key, key_until, created_at)
VALUES (:id, :run_count, CAST(:key AS TEXT), {now} + CAST(:key_ms AS BIGINT), {now})
ON CONFLICT DO NOTHING RETURNING id

-- name: free_batch_key
-- Its time is over: the next batch with it is another one.
UPDATE {s}batch SET idempotency_key = NULL WHERE idempotency_key = :key AND key_until <= {now}

-- name: batch_of_key
SELECT id, run_count, created_at, sealed_at FROM {s}batch WHERE idempotency_key = :key

-- name: one_batch
SELECT id, run_count, created_at, sealed_at FROM {s}batch WHERE id = :id

-- name: lock_batch
-- Whoever adds items takes turns.
SELECT id, run_count, created_at, sealed_at FROM {s}batch WHERE id = :id {for_update}

-- name: seal_batch
UPDATE {s}batch SET sealed_at = {now} WHERE id = :id AND sealed_at IS NULL

-- name: batch_items
SELECT place, run_id, task, error FROM {s}batch_item WHERE batch_id = :id ORDER BY place

-- name: insert_batch_items
INSERT INTO {s}batch_item (batch_id, place, run_id, task, error)
SELECT x.batch_id, x.place, x.run_id, x.task, x.error
FROM {rows(batch_id text, place int, run_id text, task text, error text)} WHERE true
ON CONFLICT (batch_id, place) DO NOTHING

-- name: batch_runs_open
-- Those of a batch's runs that are not final.
SELECT id FROM {s}run WHERE id {in:ids} LIMIT 1

-- name: old_batches
SELECT id FROM {s}batch WHERE created_at < {now} - :older_ms ORDER BY created_at LIMIT :n

-- name: forget_batches
DELETE FROM {s}batch WHERE id {in:ids}

-- name: forget_batch_items
DELETE FROM {s}batch_item WHERE batch_id {in:ids}
