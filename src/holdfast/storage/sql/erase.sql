-- What takes a task out of a database as if it had never been there. Every look-up has an index, whatever else is there.

-- name: erase_ready
DELETE FROM {s}run WHERE id {any} SELECT id FROM {s}run WHERE state = 'ready' AND route_id = :route LIMIT :n {end} RETURNING id

-- name: erase_executing
DELETE FROM {s}run WHERE worker_id {in:workers} AND task = :task RETURNING id

-- name: erase_done
DELETE FROM {s}done WHERE id {any} SELECT id FROM {s}done WHERE task = :task LIMIT :n {end} RETURNING id

-- name: erase_task_keys
DELETE FROM {s}idempotency WHERE task = :task

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
