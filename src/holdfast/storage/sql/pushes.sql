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

-- name: prune_invocations
DELETE FROM {s}invocation WHERE run_id {in:ids}

-- name: http_tasks
SELECT id, queue, options FROM {s}task WHERE kind = 'http' ORDER BY id

-- name: any_http_task
SELECT 1 FROM {s}task WHERE kind = 'http' LIMIT 1

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
