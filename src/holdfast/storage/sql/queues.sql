-- Queues, their lanes, and the notes that say where a slot may be free.

-- name: insert_queues
-- Made by a trigger before it uses the name: what a worker or an operator has said is not touched.
-- No index is named: somebody who makes the same queue just now may be met in that of the names.
INSERT INTO {s}queue (id, name, cap, cap_per_key, rate, rate_ms, rate_per_key, rate_per_key_ms)
SELECT x.id, x.name, x.cap, x.cap_per_key, x.rate, x.rate_ms, x.rate_per_key, x.rate_per_key_ms
FROM {rows(id bigint, name text, cap int, cap_per_key int, rate int, rate_ms bigint, rate_per_key int, rate_per_key_ms bigint)}
WHERE true
ON CONFLICT DO NOTHING

-- name: declare_queues
-- Announced by a worker: what the code says now. Answers the queues whose limits this changes.
INSERT INTO {s}queue (id, name, cap, cap_per_key, rate, rate_ms, rate_per_key, rate_per_key_ms)
SELECT x.id, x.name, x.cap, x.cap_per_key, x.rate, x.rate_ms, x.rate_per_key, x.rate_per_key_ms
FROM {rows(id bigint, name text, cap int, cap_per_key int, rate int, rate_ms bigint, rate_per_key int, rate_per_key_ms bigint)}
WHERE true
ON CONFLICT (id) DO UPDATE SET cap = excluded.cap, cap_per_key = excluded.cap_per_key, rate = excluded.rate,
  rate_ms = excluded.rate_ms, rate_per_key = excluded.rate_per_key, rate_per_key_ms = excluded.rate_per_key_ms
WHERE {s}queue.cap IS DISTINCT FROM excluded.cap OR {s}queue.cap_per_key IS DISTINCT FROM excluded.cap_per_key
  OR {s}queue.rate IS DISTINCT FROM excluded.rate OR {s}queue.rate_ms IS DISTINCT FROM excluded.rate_ms
  OR {s}queue.rate_per_key IS DISTINCT FROM excluded.rate_per_key OR {s}queue.rate_per_key_ms IS DISTINCT FROM excluded.rate_per_key_ms
RETURNING id

-- name: queue_limits
SELECT id, COALESCE(cap_override, cap) AS cap, COALESCE(cap_per_key_override, cap_per_key) AS cap_per_key,
  rate, rate_ms, rate_per_key, rate_per_key_ms
FROM {s}queue WHERE id {in:ids}

-- name: queue_by_name
SELECT id, name, cap, cap_per_key, cap_override, cap_per_key_override, paused_at FROM {s}queue WHERE name = :name

-- name: pause_queue
UPDATE {s}queue SET paused_at = COALESCE(paused_at, {now}) WHERE name = :name RETURNING id

-- name: resume_queue
UPDATE {s}queue SET paused_at = NULL WHERE name = :name RETURNING id

-- name: override_queue
UPDATE {s}queue SET cap_override = CAST(:cap AS INTEGER), cap_per_key_override = CAST(:cap_per_key AS INTEGER)
WHERE name = :name RETURNING id

-- name: take_notes
DELETE FROM {s}lane_due WHERE seq {any} SELECT seq FROM {s}lane_due WHERE due_at <= {now} ORDER BY due_at, seq LIMIT :n {skip_locked} {end} RETURNING queue_id, lane_id

-- name: leave_notes
INSERT INTO {s}lane_due (queue_id, lane_id) SELECT x.queue_id, x.lane_id FROM {rows(queue_id bigint, lane_id bigint)} WHERE true

-- name: leave_late_notes
-- A lane has one note for later: the earliest, which was there before.
INSERT INTO {s}lane_due (queue_id, lane_id, due_at) SELECT x.queue_id, x.lane_id, {now} + x.wait_ms
FROM {rows(queue_id bigint, lane_id bigint, wait_ms bigint)}
WHERE NOT EXISTS (SELECT 1 FROM {s}lane_due d WHERE d.lane_id = x.lane_id AND d.due_at > {now})

-- name: starts
-- The grants of a lane that still count, and how long until the oldest of them does not.
SELECT count(*), min(at) + :window_ms - {now} FROM {s}start WHERE lane_id = :lane_id AND at > {now} - :window_ms

-- name: insert_starts
INSERT INTO {s}start (lane_id, at, run_id) SELECT x.lane_id, {now}, x.run_id FROM {rows(lane_id bigint, run_id text)} WHERE true

-- name: forget_starts
DELETE FROM {s}start WHERE lane_id = :lane_id AND at <= {now} - :window_ms

-- name: ungrant
-- Nobody started these in time: a grant that is used late would be one start too many.
UPDATE {s}run SET state = 'held', start_by = NULL
WHERE id {any} SELECT id FROM {s}run WHERE state = 'ready' AND start_by IS NOT NULL AND start_by <= {now}
                ORDER BY start_by LIMIT :n {skip_locked} {end}
RETURNING queue_id, lane_id

-- name: lane_waits
SELECT 1 FROM {s}run WHERE queue_id = :queue_id AND lane_id = :lane_id AND state = 'held' LIMIT 1

-- name: lock_lanes
-- Locks of the transaction on the lanes' numbers, in order; what they guard is looked at in the next statement.
SELECT pg_advisory_xact_lock(l.lane) FROM (SELECT lane FROM unnest(:lanes::bigint[]) lane ORDER BY lane) l

-- name: lock_lanes (sqlite)
-- There is one writer: whoever is here holds every lock.
SELECT 1

-- name: queue_used
SELECT count(*) FROM {s}run WHERE queue_id = :queue_id AND lane_id IS NOT NULL AND state IN ('ready', 'executing')

-- name: promote
-- As many of each lane as have a free slot, in a new place in line, so that lanes take turns.
WITH free AS MATERIALIZED (
  SELECT x.lane_id, x.cap - (SELECT count(*) FROM {s}run u WHERE u.queue_id = x.queue_id AND u.lane_id = x.lane_id
                             AND u.lane_id IS NOT NULL AND u.state IN ('ready', 'executing')) AS n, x.queue_id
  FROM {rows(queue_id bigint, lane_id bigint, cap int)}),
heads AS MATERIALIZED (
  SELECT h.id FROM free f CROSS JOIN LATERAL (
    SELECT r.id FROM {s}run r WHERE r.queue_id = f.queue_id AND r.lane_id = f.lane_id AND r.state = 'held'
    ORDER BY r.sort_at, r.id LIMIT GREATEST(f.n, 0) FOR UPDATE OF r SKIP LOCKED) h)
UPDATE {s}run r SET state = 'ready', sort_at = {now} - r.priority_ms, start_by = {now} + CAST(:grant_ms AS BIGINT)
WHERE r.id = ANY (ARRAY(SELECT id FROM heads)) RETURNING r.id, r.queue_id, r.lane_id

-- name: promote (sqlite)
-- SQLite has no LATERAL: once for each lane.
UPDATE {s}run SET state = 'ready', sort_at = {now} - priority_ms, start_by = {now} + :grant_ms
WHERE id IN (SELECT r.id FROM {s}run r, {rows(queue_id bigint, lane_id bigint, cap int)}
  WHERE r.queue_id = x.queue_id AND r.lane_id = x.lane_id AND r.state = 'held' ORDER BY r.sort_at, r.id
  LIMIT max(0, ?3 - (SELECT count(*) FROM {s}run WHERE queue_id = ?1 AND lane_id = ?2
                     AND lane_id IS NOT NULL AND state IN ('ready', 'executing'))))
RETURNING id, queue_id, lane_id

-- name: next_lane
-- The lane after this one that holds runs: one step of a walk that takes lanes in turn.
SELECT lane_id FROM {s}run WHERE queue_id = :queue_id AND state = 'held' AND lane_id > :after AND lane_id <= :upto ORDER BY lane_id LIMIT 1

-- name: lane_used
SELECT count(*) FROM {s}run WHERE queue_id = :queue_id AND lane_id = :lane_id AND lane_id IS NOT NULL AND state IN ('ready', 'executing')

-- name: held_lanes
-- Every lane that holds runs, by leaping from one to the next: the cost is the number of lanes and not of runs.
WITH RECURSIVE lanes(queue_id, lane_id) AS (
  SELECT * FROM (SELECT queue_id, lane_id FROM {s}run WHERE state = 'held' ORDER BY queue_id, lane_id LIMIT 1) first
  UNION ALL
  SELECT (SELECT queue_id FROM {s}run WHERE state = 'held' AND (queue_id, lane_id) > (l.queue_id, l.lane_id)
            ORDER BY queue_id, lane_id LIMIT 1),
         (SELECT lane_id FROM {s}run WHERE state = 'held' AND (queue_id, lane_id) > (l.queue_id, l.lane_id)
            ORDER BY queue_id, lane_id LIMIT 1)
  FROM lanes l WHERE l.queue_id IS NOT NULL)
SELECT queue_id, lane_id FROM lanes WHERE queue_id IS NOT NULL

-- name: unlaned
-- Runs that were made before their queue had this limit.
SELECT id, concurrency_key, lane_id FROM {s}run WHERE queue_id = :queue_id AND id > :after ORDER BY id LIMIT :n {for_update}

-- name: set_lanes
UPDATE {s}run SET lane_id = x.lane_id,
  state = CASE WHEN state = 'ready' AND x.lane_id IS NOT NULL AND suspect = 0 THEN 'held'
               WHEN state = 'held' AND x.lane_id IS NULL THEN 'ready' ELSE state END
FROM {rows(id text, lane_id bigint)}
WHERE {by {s}run.id} {s}run.id = x.id

-- name: misplaced
-- Runs that stand or execute in another lane than their queue's limits ask for, or in none: they count against nothing. Few stand
-- ready where there is a limit, and workers' slots bound the others, so what is read does not grow with a backlog.
WITH limited AS MATERIALIZED (
  SELECT q.id, q.name, COALESCE(q.cap_override, q.cap, q.rate) IS NOT NULL AS whole,
    COALESCE(q.cap_per_key_override, q.cap_per_key, q.rate_per_key) IS NOT NULL AS keyed
  FROM {s}queue q
  WHERE COALESCE(q.cap_override, q.cap, q.rate, q.cap_per_key_override, q.cap_per_key, q.rate_per_key) IS NOT NULL),
standing AS (
  SELECT r.id, r.queue_id, r.lane_id, r.concurrency_key
  FROM limited l CROSS JOIN {s}route o CROSS JOIN {s}run r WHERE o.queue_id = l.id AND r.route_id = o.id AND r.state = 'ready'
  UNION ALL
  SELECT r.id, r.queue_id, r.lane_id, r.concurrency_key FROM {s}run r WHERE r.worker_id IS NOT NULL)
SELECT s.id, s.queue_id, l.name, s.concurrency_key FROM standing s JOIN limited l ON l.id = s.queue_id
WHERE CASE WHEN l.keyed AND s.concurrency_key IS NOT NULL THEN COALESCE(s.lane_id, l.id) = l.id
           WHEN l.whole THEN COALESCE(s.lane_id, 0) <> l.id ELSE false END
LIMIT :n

-- name: return_unserved
-- A promoted run whose route nobody serves gives its slot back, and goes to the end of its lane.
UPDATE {s}run SET state = 'held', sort_at = {now} - priority_ms
WHERE lane_id IS NOT NULL AND state = 'ready' AND sort_at < {now} - 10000 AND suspect = 0 AND route_id {in:routes}
RETURNING queue_id, lane_id
