-- What takes a task out of a database as if it had never been there. Every look-up has an index, whatever else is there.

-- name: erase_ready
DELETE FROM {s}run WHERE id {any} SELECT id FROM {s}run WHERE state = 'ready' AND route_id = :route LIMIT :n {end} RETURNING id

-- name: erase_executing
DELETE FROM {s}run WHERE worker_id {in:workers} AND task = :task RETURNING id

-- name: erase_done
DELETE FROM {s}done WHERE id {any} SELECT id FROM {s}done WHERE task = :task LIMIT :n {end} RETURNING id

-- name: erase_task_keys
DELETE FROM {s}idempotency WHERE task = :task

-- name: take_off_stats
-- What a task has added to the sums of all tasks, which is the one without a name.
UPDATE {s}stat SET n = {s}stat.n - x.n, ran_ms = {s}stat.ran_ms - x.ran_ms, waited_ms = {s}stat.waited_ms - x.waited_ms, le_100ms = {s}stat.le_100ms - x.le_100ms, le_1s = {s}stat.le_1s - x.le_1s,
  le_10s = {s}stat.le_10s - x.le_10s, le_1m = {s}stat.le_1m - x.le_1m, le_10m = {s}stat.le_10m - x.le_10m, le_1h = {s}stat.le_1h - x.le_1h
FROM (SELECT minute, status, sum(n) AS n, sum(ran_ms) AS ran_ms, sum(waited_ms) AS waited_ms, sum(le_100ms) AS le_100ms, sum(le_1s) AS le_1s, sum(le_10s) AS le_10s, sum(le_1m) AS le_1m, sum(le_10m) AS le_10m, sum(le_1h) AS le_1h
      FROM {s}stat WHERE task = :task AND minute > 0 GROUP BY minute, status) x
WHERE {s}stat.task = '' AND {s}stat.minute = x.minute AND {s}stat.status = x.status

-- name: drop_empty_stats
DELETE FROM {s}stat WHERE task = '' AND n <= 0

-- name: erase_stats
DELETE FROM {s}stat WHERE task = :task

-- name: erase_routes
DELETE FROM {s}route WHERE id {in:routes}

-- name: erase_queues
DELETE FROM {s}queue WHERE id {in:queues}

-- name: erase_notes
DELETE FROM {s}lane_due WHERE queue_id {in:queues}

-- name: erase_tasks
DELETE FROM {s}task WHERE id {in:tasks}

-- name: erase_worker_tasks
DELETE FROM {s}worker_task WHERE worker_id {in:workers}

-- name: erase_workers
DELETE FROM {s}worker WHERE id {in:workers} AND state IN ('stopped', 'lost')

-- name: task_span
-- From the first start to the last end, over all runs of a task that have ended.
SELECT count(*), count(CASE WHEN status = 'completed' THEN 1 END), min(started_at), max(finished_at) FROM {s}done WHERE task = :task

-- name: database_version
SELECT sqlite_version()

-- name: database_version (postgres)
-- A server says its version, and a library its own.
SELECT current_setting('server_version')
