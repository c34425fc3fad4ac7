-- HTTP tasks: requests and their responses, hosts that are down, the secrets that requests are signed with.

-- name: insert_invocations
-- An invocation is kept only while its attempt holds the run: lock, and the lock tells.
WITH x AS MATERIALIZED (SELECT * FROM {rows(run_id text, claim int, number int, at bigint, status int, total_us bigint, record text)}),
held AS MATERIALIZED (SELECT id, claim FROM {s}run WHERE id = ANY (ARRAY(SELECT run_id FROM x)) AND state = 'executing' FOR SHARE)
INSERT INTO {s}invocation (run_id, claim, number, at, status, total_us, record)
SELECT x.run_id, x.claim, x.number, x.at, x.status, x.total_us, x.record
FROM x JOIN held h ON h.id = x.run_id AND h.claim = x.claim
ON CONFLICT (run_id, claim) DO NOTHING

-- name: insert_invocations (sqlite)
-- There is one writer: looking is locking.
INSERT INTO {s}invocation (run_id, claim, number, at, status, total_us, record)
SELECT x.run_id, x.claim, x.number, x.at, x.status, x.total_us, x.record
FROM {rows(run_id text, claim int, number int, at bigint, status int, total_us bigint, record text)}
JOIN {s}run r ON r.id = x.run_id AND r.claim = x.claim AND r.state = 'executing'
WHERE true ON CONFLICT (run_id, claim) DO NOTHING

-- name: invocations
SELECT run_id, claim, number, at, status, total_us, record FROM {s}invocation WHERE run_id = :run_id ORDER BY claim LIMIT :n

-- name: latest_invocations
-- Those of the newest runs.
SELECT at, status, total_us, record FROM {s}invocation ORDER BY run_id DESC, claim DESC LIMIT :n

-- name: prune_invocations
DELETE FROM {s}invocation WHERE run_id {in:ids}

-- name: http_tasks
SELECT id, queue, options, end_hooks FROM {s}task WHERE kind = 'http' ORDER BY id

-- name: any_http_task
SELECT 1 FROM {s}task WHERE kind = 'http' LIMIT 1

-- name: task_request
-- What an HTTP task sends, as it was announced last; nothing for a task of code.
SELECT options FROM {s}task WHERE id = :id AND kind = 'http'

-- name: open_circuit
-- Another pusher may have found the same: the later end counts, and since when it has been down stays.
INSERT INTO {s}circuit (host, failures, reason, since_at, until_at, worker_id)
VALUES (:host, :failures, :reason, {now}, {now} + :pause_ms, :worker_id)
ON CONFLICT (host) DO UPDATE SET failures = excluded.failures, reason = excluded.reason, until_at = excluded.until_at,
  worker_id = excluded.worker_id

-- name: close_circuit
DELETE FROM {s}circuit WHERE host = :host

-- name: circuits
SELECT host, failures, reason, since_at, until_at, {now} FROM {s}circuit ORDER BY since_at, host LIMIT :n

-- name: circuit
SELECT host, failures, reason, since_at, until_at, {now} FROM {s}circuit WHERE host = :host

-- name: forget_circuits
-- A pusher that holds a circuit open renews it with each try; one that is gone does not.
DELETE FROM {s}circuit WHERE until_at < {now} - :older_ms

-- name: signing
SELECT secret, made_at, ends_at FROM {s}signing WHERE ends_at IS NULL OR ends_at > {now} ORDER BY made_at DESC, secret

-- name: insert_signing
-- The first one is made by whoever comes first.
INSERT INTO {s}signing (secret, made_at) SELECT CAST(:secret AS TEXT), {now}
WHERE NOT EXISTS (SELECT 1 FROM {s}signing WHERE ends_at IS NULL)
ON CONFLICT (secret) DO NOTHING

-- name: end_signing
-- The secrets there are go on being signed with for a while, beside the one that comes now.
UPDATE {s}signing SET ends_at = {now} + :overlap_ms WHERE ends_at IS NULL

-- name: forget_signing
DELETE FROM {s}signing WHERE ends_at IS NOT NULL AND ends_at <= {now}

-- name: lock_signing
-- One writer: there is nothing to lock.
SELECT 1

-- name: lock_signing (postgres)
-- Two that come first at once would each make a secret.
LOCK TABLE {s}signing IN SHARE ROW EXCLUSIVE MODE

-- name: list_http
-- The requests that belong to no task, newest first; deleted ones are canceled, or about to be.
SELECT * FROM (SELECT id FROM {s}run WHERE task = 'http' AND id < :before AND cancel_at IS NULL ORDER BY id DESC LIMIT :n) r
UNION ALL
SELECT * FROM (SELECT id FROM {s}done WHERE task = 'http' AND status <> 'canceled' AND id < :before ORDER BY id DESC LIMIT :n) d
ORDER BY 1 DESC LIMIT :n

-- name: lock_http
SELECT state, due_at, cancel_at, idempotency_key, {now} FROM {s}run WHERE id = :id AND task = 'http' {for_update}

-- name: amend_http
-- Its row is locked. A request that moves to another queue stands in that queue's own lane.
UPDATE {s}run SET options = CAST(:options AS TEXT), payload = CAST(:payload AS TEXT), queue_id = :queue_id, route_id = :route_id,
  idempotency_key = CAST(:key AS TEXT),
  lane_id = CASE WHEN queue_id = :queue_id THEN lane_id ELSE
    (SELECT CASE WHEN COALESCE(q.cap_override, q.cap, q.rate) IS NOT NULL THEN q.id END FROM {s}queue q WHERE q.id = :queue_id) END,
  due_at = CASE WHEN CAST(:due_at AS BIGINT) > {now} THEN CAST(:due_at AS BIGINT) END,
  sort_at = CASE WHEN :timed = 0 THEN sort_at ELSE COALESCE(CAST(:due_at AS BIGINT), {now}) - priority_ms END
WHERE id = :id

-- name: place_http
-- The second half: what its state is follows from what was just written.
UPDATE {s}run SET state = CASE WHEN due_at IS NOT NULL THEN 'delayed' WHEN lane_id IS NOT NULL THEN 'held' ELSE 'ready' END
WHERE id = :id RETURNING queue_id, lane_id
