-- Notes of runs that ended while no worker carried them out, and whose tasks have hooks for such an end. Few, and soon gone.

-- name: note_aftermath
-- The runs are in history already. A task that has no such hooks leaves no note.
INSERT INTO {s}aftermath (run_id, task)
SELECT d.id, d.task FROM {s}done d JOIN {s}task t ON t.id = d.task
WHERE d.id {in:ids} AND d.status = :status AND (t.end_hooks & :bit) <> 0
ON CONFLICT (run_id) DO NOTHING

-- name: aftermath_waits
-- Whether there is a note to take: nobody's, or a dead worker's, or one that was given to us by an answer that never arrived.
SELECT EXISTS (SELECT 1 FROM {s}aftermath a WHERE a.task {in:tasks} AND (
  a.worker_id IS NULL OR (a.worker_id = :me AND NOT a.run_id {in:known})
  OR NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = a.worker_id AND w.state IN ('live', 'draining'))))

-- name: claim_aftermath
UPDATE {s}aftermath SET worker_id = :me, claim = claim + 1
WHERE run_id {any} SELECT a.run_id FROM {s}aftermath a WHERE a.task {in:tasks} AND (
    a.worker_id IS NULL OR (a.worker_id = :me AND NOT a.run_id {in:known})
    OR NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = a.worker_id AND w.state IN ('live', 'draining')))
  ORDER BY a.run_id LIMIT :n {skip_locked} {end}
AND EXISTS (SELECT 1 FROM {s}worker WHERE id = :me AND state = 'live')
RETURNING run_id, claim

-- name: settle_aftermath
-- Only who holds a note may tear it up.
DELETE FROM {s}aftermath
WHERE (run_id, claim, worker_id) IN (SELECT x.run_id, x.claim, x.worker_id FROM {rows(run_id text, claim int, worker_id text)})
RETURNING run_id

-- name: return_aftermath
-- Handed back without a try of it being used up.
UPDATE {s}aftermath SET worker_id = NULL, claim = claim - 1 WHERE run_id = :run_id AND claim = :claim AND worker_id = :me

-- name: insert_late_logs
-- What hooks write about a run that has ended; if it was pruned meanwhile, nothing.
INSERT INTO {s}log (run_id, claim, seq, at, level, attempt, logger, message)
SELECT x.run_id, x.claim, x.seq, x.at, x.level, x.attempt, x.logger, x.message
FROM {rows(run_id text, claim int, seq int, at bigint, level text, attempt int, logger text, message text)}
WHERE (SELECT 1 FROM {s}done d WHERE d.id = x.run_id) IS NOT NULL
ON CONFLICT (run_id, claim, seq) DO NOTHING

-- name: prune_aftermath
DELETE FROM {s}aftermath WHERE run_id {in:ids}
