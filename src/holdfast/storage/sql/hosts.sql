-- Workers, their beats, and the catalogue of what they announce.

-- name: now
SELECT {now}

-- name: insert_worker
INSERT INTO {s}worker (id, state, beat, seen_at, lease_ms, idle, host, pid, concurrency, queues, version, app, declares,
  cpu_millis, memory_bytes, machines, started_at)
VALUES (:id, 'live', 0, {now}, :lease_ms, 1, :host, :pid, :concurrency, CAST(:queues AS TEXT), CAST(:version AS TEXT),
  CAST(:app AS TEXT), CAST(:declares AS TEXT), CAST(:cpu_millis AS BIGINT), CAST(:memory_bytes AS BIGINT), CAST(:machines AS TEXT), {now})

-- name: beat
-- Nothing comes back for a worker that was declared lost: it stops what it holds and registers anew.
UPDATE {s}worker SET beat = beat + 1, seen_at = {now}, usage = x.usage FROM {rows(id text, usage text)}
WHERE {by {s}worker.id} {s}worker.id = x.id AND state IN ('live', 'draining')
RETURNING {s}worker.id, drain_asked_at IS NOT NULL

-- name: beats
SELECT id, beat, lease_ms FROM {s}worker WHERE state IN ('live', 'draining')

-- name: declare_lost
-- By a process that has itself watched this very beat stand still for the whole lease.
UPDATE {s}worker SET state = 'lost' WHERE id = :id AND beat = :beat AND state IN ('live', 'draining') RETURNING id

-- name: declare_gone
-- By a supervisor that saw its child exit: it need not wait.
UPDATE {s}worker SET state = 'lost' WHERE id = :id AND state IN ('live', 'draining') RETURNING id

-- name: set_worker_state
UPDATE {s}worker SET state = :state WHERE id = :id AND state IN ('live', 'draining') RETURNING id

-- name: ask_to_drain
-- Who drains already is asked all the same: that its process is not replaced is news.
UPDATE {s}worker SET state = 'draining', drain_asked_at = COALESCE(drain_asked_at, {now})
WHERE id = :id AND state IN ('live', 'draining') RETURNING id

-- name: set_idle
UPDATE {s}worker SET idle = :idle WHERE id = :me

-- name: wake_idle
-- SQLite: whoever sleeps hears of every commit.
SELECT 1 WHERE :me IS NULL

-- name: wake_idle (postgres)
-- Runs were made ready: a notification if anybody else sleeps, as a trigger sends it.
SELECT pg_notify('holdfast', '') FROM (SELECT 1 FROM {s}worker WHERE idle = 1 AND state = 'live' AND id <> :me LIMIT 1) sleeper

-- name: forget_workers
DELETE FROM {s}worker WHERE state IN ('lost', 'stopped') AND seen_at < {now} - :older_ms

-- name: forget_worker_tasks
DELETE FROM {s}worker_task WHERE NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = worker_id AND w.state IN ('live', 'draining'))

-- name: insert_worker_tasks
INSERT INTO {s}worker_task (worker_id, task) SELECT x.worker_id, x.task FROM {rows(worker_id text, task text)} WHERE true
ON CONFLICT (worker_id, task) DO NOTHING

-- name: upsert_tasks
INSERT INTO {s}task (id, queue, options, schema, version, end_hooks, kind, webhook, verified_by, seen_at)
SELECT x.id, x.queue, x.options, x.schema, x.version, x.end_hooks, x.kind, x.webhook, x.verified_by, {now}
FROM {rows(id text, queue text, options text, schema text, version text, end_hooks int, kind text, webhook text, verified_by text)} WHERE true
ON CONFLICT (id) DO UPDATE SET queue = excluded.queue, options = excluded.options, schema = excluded.schema,
  version = excluded.version, end_hooks = excluded.end_hooks, kind = excluded.kind, webhook = excluded.webhook,
  verified_by = excluded.verified_by, seen_at = excluded.seen_at

-- name: task
SELECT id, queue, options, schema, version FROM {s}task WHERE id = :id

-- name: app_lives
SELECT 1 FROM {s}worker WHERE state = 'live' AND app = :app LIMIT 1

-- name: live_worker_tasks
SELECT DISTINCT wt.task, w.queues, w.version, w.cpu_millis, w.memory_bytes, w.machines FROM {s}worker_task wt JOIN {s}worker w ON w.id = wt.worker_id AND w.state = 'live'

-- name: routes
SELECT o.id, o.task, q.name, o.version, o.machine FROM {s}route o JOIN {s}queue q ON q.id = o.queue_id WHERE o.kind = 'task' AND o.task {in:tasks}
  AND (o.version IS NULL OR o.version = CAST(:version AS TEXT))

-- name: queues_of_tasks
SELECT q.name, o.task FROM {s}route o JOIN {s}queue q ON q.id = o.queue_id WHERE o.task {in:tasks} AND o.machine IS NULL AND o.version IS NULL

-- name: all_routes
SELECT o.id, o.task, o.version, o.machine FROM {s}route o JOIN {s}queue q ON q.id = o.queue_id

-- name: insert_routes
INSERT INTO {s}route (id, kind, queue_id, task, version, machine)
SELECT x.id, 'task', x.queue_id, x.task, x.version, x.machine FROM {rows(id bigint, queue_id bigint, task text, version text, machine text)} WHERE true
ON CONFLICT (id) DO NOTHING RETURNING id

-- name: keep_routes
UPDATE {s}route SET named_at = {now} WHERE id {in:ids}

-- name: forget_routes
-- Of versions that are gone, once no run is pinned to them. One that was named of late is for a run which nobody may see yet.
DELETE FROM {s}route WHERE version IS NOT NULL AND (named_at IS NULL OR named_at < {now} - 86400000)
  AND NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.version = {s}route.version AND w.state IN ('live', 'draining'))
  AND NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.route_id = {s}route.id AND r.pinned > 0)

-- name: take_new_names
-- Only PostgreSQL has triggers that leave such notes.
SELECT 'none', 'none', NULL WHERE 1 = 0 LIMIT :n

-- name: take_new_names (postgres)
-- Left by triggers in SQL, each in a transaction that may have stayed open for long: nobody else has waited for its names.
DELETE FROM {s}name_due WHERE ctid {any} SELECT ctid FROM {s}name_due LIMIT :n {skip_locked} {end} RETURNING queue, task, machine

-- name: worker_state
SELECT state, EXISTS (SELECT 1 FROM {s}run WHERE worker_id = :me AND news = 1 AND worker_id IS NOT NULL) FROM {s}worker WHERE id = :me

-- name: pushers
-- They know no app.
SELECT id FROM {s}worker WHERE state IN ('live', 'draining') AND app IS NULL
