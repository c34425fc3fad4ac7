-- What is kept about runs: history, attempts, logs, keys; and what readers ask.

-- name: insert_attempts
INSERT INTO {s}attempt (run_id, claim, number, worker_id, started_at, finished_at, outcome, error, usage)
SELECT x.run_id, x.claim, x.number, x.worker_id, x.started_at, {now}, x.outcome, x.error, x.usage
FROM {rows(run_id text, claim int, number int, worker_id text, started_at bigint, outcome text, error text, usage text)} WHERE true
ON CONFLICT (run_id, claim) DO NOTHING

-- name: insert_logs
-- A line is kept only while its attempt holds the run, or has suspended it and nobody has gone on with it: lock, and the lock tells.
WITH x AS MATERIALIZED (SELECT * FROM {rows(run_id text, claim int, seq int, at bigint, level text, attempt int, logger text, message text, replayed int)}),
held AS MATERIALIZED (SELECT id, claim FROM {s}run WHERE id = ANY (ARRAY(SELECT DISTINCT run_id FROM x))
  AND (state IN ('executing', 'waiting') OR news = 1) FOR SHARE)
INSERT INTO {s}log (run_id, claim, seq, at, level, attempt, logger, message, replayed)
SELECT x.run_id, x.claim, x.seq, x.at, x.level, x.attempt, x.logger, x.message, x.replayed
FROM x JOIN held h ON h.id = x.run_id AND h.claim = x.claim
ON CONFLICT (run_id, claim, seq) DO NOTHING

-- name: insert_logs (sqlite)
-- There is one writer: looking is locking.
INSERT INTO {s}log (run_id, claim, seq, at, level, attempt, logger, message, replayed)
SELECT x.run_id, x.claim, x.seq, x.at, x.level, x.attempt, x.logger, x.message, x.replayed
FROM {rows(run_id text, claim int, seq int, at bigint, level text, attempt int, logger text, message text, replayed int)}
JOIN {s}run r ON r.id = x.run_id AND r.claim = x.claim AND (r.state IN ('executing', 'waiting') OR r.news = 1)
WHERE true ON CONFLICT (run_id, claim, seq) DO NOTHING

-- name: take_keys
-- Whoever inserts has the key. One that is there is not touched, or whoever ends its run would wait for this transaction.
INSERT INTO {s}idempotency (task, key, run_id, expires_at, until_end)
SELECT x.task, x.idempotency_key, x.id, {now} + x.idempotency_ttl_ms, CASE WHEN x.unique_until_end THEN 1 ELSE 0 END
FROM {rows(id text, task text, idempotency_key text, idempotency_ttl_ms bigint, unique_until_end boolean)} WHERE true
ON CONFLICT (task, key) DO NOTHING RETURNING task, key, run_id

-- name: lock_keys
-- Before looking whether the run of such a key has ended: two that take it over at once would each see that.
SELECT i.key FROM {rows(task text, idempotency_key text)}
JOIN {s}idempotency i ON i.task = x.task AND i.key = x.idempotency_key WHERE i.until_end = 1 {for_update_i}

-- name: renew_keys
-- A key whose time is over is free again, and so is one that was for as long as its run had not ended.
UPDATE {s}idempotency SET run_id = x.id, expires_at = {now} + x.idempotency_ttl_ms, until_end = CASE WHEN x.unique_until_end THEN 1 ELSE 0 END
FROM {rows(id text, task text, idempotency_key text, idempotency_ttl_ms bigint, unique_until_end boolean)}
WHERE {s}idempotency.task = x.task AND {s}idempotency.key = x.idempotency_key AND ({s}idempotency.expires_at <= {now}
  OR ({s}idempotency.until_end = 1 AND NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = {s}idempotency.run_id)))
RETURNING {s}idempotency.task, key, run_id

-- name: keys
SELECT i.task, i.key, i.run_id FROM {s}idempotency i
JOIN (SELECT json_extract(value, '$[0]') AS task, json_extract(value, '$[1]') AS key FROM json_each(:keys)) x
  ON x.task = i.task AND x.key = i.key
WHERE (i.expires_at IS NULL OR i.expires_at > {now}) AND (i.until_end = 0 OR EXISTS (SELECT 1 FROM {s}run r WHERE r.id = i.run_id))

-- name: keys (postgres)
-- Two arrays become rows.
SELECT i.task, i.key, i.run_id FROM {s}idempotency i
JOIN unnest(:tasks::text[], :names::text[]) x(task, key) ON x.task = i.task AND x.key = i.key
WHERE (i.expires_at IS NULL OR i.expires_at > {now}) AND (i.until_end = 0 OR EXISTS (SELECT 1 FROM {s}run r WHERE r.id = i.run_id))

-- name: free_keys
DELETE FROM {s}idempotency WHERE run_id = (SELECT x.run_id FROM {rows(run_id text, task text, key text)}) AND task = ?2 AND key = ?3

-- name: free_keys (postgres)
-- A batch is one statement here. A key that is locked is just being renewed: its time is over, and it is not ours.
DELETE FROM {s}idempotency WHERE ctid = ANY (ARRAY(
  SELECT k.ctid FROM {rows(run_id text, task text, key text)} CROSS JOIN LATERAL (
    SELECT i.ctid FROM {s}idempotency i WHERE i.task = x.task AND i.key = x.key AND i.run_id = x.run_id
    FOR UPDATE SKIP LOCKED) k))

-- name: runs
-- A run is in exactly one of the two tables; both are asked at once, or one that is just moving would be missed.
SELECT r.id, CASE r.state WHEN 'held' THEN 'queued' WHEN 'ready' THEN 'queued' ELSE r.state END AS status, r.task, q.name, r.payload,
  CAST(NULL AS TEXT) AS output, CAST(NULL AS TEXT) AS error, r.attempt, r.crashes, r.created_at, r.started_at,
  CAST(NULL AS BIGINT) AS finished_at, r.due_at, r.expire_at, r.concurrency_key, r.priority_ms, r.tags, r.metadata, r.options,
  r.version, r.idempotency_key, r.parent_id, r.root_id, r.batch_id, r.worker_id, r.cancel_at, r.claim, r.queue_id,
  CAST(NULL AS TEXT) AS usage
FROM {s}run r LEFT JOIN {s}queue q ON q.id = r.queue_id WHERE r.id {in:ids}
UNION ALL
SELECT d.id, d.status, d.task, q.name, d.payload, d.output, d.error, d.attempt, d.crashes, d.created_at, d.started_at,
  d.finished_at, d.due_at, d.expire_at, d.concurrency_key, d.priority_ms, d.tags, d.metadata, d.options, d.version,
  d.idempotency_key, d.parent_id, d.root_id, d.batch_id, d.worker_id, d.cancel_at, d.claim, d.queue_id, d.usage
FROM {s}done d LEFT JOIN {s}queue q ON q.id = d.queue_id WHERE d.id {in:ids}

-- name: finished
SELECT id FROM {s}done WHERE id {in:ids}

-- name: batch_runs
SELECT id FROM {s}run WHERE batch_id = :batch_id UNION ALL SELECT id FROM {s}done WHERE batch_id = :batch_id

-- name: logs
SELECT run_id, claim, seq, at, level, attempt, logger, message FROM {s}log
WHERE run_id = :run_id AND (claim > :claim OR (claim = :claim AND seq > :seq)) AND replayed <= :replayed ORDER BY claim, seq LIMIT :n

-- name: attempts
SELECT claim, number, worker_id, started_at, finished_at, outcome, error, usage FROM {s}attempt WHERE run_id = :run_id ORDER BY claim

-- name: state
-- The row behind "why is this run not running?"
SELECT r.state, r.queue_id, r.lane_id, r.route_id, r.sort_at, r.due_at, r.suspect, r.claimed_at, {now} AS now
FROM {s}run r WHERE r.id = :id

-- name: ahead
SELECT count(*) FROM (SELECT 1 FROM {s}run WHERE state = 'ready' AND route_id = :route_id AND suspect = 0
  AND (sort_at < :sort_at OR (sort_at = :sort_at AND id < :id)) LIMIT 1000) x

-- name: prunable
-- The runs below one that is not final stay: it may read what they came to.
SELECT d.id FROM {s}done d WHERE d.finished_at < {now} - :older_ms
  AND (d.root_id IS NULL OR NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = d.root_id)) ORDER BY d.finished_at LIMIT :n

-- name: prune_done
DELETE FROM {s}done WHERE id {in:ids}

-- name: prune_attempts
DELETE FROM {s}attempt WHERE run_id {in:ids}

-- name: prune_logs
DELETE FROM {s}log WHERE run_id {in:ids}

-- name: prune_tags
DELETE FROM {s}tag WHERE run_id {in:ids}

-- name: prune_blobs
DELETE FROM {s}blob WHERE run_id {in:ids}

-- name: prune_keys
-- One that is locked is just being renewed: its time is over, and it is not the pruned run's any more.
DELETE FROM {s}idempotency WHERE (task, key) IN (
  SELECT i.task, i.key FROM {s}done d JOIN {s}idempotency i ON i.task = d.task AND i.key = d.idempotency_key AND i.run_id = d.id
  WHERE d.id {in:ids} AND d.idempotency_key IS NOT NULL {skip_locked_i})

-- name: reset_key
DELETE FROM {s}idempotency WHERE task = :task AND key = :key RETURNING run_id

-- name: prune_expired_keys
DELETE FROM {s}idempotency WHERE expires_at IS NOT NULL AND expires_at <= {now}

-- name: prune_expired_keys (postgres)
-- One that is locked is just being renewed, perhaps in a transaction that stays open for minutes.
DELETE FROM {s}idempotency WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM {s}idempotency WHERE expires_at IS NOT NULL AND expires_at <= {now} FOR UPDATE SKIP LOCKED))
