-- The journal: what runs have done, what they wait for, and what wakes them.

-- name: hold_run
-- The fence of what an attempt writes about its run. The lock keeps it so until the commit, and lets one at a time count what
-- has settled.
SELECT id, claim, news, suspect FROM {s}run WHERE id {in:ids} AND state = 'executing' ORDER BY id {for_update}

-- name: write_entries
-- An entry is written once. Only a step's may be open and written again, as its tries go on, and a time limit's, when it is
-- called off; and children are made again where some have failed.
INSERT INTO {s}journal (run_id, key, seq, branch, kind, name, digest, state, settled, target, remaining, due_at, tries,
  result, error, claim, attempt, started_at, done_at)
SELECT x.run_id, x.key, x.seq, x.branch, x.kind, x.name, x.digest, x.state,
  CASE WHEN x.state <> 'open' THEN x.place + COALESCE((SELECT max(j.settled) FROM {s}journal j WHERE j.run_id = x.run_id), 0) END,
  x.target, x.remaining, COALESCE(x.due_at, {now} + x.delay_ms), x.tries, x.result, x.error, x.claim, x.attempt,
  {now} - x.took_ms, CASE WHEN x.state <> 'open' THEN {now} END
FROM {rows(run_id text, key text, seq int, branch text, kind text, name text, digest text, state text, place int, target text,
  remaining int, due_at bigint, delay_ms bigint, tries int, result text, error text, claim int, attempt int, took_ms bigint)}
WHERE true
ON CONFLICT (run_id, key) DO UPDATE SET state = excluded.state,
  settled = COALESCE(excluded.settled, {s}journal.settled), due_at = excluded.due_at,
  remaining = excluded.remaining, tries = excluded.tries, result = excluded.result, error = excluded.error, claim = excluded.claim,
  attempt = excluded.attempt, done_at = excluded.done_at
WHERE ({s}journal.kind IN ('step', 'limit') AND {s}journal.state = 'open') OR {s}journal.state = 'again'
RETURNING run_id, key, settled, due_at

-- name: entries
-- What has settled in these runs since the caller last looked; from the beginning, everything.
SELECT j.run_id, j.key, j.seq, j.branch, j.kind, j.name, j.digest, j.state, j.settled, j.target, j.due_at, j.tries, j.result, j.error
FROM {rows(id text, since int)}
JOIN {s}journal j ON {by j.run_id} j.run_id = x.id AND (x.since = 0 OR j.settled > x.since)
ORDER BY j.run_id, j.seq

-- name: entry
SELECT run_id, key, seq, branch, kind, name, digest, state, settled, target, due_at, tries, result, error
FROM {s}journal WHERE run_id = :run_id AND key = :key

-- name: journal
SELECT run_id, key, seq, branch, kind, name, digest, state, settled, target, due_at, tries, result, error, started_at, done_at
FROM {s}journal WHERE run_id = :run_id ORDER BY seq

-- name: journal_lines
SELECT key, seq, branch, kind, name, state, settled, started_at, done_at FROM {s}journal WHERE run_id = :run_id ORDER BY seq

-- name: keep_entries
-- What a replay begins with: entries of the run that it repeats, with their order.
INSERT INTO {s}journal (run_id, key, seq, branch, kind, name, digest, state, settled, target, due_at, tries, result, error,
  claim, attempt, started_at, done_at)
SELECT CAST(:run_id AS TEXT), key, seq, branch, kind, name, CASE WHEN :compared = 1 THEN digest END, state, settled, target, due_at, tries,
  result, error, 0, attempt, started_at, done_at
FROM {s}journal WHERE run_id = :earlier AND key {in:keys}
ON CONFLICT (run_id, key) DO NOTHING

-- name: keep_origin
-- Where its journal comes from, and the run whose random numbers it is to have again.
INSERT INTO {s}journal (run_id, key, seq, branch, kind, name, state, settled, target, result, claim, attempt, started_at, done_at)
SELECT CAST(:run_id AS TEXT), 'replay', 0, '', 'replay', CAST(:step AS TEXT), 'done', 0, CAST(:earlier AS TEXT),
  COALESCE((SELECT result FROM {s}journal WHERE run_id = :earlier AND key = 'replay'), CAST(:earlier AS TEXT)), 0, 0, {now}, {now}
WHERE true ON CONFLICT (run_id, key) DO NOTHING

-- name: mark_replayed
-- A worker reads the journals of runs that were claimed before.
UPDATE {s}run SET claim = 1 WHERE id {in:ids} AND claim = 0 RETURNING id

-- name: set_result
UPDATE {s}journal SET result = :result, remaining = CAST(:remaining AS INTEGER) WHERE run_id = :run_id AND key = :key

-- name: standing
SELECT id, state, claim FROM {s}run WHERE id {in:ids}

-- name: canceled_of
SELECT id, claim FROM {s}run WHERE id {in:ids} AND cancel_at IS NOT NULL

-- name: take_news
UPDATE {s}run SET news = 0 WHERE worker_id = :me AND news = 1 RETURNING id, parent_key IS NOT NULL

-- name: suspend
-- A run gives up its slot until something it waits for settles. If something has that its attempt does not know, it is not
-- suspended. Its row was locked in the statement before: this one's eyes are younger than the lock. All that its code has told
-- until now is written with this.
UPDATE {s}run SET state = 'waiting', worker_id = NULL, claimed_at = NULL, start_by = NULL, suspect = 0,
  keeper = x.keeper, keep_until = NULL, news = 0, unwind = 1,
  told = x.claim * 4294967296 + x.seen,
  due_at = (SELECT min(j.due_at) FROM {s}journal j WHERE j.run_id = {s}run.id AND j.state = 'open')
FROM {rows(id text, claim int, seen int, keeper text)}
WHERE {by {s}run.id} {s}run.id = x.id AND {s}run.claim = x.claim AND {s}run.state = 'executing' AND {s}run.cancel_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM {s}journal j WHERE j.run_id = {s}run.id AND j.settled > x.seen)
RETURNING {s}run.id, {s}run.queue_id, {s}run.lane_id

-- name: take_back
-- A run that gave up its slot, and whose code has ended by itself while it waited: it ends with this transaction.
UPDATE {s}run SET state = 'executing', worker_id = x.worker_id, claimed_at = {now}, due_at = NULL, keeper = NULL
FROM {rows(id text, claim int, worker_id text)}
WHERE {by {s}run.id} {s}run.id = x.id AND {s}run.claim = x.claim AND {s}run.state = 'waiting'

-- name: lock_family
-- Runs of one's own, and those that wait for runs which are about to end, together and by id: whoever locks some of them does so
-- in this order. A run that ends is locked by the statement that ends it, which comes later: so it is locked here only where
-- somebody with a greater id may wait for it, as its parent does where clocks disagree.
SELECT id FROM {s}run WHERE id {in:own} OR id {in:ended}

-- name: lock_family (postgres)
SELECT id FROM {s}run WHERE id = ANY (ARRAY(
  SELECT unnest(:own::text[])
  UNION SELECT unnest(CASE WHEN parent_id > id THEN ARRAY[parent_id, id] ELSE ARRAY[parent_id] END) FROM {s}run
    WHERE id = ANY (:ended) AND parent_key <> ''
  UNION SELECT unnest(ARRAY[run_id, target]) FROM {s}waiter WHERE target = ANY (:ended)))
ORDER BY id FOR UPDATE

-- name: ended_others
-- Others than their parents that wait for these runs, which have ended: who deletes the note tells them.
DELETE FROM {s}waiter WHERE target {in:ids} AND EXISTS (SELECT 1 FROM {s}done d WHERE d.id = {s}waiter.target)
RETURNING run_id, key

-- name: settle_children
-- So many of the children that an entry waits for have ended; at the last one it is done. One whose failed children are made anew
-- keeps its earlier number until then: the new one has to be greater. A run that is only resumed to hear
-- that it is canceled hears of nothing else: its children have been canceled with it.
UPDATE {s}journal SET remaining = remaining - x.n,
  state = CASE WHEN remaining - x.n <= 0 THEN 'done' ELSE state END,
  done_at = CASE WHEN remaining - x.n <= 0 THEN {now} END,
  settled = CASE WHEN remaining - x.n <= 0
            THEN 1 + COALESCE((SELECT max(j.settled) FROM {s}journal j WHERE j.run_id = {s}journal.run_id), 0) ELSE settled END
FROM {rows(id text, key text, n int)}
WHERE {by {s}journal.run_id} {s}journal.run_id = x.id AND {s}journal.key = x.key AND {s}journal.state = 'open'
  AND NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = x.id AND r.cancel_at IS NOT NULL AND r.state <> 'executing')
RETURNING {s}journal.run_id, {s}journal.state

-- name: settle_children (postgres)
-- Those whose last one this was are woken in the same statement: nobody has to read first which they are.
WITH settled AS (
  UPDATE {s}journal SET remaining = remaining - x.n,
    state = CASE WHEN remaining - x.n <= 0 THEN 'done' ELSE state END,
    done_at = CASE WHEN remaining - x.n <= 0 THEN {now} END,
    settled = CASE WHEN remaining - x.n <= 0
              THEN 1 + COALESCE((SELECT max(j.settled) FROM {s}journal j WHERE j.run_id = {s}journal.run_id), 0) ELSE settled END
  FROM {rows(id text, key text, n int)}
  WHERE {by {s}journal.run_id} {s}journal.run_id = x.id AND {s}journal.key = x.key AND {s}journal.state = 'open'
    AND NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = x.id AND r.cancel_at IS NOT NULL AND r.state <> 'executing')
  RETURNING {s}journal.run_id, {s}journal.state),
woken AS (
  UPDATE {s}run SET news = 1,
    state = CASE WHEN state <> 'waiting' THEN state WHEN lane_id IS NULL THEN 'ready' ELSE 'held' END,
    sort_at = CASE WHEN state = 'waiting' THEN {now} - priority_ms ELSE sort_at END,
    due_at = CASE WHEN state = 'waiting' THEN NULL ELSE due_at END,
    keep_until = CASE WHEN keeper IS NOT NULL THEN {now} + 200 END
  WHERE id = ANY (ARRAY(SELECT run_id FROM settled WHERE state = 'done'))
  RETURNING queue_id, lane_id, state),
noted AS (
  INSERT INTO {s}lane_due (queue_id, lane_id) SELECT DISTINCT queue_id, lane_id FROM woken WHERE state = 'held')
SELECT pg_notify('holdfast', '') FROM (SELECT 1 FROM {s}worker WHERE idle = 1 AND state = 'live' LIMIT 1) sleeper
WHERE EXISTS (SELECT 1 FROM woken)

-- name: foreign_ends
-- Runs that ended and that somebody else than a parent waits for.
SELECT w.target, w.run_id, w.key FROM {s}waiter w JOIN {s}done d ON d.id = w.target ORDER BY w.run_id, w.target LIMIT :n

-- name: forget_waiters
DELETE FROM {s}waiter WHERE target = :target AND run_id = :run_id AND key = :key RETURNING target

-- name: mark_awaited
-- Somebody else than its parent waits for its end. What is claimed from now on knows, and a worker that has it is told.
UPDATE {s}run SET parent_key = COALESCE(parent_key, ''), news = 1 WHERE id {in:ids} RETURNING id

-- name: insert_waiters
INSERT INTO {s}waiter (target, run_id, key) SELECT x.target, x.run_id, x.key FROM {rows(target text, run_id text, key text)}
WHERE true ON CONFLICT (target, run_id, key) DO NOTHING

-- name: lock_waiting
SELECT id FROM {s}run WHERE id {in:ids} ORDER BY id {for_update}

-- name: wake
-- What it waits for has settled: a waiting run goes on, one that executes is told. The rows are locked by the caller.
UPDATE {s}run SET news = 1,
  state = CASE WHEN state <> 'waiting' THEN state WHEN lane_id IS NULL THEN 'ready' ELSE 'held' END,
  sort_at = CASE WHEN state = 'waiting' THEN {now} - priority_ms ELSE sort_at END,
  due_at = CASE WHEN state = 'waiting' THEN NULL ELSE due_at END,
  keep_until = CASE WHEN keeper IS NOT NULL THEN {now} + 200 END
WHERE id {in:ids} RETURNING id, queue_id, lane_id, state

-- name: due_heads
-- Whatever is due, in the order of its time: looked for by state, those in the other state would be stepped over each time.
SELECT id, state, route_id, lane_id, keeper, {now} - due_at AS late FROM {s}run
WHERE state IN ('delayed', 'waiting') AND due_at IS NOT NULL AND due_at <= {now} ORDER BY due_at LIMIT :n {skip_locked}

-- name: claim_over
-- Runs whose wait is over, claimed without having stood in line. The rows are locked by the caller. Whoever waits has started
-- before: it is bound to a version or not, as it was then.
UPDATE {s}run SET state = 'executing', worker_id = :me, claim = claim + 1, claimed_at = {now}, news = 0,
  sort_at = {now} - priority_ms, due_at = NULL, version = COALESCE(version, CAST(:version AS TEXT))
WHERE id {in:ids} AND EXISTS (SELECT 1 FROM {s}worker WHERE id = :me AND state = 'live')
RETURNING id, claim, task, queue_id, payload, attempt, created_at, claimed_at, concurrency_key, priority_ms, options,
  metadata, tags, version, parent_id, root_id, batch_id, idempotency_key, suspect, lived_ms, sort_at, start_by IS NOT NULL, started_at, expire_at,
  parent_key IS NOT NULL, cancel_at IS NOT NULL, depth, crashes, told

-- name: entries_of
-- All that is recorded of these runs.
SELECT run_id, key, seq, branch, kind, name, digest, state, settled, target, due_at, tries, result, error
FROM {s}journal WHERE run_id {in:ids}

-- name: expire_entries
-- Their time is over: a sleep is done, a step is to be tried again, and whatever else was waited for did not come.
UPDATE {s}journal SET done_at = {now},
  state = CASE kind WHEN 'sleep' THEN 'done' WHEN 'step' THEN 'again' ELSE 'expired' END,
  settled = 1 + COALESCE((SELECT max(j.settled) FROM {s}journal j WHERE j.run_id = {s}journal.run_id), 0)
WHERE run_id {in:ids} AND state = 'open' AND due_at <= {now}

-- name: forget_ends
UPDATE {s}journal SET state = 'again' WHERE run_id = :run_id AND key {in:keys} AND kind = 'children'
  AND EXISTS (SELECT 1 FROM {s}run WHERE id = :run_id AND claim = :claim AND state = 'executing')

-- name: forget_entries
-- Failures that ended an attempt: the next one tries again. The run's row is locked by the caller.
DELETE FROM {s}journal WHERE run_id = :run_id AND key {in:keys} AND kind <> 'children'
  AND EXISTS (SELECT 1 FROM {s}run WHERE id = :run_id AND claim = :claim AND state = 'executing')

-- name: trust
-- Who gets on is no suspect any more.
UPDATE {s}run SET suspect = 0 WHERE id {in:ids}

-- name: prune_journal
DELETE FROM {s}journal WHERE run_id {in:ids}

-- name: prune_waiters
DELETE FROM {s}waiter WHERE run_id {in:ids}

-- name: prune_tokens
DELETE FROM {s}token WHERE run_id {in:ids}

-- name: insert_token
INSERT INTO {s}token (id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at)
VALUES (:id, 'open', CAST(:run_id AS TEXT), CAST(:schema AS TEXT), CAST(:tags AS TEXT), CAST(:idempotency_key AS TEXT),
  :secret, {now}, {now} + CAST(:timeout_ms AS BIGINT))
ON CONFLICT DO NOTHING RETURNING id

-- name: insert_token_tags
INSERT INTO {s}token_tag (tag, token_id) SELECT x.tag, x.token_id FROM {rows(tag text, token_id text)} WHERE true
ON CONFLICT (tag, token_id) DO NOTHING

-- name: token
SELECT id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at, completed_at, result, {now} AS now
FROM {s}token WHERE id = :id

-- name: token_by_key
SELECT id FROM {s}token WHERE idempotency_key = :key

-- name: tokens
SELECT id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at, completed_at, result, {now} AS now
FROM {s}token WHERE id < :before ORDER BY id DESC LIMIT :n

-- name: tokens_after
SELECT id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at, completed_at, result, {now} AS now
FROM {s}token WHERE id > :after ORDER BY id LIMIT :n

-- name: tokens_in_state
-- One that is open in the table has expired when its time is over.
SELECT id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at, completed_at, result, {now} AS now
FROM {s}token WHERE state = :state AND (state = 'completed' OR (COALESCE(expires_at, {now} + 1) <= {now}) = (:expired = 1))
  AND id < :before ORDER BY id DESC LIMIT :n

-- name: tokens_in_state_after
SELECT id, state, run_id, schema, tags, idempotency_key, secret, created_at, expires_at, completed_at, result, {now} AS now
FROM {s}token WHERE state = :state AND (state = 'completed' OR (COALESCE(expires_at, {now} + 1) <= {now}) = (:expired = 1))
  AND id > :after ORDER BY id LIMIT :n

-- name: tokens_with_tag
SELECT t.id, t.state, t.run_id, t.schema, t.tags, t.idempotency_key, t.secret, t.created_at, t.expires_at, t.completed_at,
  t.result, {now} AS now
FROM {s}token_tag g JOIN {s}token t ON t.id = g.token_id
WHERE g.tag = :tag AND g.token_id < :before
  AND (SELECT count(*) FROM {s}token_tag o WHERE o.token_id = g.token_id AND o.tag {in:tags}) = :count
  AND (:state = '' OR (t.state = :state AND (t.state = 'completed'
    OR (COALESCE(t.expires_at, {now} + 1) <= {now}) = (:expired = 1))))
ORDER BY g.token_id DESC LIMIT :n

-- name: tokens_with_tag_after
SELECT t.id, t.state, t.run_id, t.schema, t.tags, t.idempotency_key, t.secret, t.created_at, t.expires_at, t.completed_at,
  t.result, {now} AS now
FROM {s}token_tag g JOIN {s}token t ON t.id = g.token_id
WHERE g.tag = :tag AND g.token_id > :after
  AND (SELECT count(*) FROM {s}token_tag o WHERE o.token_id = g.token_id AND o.tag {in:tags}) = :count
  AND (:state = '' OR (t.state = :state AND (t.state = 'completed'
    OR (COALESCE(t.expires_at, {now} + 1) <= {now}) = (:expired = 1))))
ORDER BY g.token_id LIMIT :n

-- name: tokens_long_over
-- Those of runs are forgotten with their runs.
SELECT id FROM {s}token WHERE run_id IS NULL AND COALESCE(completed_at, expires_at) < {now} - :older_ms LIMIT :n

-- name: forget_tokens
DELETE FROM {s}token WHERE id {in:ids}

-- name: forget_token_tags
DELETE FROM {s}token_tag WHERE token_id {in:ids}

-- name: lock_token
SELECT id FROM {s}token WHERE id = :id {for_update}

-- name: share_token
SELECT id, state, expires_at, result, {now} AS now FROM {s}token WHERE id = :id {for_share}

-- name: complete_token
UPDATE {s}token SET state = 'completed', completed_at = {now}, result = :result WHERE id = :id

-- name: waiting_for_token
SELECT run_id FROM {s}journal WHERE target = :id AND target IS NOT NULL AND state = 'open' AND kind = 'wait' ORDER BY run_id

-- name: settle_wait
UPDATE {s}journal SET state = 'done', done_at = {now}, result = :result,
  settled = 1 + COALESCE((SELECT max(j.settled) FROM {s}journal j WHERE j.run_id = {s}journal.run_id), 0)
WHERE run_id {in:ids} AND target = :id AND state = 'open' AND kind = 'wait' RETURNING run_id

-- name: children
SELECT id FROM {s}run WHERE parent_id {in:ids} AND parent_id IS NOT NULL ORDER BY id
