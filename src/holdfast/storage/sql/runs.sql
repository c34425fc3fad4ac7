-- Runs that are not final. The words of `state` stand here as literals, so that partial indexes match in generic plans.

-- name: insert_runs
-- One that is sent again does nothing, also when it has ended meanwhile. One that is to be carried out `here` is claimed by :me at
-- once, if it could be started. SQLite has no data-modifying CTE: the notes for lanes are left by the caller, from what RETURNING says.
INSERT INTO {s}run (id, state, task, queue_id, route_id, lane_id, concurrency_key, priority_ms, sort_at, due_at, expire_at,
  created_at, payload, options, metadata, tags, version, pinned, idempotency_key, parent_id, root_id, batch_id, parent_key, depth,
  claim, worker_id, claimed_at, started_at)
SELECT z.id, z.state, z.task, z.queue_id, z.route_id, z.lane, z.concurrency_key, z.priority_ms, COALESCE(z.due, z.now) - z.priority_ms,
  CASE WHEN z.due > z.now THEN z.due END, COALESCE(z.due, z.now) + z.ttl_ms, z.now, z.payload, z.options, z.metadata, z.tags,
  CASE WHEN z.version IS NULL AND z.state = 'executing' THEN (SELECT w.version FROM {s}worker w WHERE w.id = :me) ELSE z.version END,
  CASE WHEN z.version IS NULL THEN 0 ELSE 2 END, z.idempotency_key, z.parent_id, z.root_id, z.batch_id, z.parent_key, COALESCE(z.depth, 0),
  CASE WHEN z.state = 'executing' THEN 1 ELSE 0 END, CASE WHEN z.state = 'executing' THEN :me END,
  CASE WHEN z.state = 'executing' THEN z.now END, CASE WHEN z.state = 'executing' THEN z.now END
FROM (SELECT y.*, CASE WHEN y.due > y.now THEN 'delayed' WHEN y.lane IS NOT NULL THEN 'held'
        WHEN y.here = 1 AND y.paused_at IS NULL AND EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = :me AND w.state = 'live') THEN 'executing'
        ELSE 'ready' END AS state
  FROM (SELECT x.*, {now} AS now, COALESCE(x.due_at, {now} + x.delay_ms) AS due, q.paused_at,
          CASE WHEN x.concurrency_key IS NOT NULL AND COALESCE(q.cap_per_key_override, q.cap_per_key, q.rate_per_key) IS NOT NULL THEN x.key_lane
               WHEN COALESCE(q.cap_override, q.cap, q.rate) IS NOT NULL THEN x.queue_id END AS lane
        FROM {rows(id text, task text, queue_id bigint, route_id bigint, key_lane bigint, concurrency_key text,
          priority_ms bigint, due_at bigint, delay_ms bigint, ttl_ms bigint, payload text, options text, metadata text,
          tags text, version text, idempotency_key text, parent_id text, root_id text, batch_id text, parent_key text, depth int, here int)}
        LEFT JOIN {s}queue q ON q.id = x.queue_id) y) z
WHERE (SELECT 1 FROM {s}done d WHERE d.id = z.id) IS NULL
ON CONFLICT (id) DO NOTHING
RETURNING id, created_at, sort_at, expire_at, version, state, queue_id, lane_id

-- name: insert_runs (postgres)
-- One statement and one round trip: the runs, the notes for their lanes, and a notification if anybody sleeps who could start one.
-- Answers those that were claimed.
WITH made AS (
  INSERT INTO {s}run (id, state, task, queue_id, route_id, lane_id, concurrency_key, priority_ms, sort_at, due_at, expire_at,
    created_at, payload, options, metadata, tags, version, pinned, idempotency_key, parent_id, root_id, batch_id, parent_key, depth,
    claim, worker_id, claimed_at, started_at)
  SELECT z.id, z.state, z.task, z.queue_id, z.route_id, z.lane, z.concurrency_key, z.priority_ms, COALESCE(z.due, z.now) - z.priority_ms,
    CASE WHEN z.due > z.now THEN z.due END, COALESCE(z.due, z.now) + z.ttl_ms, z.now, z.payload, z.options, z.metadata, z.tags,
    CASE WHEN z.version IS NULL AND z.state = 'executing' THEN (SELECT w.version FROM {s}worker w WHERE w.id = :me) ELSE z.version END,
    CASE WHEN z.version IS NULL THEN 0 ELSE 2 END, z.idempotency_key, z.parent_id, z.root_id, z.batch_id, z.parent_key, COALESCE(z.depth, 0),
    CASE WHEN z.state = 'executing' THEN 1 ELSE 0 END, CASE WHEN z.state = 'executing' THEN :me END,
    CASE WHEN z.state = 'executing' THEN z.now END, CASE WHEN z.state = 'executing' THEN z.now END
  FROM (SELECT y.*, CASE WHEN y.due > y.now THEN 'delayed' WHEN y.lane IS NOT NULL THEN 'held'
          WHEN y.here = 1 AND y.paused_at IS NULL AND EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = :me AND w.state = 'live') THEN 'executing'
          ELSE 'ready' END AS state
    FROM (SELECT x.*, t.now, COALESCE(x.due_at, t.now + x.delay_ms) AS due, q.paused_at,
            CASE WHEN x.concurrency_key IS NOT NULL AND COALESCE(q.cap_per_key_override, q.cap_per_key, q.rate_per_key) IS NOT NULL THEN x.key_lane
                 WHEN COALESCE(q.cap_override, q.cap, q.rate) IS NOT NULL THEN x.queue_id END AS lane
          FROM (SELECT {now} AS now) t CROSS JOIN {rows(id text, task text, queue_id bigint, route_id bigint, key_lane bigint,
            concurrency_key text, priority_ms bigint, due_at bigint, delay_ms bigint, ttl_ms bigint, payload text, options text,
            metadata text, tags text, version text, idempotency_key text, parent_id text, root_id text, batch_id text, parent_key text,
            depth int, here int)}
          LEFT JOIN {s}queue q ON q.id = x.queue_id) y) z
  WHERE (SELECT 1 FROM {s}done d WHERE d.id = z.id) IS NULL
  ON CONFLICT (id) DO NOTHING
  RETURNING id, created_at, sort_at, expire_at, version, state, queue_id, lane_id),
noted AS (
  INSERT INTO {s}lane_due (queue_id, lane_id) SELECT DISTINCT queue_id, lane_id FROM made WHERE state = 'held')
SELECT id, created_at, sort_at, expire_at, version, state FROM made WHERE state = 'executing'
UNION ALL
SELECT pg_notify('holdfast', '')::text, NULL, NULL, NULL, NULL, 'told'
FROM (SELECT 1 FROM {s}worker WHERE idle = 1 AND state = 'live' LIMIT 1) sleeper
WHERE EXISTS (SELECT 1 FROM made WHERE state <> 'executing')

-- name: hold_parents
-- The fence of triggers made inside an attempt: lock, then look.
SELECT id, claim FROM {s}run WHERE id {in:ids} AND state = 'executing' {for_share}

-- name: claim (postgres)
-- One range probe per route; then queues take turns, and within a queue the oldest of all its routes comes first: a backlog on
-- one queue starves no other. Rows that another worker looks at are skipped, and so are the routes of paused queues. A probe
-- begins where the worker found the head of the line a moment ago: before it are only the dead entries of runs long gone.
WITH heads AS MATERIALIZED (
  SELECT h.id, h.sort_at, o.queue_id FROM unnest(:routes::bigint[], :since::bigint[]) w(route_id, since)
  JOIN {s}route o ON o.id = w.route_id JOIN {s}queue q ON q.id = o.queue_id AND q.paused_at IS NULL
  CROSS JOIN LATERAL (
    SELECT r.id, r.sort_at FROM {s}run r
    WHERE r.state = 'ready' AND r.route_id = w.route_id AND r.suspect = :suspect AND r.sort_at >= w.since
      AND (r.expire_at IS NULL OR r.expire_at > {now} OR r.started_at IS NOT NULL) AND (r.cancel_at IS NULL OR r.unwind = 1)
      AND (r.keep_until IS NULL OR r.keeper = :me OR r.keep_until <= {now}) AND (r.start_by IS NULL OR r.start_by > {now})
    ORDER BY r.sort_at, r.id LIMIT :each FOR UPDATE OF r SKIP LOCKED) h),
crowd AS MATERIALIZED (SELECT count(*) > :n AS too_many FROM heads),
chosen AS MATERIALIZED (
  SELECT id FROM heads WHERE NOT (SELECT too_many FROM crowd)
  UNION ALL
  (SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY queue_id ORDER BY sort_at, id) AS place FROM heads
                   WHERE (SELECT too_many FROM crowd)) turns ORDER BY place, random() LIMIT :n))
UPDATE {s}run SET state = 'executing', worker_id = :me, claim = claim + 1, claimed_at = {now}, news = 0,
  started_at = COALESCE(started_at, {now}), version = COALESCE(version, CAST(:version AS TEXT)),
  pinned = CASE WHEN CAST(:pin AS TEXT) IS NULL OR started_at IS NOT NULL OR pinned = 2 THEN pinned ELSE 1 END,
  route_id = CASE WHEN CAST(:pin AS TEXT) IS NULL OR started_at IS NOT NULL THEN route_id ELSE COALESCE((
    SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = {s}run.route_id AND o.machine IS NOT DISTINCT FROM f.machine
    WHERE o.task = {s}run.task AND o.queue_id = {s}run.queue_id AND o.version = :pin), route_id) END
WHERE id = ANY (ARRAY(SELECT id FROM chosen)) AND EXISTS (SELECT 1 FROM {s}worker
  WHERE id = :me AND (state = 'live' OR (state = 'draining' AND CAST(:pin AS TEXT) IS NOT NULL)))
RETURNING id, claim, task, queue_id, payload, attempt, created_at, claimed_at, concurrency_key, priority_ms, options,
  metadata, tags, version, parent_id, root_id, batch_id, idempotency_key, suspect, lived_ms, sort_at, start_by IS NOT NULL, started_at, expire_at,
  parent_key IS NOT NULL, cancel_at IS NOT NULL, depth, crashes, told

-- name: claim_these
-- What was chosen among the heads of lines. SQLite has no LATERAL: there the probes are made one by one (claim_heads).
UPDATE {s}run SET state = 'executing', worker_id = :me, claim = claim + 1, claimed_at = {now}, news = 0,
  started_at = COALESCE(started_at, {now}), version = COALESCE(version, CAST(:version AS TEXT)),
  pinned = CASE WHEN CAST(:pin AS TEXT) IS NULL OR started_at IS NOT NULL OR pinned = 2 THEN pinned ELSE 1 END,
  route_id = CASE WHEN CAST(:pin AS TEXT) IS NULL OR started_at IS NOT NULL THEN route_id ELSE COALESCE((
    SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = {s}run.route_id AND o.machine IS NOT DISTINCT FROM f.machine
    WHERE o.task = {s}run.task AND o.queue_id = {s}run.queue_id AND o.version = :pin), route_id) END
WHERE id {in:ids} AND EXISTS (SELECT 1 FROM {s}worker
  WHERE id = :me AND (state = 'live' OR (state = 'draining' AND CAST(:pin AS TEXT) IS NOT NULL)))
RETURNING id, claim, task, queue_id, payload, attempt, created_at, claimed_at, concurrency_key, priority_ms, options,
  metadata, tags, version, parent_id, root_id, batch_id, idempotency_key, suspect, lived_ms, sort_at, start_by IS NOT NULL, started_at, expire_at,
  parent_key IS NOT NULL, cancel_at IS NOT NULL, depth, crashes, told

-- name: fitting_heads (postgres)
-- The heads of the lines of runs with machines; which of them fit is decided by whoever asks.
SELECT h.id, h.sort_at, h.waited, w.route_id FROM unnest(:routes::bigint[]) w(route_id)
JOIN {s}route o ON o.id = w.route_id JOIN {s}queue q ON q.id = o.queue_id AND q.paused_at IS NULL
CROSS JOIN LATERAL (
  SELECT r.id, r.sort_at, {now} - r.sort_at - r.priority_ms AS waited FROM {s}run r
  WHERE r.state = 'ready' AND r.route_id = w.route_id AND r.suspect = :suspect
    AND (r.expire_at IS NULL OR r.expire_at > {now} OR r.started_at IS NOT NULL) AND (r.cancel_at IS NULL OR r.unwind = 1)
    AND (r.keep_until IS NULL OR r.keeper = :me OR r.keep_until <= {now}) AND (r.start_by IS NULL OR r.start_by > {now})
  ORDER BY r.sort_at, r.id LIMIT :each FOR UPDATE OF r SKIP LOCKED) h

-- name: open_routes
SELECT o.id, o.queue_id FROM {s}route o JOIN {s}queue q ON q.id = o.queue_id WHERE o.id {in:routes} AND q.paused_at IS NULL

-- name: claim_heads
-- SQLite: the probe of one route.
SELECT id, sort_at, {now} - sort_at - priority_ms AS waited FROM {s}run WHERE state = 'ready' AND route_id = :route AND suspect = :suspect
  AND (expire_at IS NULL OR expire_at > {now} OR started_at IS NOT NULL) AND (cancel_at IS NULL OR unwind = 1)
  AND (keep_until IS NULL OR keeper = :me OR keep_until <= {now}) AND (start_by IS NULL OR start_by > {now})
ORDER BY sort_at, id LIMIT :n

-- name: outlook
-- What a worker should know before it sleeps, in one round trip. Suspects are asked for in the order of their own index:
-- an EXISTS may be planned over run_ready, and walk the whole backlog.
SELECT EXISTS (SELECT 1 FROM {s}lane_due WHERE due_at <= {now}) AS notes,
  (SELECT id FROM {s}run WHERE suspect > 0 AND state = 'ready' ORDER BY suspect, id LIMIT 1) IS NOT NULL AS suspects,
  (SELECT min(due_at) FROM {s}run WHERE due_at IS NOT NULL AND state IN ('delayed', 'waiting')) - {now} AS due_in,
  (SELECT min(due_at) FROM {s}lane_due WHERE due_at > {now}) - {now} AS note_in,
  EXISTS (SELECT 1 FROM {s}run WHERE worker_id = :me AND news = 1 AND worker_id IS NOT NULL) AS told,
  (SELECT state FROM {s}worker WHERE id = :me) AS me

-- name: complete
-- SQLite: first the copy, then the delete, under the same guard.
INSERT INTO {s}done (id, status, task, queue_id, concurrency_key, priority_ms, due_at, expire_at, cancel_at, worker_id, claim,
  attempt, crashes, created_at, started_at, finished_at, payload, options, metadata, tags, version, idempotency_key,
  parent_id, root_id, batch_id, output, error, usage, claimed_at)
SELECT r.id, x.status, r.task, r.queue_id, r.concurrency_key, r.priority_ms, r.due_at, r.expire_at, r.cancel_at, r.worker_id,
  r.claim, r.attempt, r.crashes + COALESCE(x.crash, 0), r.created_at, r.started_at, {now}, r.payload, r.options, COALESCE(x.metadata, r.metadata),
  r.tags, r.version, r.idempotency_key, r.parent_id, r.root_id, r.batch_id, x.output, x.error, x.usage, NULLIF(r.claimed_at, r.started_at)
FROM {rows(id text, claim int, status text, output text, error text, metadata text, crash int, usage text)}
JOIN {s}run r ON r.id = x.id AND r.claim = x.claim AND r.state = 'executing'
WHERE true

-- name: complete_delete (sqlite)
-- PostgreSQL deletes in the same statement.
DELETE FROM {s}run WHERE id = (SELECT x.id FROM {rows(id text, claim int)}) AND claim = ?2 AND state = 'executing'
RETURNING id, queue_id, lane_id, task, idempotency_key, parent_id, parent_key

-- name: complete (postgres)
-- The run leaves the hot table, enters history, frees its slot and its key, in one statement; answers what was not ours,
-- and of how many children each entry that waits for some has to hear.
WITH x AS MATERIALIZED (SELECT * FROM {lines(id text, claim int, status text, output text, error text, metadata text, crash int, usage text)}),
gone AS (
  DELETE FROM {s}run r USING x WHERE r.id = ANY (ARRAY(SELECT id FROM x)) AND r.id = x.id AND r.claim = x.claim AND r.state = 'executing'
  RETURNING r.*, x.status, x.output, x.error, x.metadata AS new_metadata, x.crash, x.usage),
freed AS (
  INSERT INTO {s}lane_due (queue_id, lane_id) SELECT DISTINCT queue_id, lane_id FROM gone WHERE lane_id IS NOT NULL),
kept AS (
  INSERT INTO {s}done (id, status, task, queue_id, concurrency_key, priority_ms, due_at, expire_at, cancel_at, worker_id, claim,
    attempt, crashes, created_at, started_at, finished_at, payload, options, metadata, tags, version, idempotency_key,
    parent_id, root_id, batch_id, output, error, usage, claimed_at)
  SELECT id, status, task, queue_id, concurrency_key, priority_ms, due_at, expire_at, cancel_at, worker_id, claim,
    attempt, crashes + COALESCE(crash, 0), created_at, started_at, {now}, payload, options, COALESCE(new_metadata, metadata), tags, version,
    idempotency_key, parent_id, root_id, batch_id, output, error, usage, NULLIF(claimed_at, started_at)
  FROM gone),
freed_keys AS (
  DELETE FROM {s}idempotency WHERE ctid = ANY (ARRAY(
    SELECT k.ctid FROM gone g CROSS JOIN LATERAL (
      SELECT i.ctid FROM {s}idempotency i WHERE i.task = g.task AND i.key = g.idempotency_key AND i.run_id = g.id
      FOR UPDATE SKIP LOCKED) k
    WHERE g.idempotency_key IS NOT NULL AND g.status NOT IN ('completed', 'canceled'))))
SELECT x.id, x.claim, NULL AS parent_key FROM x LEFT JOIN gone g ON g.id = x.id WHERE g.id IS NULL
UNION ALL SELECT parent_id, count(*), parent_key FROM gone WHERE parent_key <> '' GROUP BY parent_id, parent_key

-- name: put_back
-- A retry frees its slot, waits its turn, and is no suspect any more: its process has lived to tell. A run that is handed back
-- keeps its place, its slot and its attempt, unless it is to wait; if no line of it has run, it has not started, and no version did,
-- though it may be for one.
UPDATE {s}run SET
  state = CASE WHEN x.counts = 0 AND x.delay_ms = 0 AND start_by IS NULL THEN 'ready' WHEN x.delay_ms > 0 THEN 'delayed' WHEN lane_id IS NOT NULL THEN 'held' ELSE 'ready' END,
  attempt = {s}run.attempt + x.counts, crashes = crashes + COALESCE(x.crash, 0), worker_id = NULL, claimed_at = NULL, start_by = NULL,
  suspect = CASE WHEN x.counts = 1 THEN 0 ELSE suspect END, unwind = CASE WHEN x.counts = 1 THEN 0 ELSE unwind END,
  started_at = CASE WHEN x.begun = 0 AND started_at = claimed_at THEN NULL ELSE started_at END,
  version = CASE WHEN x.begun = 0 AND started_at = claimed_at AND pinned < 2 THEN NULL ELSE version END,
  pinned = CASE WHEN x.begun = 0 AND started_at = claimed_at AND pinned < 2 THEN 0 ELSE pinned END,
  route_id = CASE WHEN x.begun = 0 AND started_at = claimed_at AND pinned = 1 THEN (
    SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = {s}run.route_id AND o.machine IS NOT DISTINCT FROM f.machine
    WHERE o.task = {s}run.task AND o.queue_id = {s}run.queue_id AND o.version IS NULL)
    WHEN x.machine IS NOT NULL THEN COALESCE((SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = {s}run.route_id AND o.version IS NOT DISTINCT FROM f.version
    WHERE o.task = {s}run.task AND o.queue_id = {s}run.queue_id AND o.machine = x.machine), route_id) ELSE route_id END,
  options = COALESCE(x.options, {s}run.options),
  due_at = CASE WHEN x.delay_ms > 0 THEN {now} + x.delay_ms END,
  sort_at = CASE WHEN x.counts = 1 THEN {now} + x.delay_ms - priority_ms ELSE sort_at END,
  metadata = COALESCE(x.metadata, {s}run.metadata)
FROM {rows(id text, claim int, delay_ms bigint, counts int, metadata text, begun int, crash int, machine text, options text)}
WHERE {s}run.id = x.id AND {s}run.claim = x.claim AND {s}run.state = 'executing'
RETURNING {s}run.id, queue_id, lane_id

-- name: put_back (postgres)
-- One statement for the move, the notes of the lanes, and the record of the attempts.
WITH x AS MATERIALIZED (SELECT * FROM {rows(id text, claim int, delay_ms bigint, counts int, metadata text, number int,
  worker_id text, started_at bigint, outcome text, error text, begun int, crash int, usage text, machine text, options text)}),
put AS (
  UPDATE {s}run r SET
    state = CASE WHEN x.counts = 0 AND x.delay_ms = 0 AND r.start_by IS NULL THEN 'ready' WHEN x.delay_ms > 0 THEN 'delayed' WHEN r.lane_id IS NOT NULL THEN 'held' ELSE 'ready' END,
    attempt = r.attempt + x.counts, crashes = r.crashes + COALESCE(x.crash, 0), worker_id = NULL, claimed_at = NULL, start_by = NULL,
    suspect = CASE WHEN x.counts = 1 THEN 0 ELSE r.suspect END, unwind = CASE WHEN x.counts = 1 THEN 0 ELSE r.unwind END,
    started_at = CASE WHEN x.begun = 0 AND r.started_at = r.claimed_at THEN NULL ELSE r.started_at END,
    version = CASE WHEN x.begun = 0 AND r.started_at = r.claimed_at AND r.pinned < 2 THEN NULL ELSE r.version END,
    pinned = CASE WHEN x.begun = 0 AND r.started_at = r.claimed_at AND r.pinned < 2 THEN 0 ELSE r.pinned END,
    route_id = CASE WHEN x.begun = 0 AND r.started_at = r.claimed_at AND r.pinned = 1 THEN (
      SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = r.route_id AND o.machine IS NOT DISTINCT FROM f.machine
      WHERE o.task = r.task AND o.queue_id = r.queue_id AND o.version IS NULL)
      WHEN x.machine IS NOT NULL THEN COALESCE((SELECT o.id FROM {s}route o JOIN {s}route f ON f.id = r.route_id AND o.version IS NOT DISTINCT FROM f.version
    WHERE o.task = r.task AND o.queue_id = r.queue_id AND o.machine = x.machine), r.route_id) ELSE r.route_id END,
    options = COALESCE(x.options, r.options),
    due_at = CASE WHEN x.delay_ms > 0 THEN {now} + x.delay_ms END,
    sort_at = CASE WHEN x.counts = 1 THEN {now} + x.delay_ms - r.priority_ms ELSE r.sort_at END,
    metadata = COALESCE(x.metadata, r.metadata)
  FROM x WHERE r.id = ANY (ARRAY(SELECT id FROM x)) AND r.id = x.id AND r.claim = x.claim AND r.state = 'executing'
  RETURNING r.id, r.queue_id, r.lane_id),
noted AS (
  INSERT INTO {s}lane_due (queue_id, lane_id) SELECT DISTINCT queue_id, lane_id FROM put WHERE lane_id IS NOT NULL),
kept AS (
  INSERT INTO {s}attempt (run_id, claim, number, worker_id, started_at, finished_at, outcome, error, usage)
  SELECT x.id, x.claim, x.number, x.worker_id, x.started_at, {now}, x.outcome, x.error, x.usage FROM x JOIN put ON put.id = x.id WHERE x.outcome <> 'deferred'
  ON CONFLICT (run_id, claim) DO NOTHING)
SELECT x.id, x.claim FROM x LEFT JOIN put ON put.id = x.id WHERE put.id IS NULL

-- name: due_these
-- What was delayed and is due now: ready, or held where its lane has a limit.
UPDATE {s}run SET state = CASE WHEN lane_id IS NULL THEN 'ready' ELSE 'held' END,
  sort_at = due_at - priority_ms, due_at = NULL
WHERE id {in:ids} AND state = 'delayed'
RETURNING queue_id, lane_id

-- name: held
-- What the database says this worker holds. Those it does not know were claimed by an answer that never arrived.
SELECT id, claim, cancel_at IS NOT NULL FROM {s}run WHERE worker_id = :me

-- name: clear_suspect
UPDATE {s}run SET suspect = 0 WHERE id {in:ids} AND worker_id = :me AND suspect > 0

-- name: lock_runs
SELECT id, state, claim, queue_id, lane_id, task, idempotency_key, parent_key, unwind, parent_id FROM {s}run WHERE id {in:ids} ORDER BY id {for_update}

-- name: request_cancel
UPDATE {s}run SET cancel_at = COALESCE(cancel_at, {now}) WHERE id {in:ids} AND state = 'executing'

-- name: unwind
-- Canceled in the middle of an attempt that nobody holds now: it is resumed, so that its code hears of it.
UPDATE {s}run SET cancel_at = COALESCE(cancel_at, {now}), unwind = 1 WHERE id {in:ids} AND state IN ('waiting', 'ready', 'held')

-- name: finish
-- End runs that no attempt holds: canceled before they started, expired, crashed. The rows were locked by the caller.
INSERT INTO {s}done (id, status, task, queue_id, concurrency_key, priority_ms, due_at, expire_at, cancel_at, worker_id, claim,
  attempt, crashes, created_at, started_at, finished_at, payload, options, metadata, tags, version, idempotency_key,
  parent_id, root_id, batch_id, output, error, claimed_at)
SELECT id, :status, task, queue_id, concurrency_key, priority_ms, due_at, expire_at, cancel_at, worker_id, claim,
  attempt, crashes + CAST(:deaths AS INTEGER), created_at, started_at, {now}, payload, options, metadata, tags, version, idempotency_key,
  parent_id, root_id, batch_id, NULL, CAST(:error AS TEXT), NULLIF(claimed_at, started_at)
FROM {s}run WHERE id {in:ids}

-- name: delete_runs
DELETE FROM {s}run WHERE id {in:ids}

-- name: canceled
-- Asked to cancel while an attempt held it, and then it was put back: the next sweep ends it.
SELECT id FROM {s}run WHERE cancel_at IS NOT NULL AND state IN ('delayed', 'held', 'ready')
  AND (unwind = 0 OR cancel_at < {now} - :patience_ms) ORDER BY id LIMIT :n {skip_locked}

-- name: expired
SELECT id FROM {s}run WHERE expire_at IS NOT NULL AND expire_at <= {now} AND started_at IS NULL AND state <> 'executing'
ORDER BY expire_at LIMIT :n {skip_locked}

-- name: orphans
-- Every executing run whose worker is not alive, not only those of the worker just lost.
SELECT id, claim, suspect, crashes, cancel_at, claimed_at, worker_id, options, task, queue_id, lane_id, attempt,
  (SELECT w.seen_at FROM {s}worker w WHERE w.id = r.worker_id) AS seen_at, (SELECT t.kind FROM {s}task t WHERE t.id = r.task) AS kind
FROM {s}run r WHERE worker_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = r.worker_id AND w.state IN ('live', 'draining'))
ORDER BY worker_id, id LIMIT :n {skip_locked_r}

-- name: other_deaths
-- Whether processes have died lately that did not hold this run.
SELECT 1 FROM {s}worker w WHERE w.state = 'lost' AND w.seen_at > {now} - :within_ms AND w.id <> :worker
  AND NOT EXISTS (SELECT 1 FROM {s}attempt a WHERE a.run_id = :id AND a.worker_id = w.id) LIMIT 1

-- name: recover
-- Back to the front of the line, and under suspicion: it keeps its slot, but under a rate limit it needs a new grant.
UPDATE {s}run SET state = CASE WHEN start_by IS NULL THEN 'ready' ELSE 'held' END, start_by = NULL,
  worker_id = NULL, claimed_at = NULL, suspect = x.suspect, crashes = x.crashes, lived_ms = x.lived_ms
FROM {rows(id text, claim int, suspect int, crashes int, lived_ms bigint)}
WHERE {by {s}run.id} {s}run.id = x.id AND {s}run.claim = x.claim AND state = 'executing'


-- name: fill_blob
SELECT run_id, body FROM {s}blob WHERE run_id {in:ids} AND name = :name

-- name: blob_sizes
SELECT run_id, length(body) FROM {s}blob WHERE run_id {in:ids} AND name = :name

-- name: insert_blobs
INSERT INTO {s}blob (run_id, name, body)
SELECT x.run_id, x.name, x.body FROM {rows(run_id text, name text, body text)} WHERE true
ON CONFLICT (run_id, name) DO UPDATE SET body = excluded.body

-- name: insert_outputs
-- A big output, kept only if the completion before it in this transaction was ours.
INSERT INTO {s}blob (run_id, name, body)
SELECT x.id, 'output', x.output FROM {rows(id text, claim int, output text)}
JOIN {s}done d ON {by d.id} d.id = x.id AND d.claim = x.claim AND d.status = 'completed' WHERE true
ON CONFLICT (run_id, name) DO UPDATE SET body = excluded.body

-- name: insert_tags
INSERT INTO {s}tag (tag, run_id) SELECT x.tag, x.run_id FROM {rows(tag text, run_id text)} WHERE true
ON CONFLICT (tag, run_id) DO NOTHING
