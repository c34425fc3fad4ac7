-- What people ask: lists, counts, reasons. Each is bounded by a LIMIT or by what is small (workers, queues, routes, slots),
-- so that looking costs the same with ten million finished runs and a backlog of a million.

-- Lists of runs, a page at a time. Each of these has a twin, list_…_back, that is read from the other end; whoever filters
-- reads on, up to a bound.

-- name: list_hot
SELECT id, state, task, queue_id, created_at, version, concurrency_key, batch_id, CAST(NULL AS TEXT) AS fingerprint
FROM {s}run WHERE {page:id}

-- name: list_executing
-- Workers' slots bound these; sorting them is cheaper than walking the backlog for them.
WITH held AS MATERIALIZED (SELECT id, state, task, queue_id, created_at, version, concurrency_key, batch_id, CAST(NULL AS TEXT) AS fingerprint
  FROM {s}run WHERE worker_id IS NOT NULL)
SELECT * FROM held WHERE {page:id}

-- name: list_put_off
-- In the words of its own index, which are not those of the one by time.
SELECT id, state, task, queue_id, created_at, version, concurrency_key, batch_id, CAST(NULL AS TEXT) AS fingerprint
FROM {s}run WHERE state IN ('waiting', 'delayed') AND {page:state=state,id}

-- name: list_hot_of_batch
SELECT id, state, task, queue_id, created_at, version, concurrency_key, batch_id, CAST(NULL AS TEXT) AS fingerprint
FROM {s}run WHERE batch_id IS NOT NULL AND {page:batch_id=batch,id}

-- name: list_done
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE {page:id}

-- name: list_done_of_status
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE status <> 'completed' AND {page:status=status,id}

-- name: list_done_of_task
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE {page:task=task,id}

-- name: list_done_of_version
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE version IS NOT NULL AND {page:version=version,id}

-- name: list_done_of_key
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE concurrency_key IS NOT NULL AND {page:concurrency_key=key,id}

-- name: list_done_of_batch
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE batch_id IS NOT NULL AND {page:batch_id=batch,id}

-- name: list_done_of_error
SELECT id, status, task, queue_id, created_at, version, concurrency_key, batch_id, fingerprint FROM {s}done
WHERE fingerprint IS NOT NULL AND {page:fingerprint=fingerprint,id}

-- name: list_tagged
SELECT t.run_id, COALESCE(r.state, d.status), COALESCE(r.task, d.task), COALESCE(r.queue_id, d.queue_id), COALESCE(r.created_at, d.created_at), COALESCE(r.version, d.version), COALESCE(r.concurrency_key, d.concurrency_key), COALESCE(r.batch_id, d.batch_id), d.fingerprint
FROM (SELECT run_id FROM {s}tag WHERE {page:tag=tag,run_id}) t
LEFT JOIN {s}run r ON r.id = t.run_id LEFT JOIN {s}done d ON d.id = t.run_id {sorted:t.run_id}

-- name: list_tagged (postgres)
-- It expects a page to be a tenth of all there is, and would read all of `run` for it: each is looked up instead.
SELECT t.run_id, COALESCE(r.state, d.status), COALESCE(r.task, d.task), COALESCE(r.queue_id, d.queue_id), COALESCE(r.created_at, d.created_at), COALESCE(r.version, d.version), COALESCE(r.concurrency_key, d.concurrency_key), COALESCE(r.batch_id, d.batch_id), d.fingerprint
FROM (SELECT run_id FROM {s}tag WHERE {page:tag=tag,run_id}) t
LEFT JOIN LATERAL (SELECT * FROM {s}run WHERE id = t.run_id LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT * FROM {s}done WHERE id = t.run_id LIMIT 1) d ON true {sorted:t.run_id}

-- name: list_of_schedule
-- The runs that a schedule has made; a slot that is run at once is made last, wherever it lies.
SELECT t.run_id, COALESCE(r.state, d.status), COALESCE(r.task, d.task), COALESCE(r.queue_id, d.queue_id), COALESCE(r.created_at, d.created_at), COALESCE(r.version, d.version), COALESCE(r.concurrency_key, d.concurrency_key), COALESCE(r.batch_id, d.batch_id), d.fingerprint
FROM (SELECT run_id FROM {s}slot WHERE run_id IS NOT NULL AND {page:schedule_id=schedule,run_id}) t
LEFT JOIN {s}run r ON r.id = t.run_id LEFT JOIN {s}done d ON d.id = t.run_id {sorted:t.run_id}

-- name: list_of_schedule (postgres)
-- As above.
SELECT t.run_id, COALESCE(r.state, d.status), COALESCE(r.task, d.task), COALESCE(r.queue_id, d.queue_id), COALESCE(r.created_at, d.created_at), COALESCE(r.version, d.version), COALESCE(r.concurrency_key, d.concurrency_key), COALESCE(r.batch_id, d.batch_id), d.fingerprint
FROM (SELECT run_id FROM {s}slot WHERE run_id IS NOT NULL AND {page:schedule_id=schedule,run_id}) t
LEFT JOIN LATERAL (SELECT * FROM {s}run WHERE id = t.run_id LIMIT 1) r ON true
LEFT JOIN LATERAL (SELECT * FROM {s}done WHERE id = t.run_id LIMIT 1) d ON true {sorted:t.run_id}

-- name: tasks_of_queue
-- There is a route for each task that ever had runs in it.
SELECT DISTINCT task FROM {s}route WHERE queue_id = :queue_id LIMIT :n

-- name: made_by
SELECT run_id FROM {s}slot WHERE run_id IS NOT NULL AND schedule_id = :schedule AND run_id {in:ids}

-- name: told_at_trigger
-- What no index of a list knows, of a few runs; most were told nothing.
SELECT id, options FROM {s}run WHERE id {in:ids} AND options IS NOT NULL
UNION ALL SELECT id, options FROM {s}done WHERE id {in:ids} AND options IS NOT NULL

-- name: children_of
SELECT * FROM (SELECT id FROM {s}run WHERE parent_id = :id ORDER BY id LIMIT :n) r
UNION ALL SELECT * FROM (SELECT id FROM {s}done WHERE parent_id = :id ORDER BY id LIMIT :n) d

-- name: tags_of
SELECT run_id, tag FROM {s}tag WHERE run_id {in:ids}

-- name: listed
-- The rows of one page. A run is in exactly one of the two tables; both are asked at once.
SELECT r.id, r.state, r.task, q.name, r.created_at, r.started_at, CAST(NULL AS BIGINT) AS finished_at, r.due_at, r.attempt,
  r.concurrency_key, r.tags, r.batch_id, r.parent_id, r.worker_id, r.cancel_at, CAST(NULL AS TEXT) AS error
FROM {s}run r LEFT JOIN {s}queue q ON q.id = r.queue_id WHERE r.id {in:ids}
UNION ALL
SELECT d.id, d.status, d.task, q.name, d.created_at, d.started_at, d.finished_at, d.due_at, d.attempt,
  d.concurrency_key, d.tags, d.batch_id, d.parent_id, d.worker_id, d.cancel_at, d.error
FROM {s}done d LEFT JOIN {s}queue q ON q.id = d.queue_id WHERE d.id {in:ids}

-- name: shown_journal
-- The newest entries of a run, in the order in which they were begun; a long result only where it is a list of runs.
SELECT key, branch, kind, name, state, target, remaining, due_at, tries, started_at, done_at, claim, attempt,
  CASE WHEN length(result) <= :bytes OR kind IN ('child', 'children', 'trigger') THEN result END, COALESCE(length(result), 0), error
FROM {s}journal WHERE run_id = :run_id ORDER BY started_at DESC, COALESCE(settled, 2147483647) DESC, seq DESC LIMIT :n

-- name: journal_size
SELECT count(*) FROM {s}journal WHERE run_id = :run_id

-- name: shown_tokens
SELECT id, state, expires_at, COALESCE(expires_at <= {now}, 1 = 0) FROM {s}token WHERE id {in:ids}

-- name: open_entries
SELECT kind, name, target, remaining, due_at, error, CASE WHEN kind IN ('child', 'children') THEN result END
FROM {s}journal WHERE run_id = :run_id AND state = 'open' ORDER BY due_at NULLS LAST, seq LIMIT :n

-- name: some_unfinished
SELECT id FROM {s}run WHERE id {in:ids} ORDER BY id LIMIT :n

-- name: pins
-- The versions that these runs are pinned to; most are to none.
SELECT id, version FROM {s}run WHERE id {in:ids} AND pinned > 0

-- name: stranded
-- Runs that are pinned to a version which no worker has that is heard of. The routes are few, and lead to their runs.
WITH gone AS MATERIALIZED (
  SELECT o.id, o.version FROM {s}route o WHERE o.version IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM {s}worker_task wt JOIN {s}worker w ON w.id = wt.worker_id
    WHERE wt.task = o.task AND w.version = o.version AND w.state = 'live' AND w.seen_at >= {now} - w.lease_ms))
SELECT r.id, r.task, g.version FROM gone g CROSS JOIN {s}run r
WHERE r.pinned > 0 AND r.route_id = g.id AND r.worker_id IS NULL ORDER BY g.version, r.id LIMIT :n

-- name: queue_names
SELECT id, name FROM {s}queue WHERE id {in:ids}

-- name: serving
-- What workers that are heard of serve, and how many of them. One that is silent for longer than its lease is alive for nobody,
-- even where no host is left to declare it lost.
SELECT wt.task, w.queues, w.version, count(*) FROM {s}worker_task wt JOIN {s}worker w ON w.id = wt.worker_id
WHERE w.state = 'live' AND w.seen_at >= {now} - w.lease_ms GROUP BY wt.task, w.queues, w.version

-- name: list_workers
SELECT w.id, w.state, w.seen_at, w.lease_ms, w.host, w.pid, w.concurrency, w.queues, w.version, w.started_at, {now} AS now,
  (SELECT count(*) FROM {s}run r WHERE r.worker_id = w.id) AS held,
  (SELECT count(*) FROM {s}worker_task wt WHERE wt.worker_id = w.id) AS tasks, w.cpu_millis, w.memory_bytes, w.machines,
  (SELECT string_agg(o.machine, ' ') FROM {s}run r JOIN {s}route o ON o.id = r.route_id WHERE r.worker_id = w.id AND o.machine IS NOT NULL) AS busy, w.usage
FROM {s}worker w WHERE w.state IN ('live', 'draining') ORDER BY w.started_at, w.id

-- name: list_ended_workers
SELECT w.id, w.state, w.seen_at, w.lease_ms, w.host, w.pid, w.concurrency, w.queues, w.version, w.started_at, {now} AS now,
  (SELECT count(*) FROM {s}run r WHERE r.worker_id = w.id) AS held,
  (SELECT count(*) FROM {s}worker_task wt WHERE wt.worker_id = w.id) AS tasks, w.cpu_millis, w.memory_bytes, w.machines,
  (SELECT string_agg(o.machine, ' ') FROM {s}run r JOIN {s}route o ON o.id = r.route_id WHERE r.worker_id = w.id AND o.machine IS NOT NULL) AS busy, w.usage
FROM {s}worker w WHERE w.state IN ('lost', 'stopped') ORDER BY w.seen_at DESC, w.id LIMIT :n

-- name: one_worker
SELECT w.id, w.state, w.seen_at, w.lease_ms, w.host, w.pid, w.concurrency, w.queues, w.version, w.started_at, {now} AS now,
  (SELECT count(*) FROM {s}run r WHERE r.worker_id = w.id) AS held,
  (SELECT count(*) FROM {s}worker_task wt WHERE wt.worker_id = w.id) AS tasks, w.cpu_millis, w.memory_bytes, w.machines,
  (SELECT string_agg(o.machine, ' ') FROM {s}run r JOIN {s}route o ON o.id = r.route_id WHERE r.worker_id = w.id AND o.machine IS NOT NULL) AS busy, w.usage
FROM {s}worker w WHERE w.id = :id

-- name: tasks_of_runs
SELECT id, task FROM {s}run WHERE id {in:ids}

-- name: workers_of_task
SELECT w.id, w.state, w.seen_at, w.lease_ms, w.host, w.pid, w.concurrency, w.queues, w.version, w.started_at, {now} AS now,
  (SELECT count(*) FROM {s}run r WHERE r.worker_id = w.id) AS held,
  (SELECT count(*) FROM {s}worker_task wt WHERE wt.worker_id = w.id) AS tasks, w.cpu_millis, w.memory_bytes, w.machines,
  (SELECT string_agg(o.machine, ' ') FROM {s}run r JOIN {s}route o ON o.id = r.route_id WHERE r.worker_id = w.id AND o.machine IS NOT NULL) AS busy, w.usage
FROM {s}worker w WHERE w.state IN ('live', 'draining')
  AND EXISTS (SELECT 1 FROM {s}worker_task k WHERE k.worker_id = w.id AND k.task = :task) ORDER BY w.started_at, w.id

-- name: catalogue
SELECT id, queue, options, schema, version, seen_at FROM {s}task ORDER BY id

-- name: list_queues
SELECT id, name, cap, cap_per_key, cap_override, cap_per_key_override, rate, rate_ms, rate_per_key, rate_per_key_ms, paused_at
FROM {s}queue ORDER BY name

-- name: one_queue
SELECT id, name, cap, cap_per_key, cap_override, cap_per_key_override, rate, rate_ms, rate_per_key, rate_per_key_ms, paused_at
FROM {s}queue WHERE name = :name

-- name: waiting_by_route
-- Counted up to a bound, and since when the first of each has waited: an index range per route.
SELECT o.queue_id, o.task, o.version, o.machine,
  (SELECT count(*) FROM (SELECT 1 FROM {s}run r WHERE r.state = 'ready' AND r.route_id = o.id LIMIT :bound) x),
  (SELECT r.sort_at + r.priority_ms FROM {s}run r WHERE r.state = 'ready' AND r.route_id = o.id AND r.suspect = 0
    ORDER BY r.sort_at, r.id LIMIT 1)
FROM {s}route o

-- name: held_by_queue
-- The queues in which runs have no slot, and since when one of them.
SELECT x.id, x.since FROM (SELECT q.id,
  (SELECT r.sort_at + r.priority_ms FROM {s}run r WHERE r.state = 'held' AND r.queue_id = q.id LIMIT 1) AS since
  FROM {s}queue q) x WHERE x.since IS NOT NULL

-- name: held_by_task
-- The tasks of runs without a slot, and the versions they are pinned to, in one queue and up to a bound.
SELECT x.task, x.pin, count(*), min(x.since) FROM (
  SELECT r.task, CASE WHEN r.pinned > 0 THEN r.version END AS pin, r.sort_at + r.priority_ms AS since FROM {s}run r WHERE r.state = 'held' AND r.queue_id = :queue_id LIMIT :bound) x
GROUP BY x.task, x.pin

-- name: executing_by_queue
SELECT queue_id, task, count(*) FROM {s}run WHERE worker_id IS NOT NULL GROUP BY queue_id, task

-- name: delayed_by_queue
-- The condition is said twice: once as the index says it, which SQLite wants to see in just these words.
SELECT x.queue_id, count(*) FROM (SELECT queue_id FROM {s}run WHERE due_at IS NOT NULL AND state IN ('delayed', 'waiting')
  AND state = 'delayed' ORDER BY due_at LIMIT :bound) x GROUP BY x.queue_id

-- name: slots_of_lane
-- Who has the slots, the longest first; ready is promoted, and waits for a worker.
SELECT id, state FROM {s}run WHERE queue_id = :queue_id AND lane_id = :lane_id AND lane_id IS NOT NULL
  AND state IN ('ready', 'executing') ORDER BY claimed_at NULLS LAST, id LIMIT :n

-- name: slots_of_queue
SELECT id, state FROM {s}run WHERE queue_id = :queue_id AND lane_id IS NOT NULL
  AND state IN ('ready', 'executing') ORDER BY claimed_at NULLS LAST, id LIMIT :n

-- name: starts_counted
SELECT count(*) FROM {s}start WHERE lane_id = :lane_id AND at > {now} - :window_ms

-- name: ahead_in_lane
SELECT count(*) FROM (SELECT 1 FROM {s}run WHERE state = 'held' AND queue_id = :queue_id AND lane_id = :lane_id
  AND (sort_at < :sort_at OR (sort_at = :sort_at AND id < :id)) LIMIT :bound) x

-- name: ahead_in_worker
-- How many runs this worker has held for longer: those of one claim have the same moment, and go by their place in line.
SELECT count(*) FROM {s}run WHERE worker_id = :worker_id
  AND (claimed_at < :claimed_at OR (claimed_at = :claimed_at AND (sort_at < :sort_at OR (sort_at = :sort_at AND id < :id))))

-- name: suspects
SELECT id, task, crashes, sort_at, {now} AS now FROM {s}run WHERE suspect > 0 AND state = 'ready' ORDER BY suspect, id LIMIT :n

-- name: overdue
-- Due for a while, and not made ready: nobody looks.
SELECT count(*), min(x.due_at) FROM (SELECT due_at FROM {s}run WHERE due_at IS NOT NULL AND state IN ('delayed', 'waiting')
  AND state = 'delayed' AND due_at < {now} - :late_ms ORDER BY due_at LIMIT :bound) x

-- name: unswept
-- Held by a worker that is not alive: the next sweep hands them on.
SELECT count(*) FROM (SELECT 1 FROM {s}run r WHERE worker_id IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM {s}worker w WHERE w.id = r.worker_id AND w.state IN ('live', 'draining')) LIMIT :bound) x

-- name: new_runs
-- Runs by id, oldest first: to follow what is triggered.
SELECT x.id FROM (
  SELECT * FROM (SELECT id FROM {s}run WHERE id > :after ORDER BY id LIMIT :n) h
  UNION ALL
  SELECT * FROM (SELECT id FROM {s}done WHERE id > :after ORDER BY id LIMIT :n) d) x
ORDER BY x.id LIMIT :n

-- name: logs_of
-- New lines of several runs; each has its own place from which to read on.
SELECT l.run_id, l.claim, l.seq, l.at, l.level, l.attempt, l.logger, l.message
FROM {rows(run_id text, claim int, seq int)} JOIN {s}log l ON l.run_id = x.run_id AND (l.claim, l.seq) > (x.claim, x.seq)
  AND l.replayed = 0 ORDER BY l.run_id, l.claim, l.seq LIMIT :n

-- name: last_logs
SELECT run_id, claim, seq, at, level, attempt, logger, message FROM {s}log WHERE run_id = :run_id AND replayed = 0
ORDER BY claim DESC, seq DESC LIMIT :n

-- name: engine
-- SQLite: its version, and how large the file and what is free in it are, in bytes.
SELECT sqlite_version(), (SELECT page_count FROM pragma_page_count()) * (SELECT page_size FROM pragma_page_size()),
  (SELECT freelist_count FROM pragma_freelist_count()) * (SELECT page_size FROM pragma_page_size())

-- name: engine (postgres)
-- Its version, whether it only reads, and connections: how many there are, and may be.
SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), current_setting('max_connections')::int, pg_database_size(current_database())

-- name: server_settings
-- SQLite has no settings of a server.
SELECT 'none', 'none' WHERE 1 = 0

-- name: server_settings (postgres)
-- Those that our promises stand on.
SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum')

-- name: long_transactions
-- SQLite does not say who reads.
SELECT 'none', 'none', 0 WHERE 1 = 0

-- name: long_transactions (postgres)
-- What keeps vacuum from cleaning up: every row that was changed since then stays in the tables.
SELECT 'process ' || pid, COALESCE(NULLIF(application_name, ''), usename::text, 'unknown'),
  (extract(epoch FROM clock_timestamp() - xact_start) * 1000)::bigint AS open_ms
FROM pg_stat_activity WHERE xact_start < clock_timestamp() - make_interval(secs => :older_ms / 1000.0)
  AND datname = current_database() AND pid <> pg_backend_pid() AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
UNION ALL
SELECT 'prepared transaction ' || gid, owner::text, (extract(epoch FROM clock_timestamp() - prepared) * 1000)::bigint
FROM pg_prepared_xacts WHERE database = current_database() AND prepared < clock_timestamp() - make_interval(secs => :older_ms / 1000.0)
ORDER BY 3 DESC LIMIT 5

-- name: secret_schemas
-- Of those tasks whose payloads have secrets in them. There is no other test for a part of a text that both databases have.
SELECT id, schema FROM {s}task WHERE id {in:tasks} AND replace(schema, CAST(:mark AS TEXT), '') <> schema

-- name: marks
-- What tells whether a run has changed. A run is in exactly one of the two tables.
SELECT r.id, 0, r.state, r.task, q.name, r.claim, r.attempt, r.due_at, r.cancel_at, r.changes
FROM {s}run r LEFT JOIN {s}queue q ON q.id = r.queue_id WHERE r.id {in:ids}
UNION ALL
SELECT d.id, 1, d.status, d.task, '', d.claim, d.attempt, d.due_at, d.cancel_at, 0 FROM {s}done d WHERE d.id {in:ids}

-- name: stream_ends
-- How far each of these streams is. On SQLite this runs once for each of them, so that LIMIT is for each.
SELECT x.run_id, x.name, c.claim, c.seq
FROM {rows(run_id text, name text)} JOIN {s}chunk c ON c.run_id = x.run_id AND c.name = x.name
ORDER BY c.claim DESC, c.seq DESC LIMIT 1

-- name: stream_ends (postgres)
-- All of them are one statement here.
SELECT x.run_id, x.name, c.claim, c.seq FROM {rows(run_id text, name text)} CROSS JOIN LATERAL (
  SELECT claim, seq FROM {s}chunk WHERE run_id = x.run_id AND name = x.name ORDER BY claim DESC, seq DESC LIMIT 1) c

-- name: pulse
-- Rises with every run that is made or ends. SQLite says of a commit that there was one, so this is for when it cannot.
SELECT CAST(COALESCE((SELECT max(id) FROM {s}run), '') || COALESCE((SELECT max(finished_at) FROM {s}done), 0) AS TEXT)

-- name: pulse (postgres)
-- How far its log is: it grows with whatever is written.
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text ELSE pg_current_wal_insert_lsn()::text END

-- name: keys_in_line
-- The concurrency keys of what has no slot in a queue, up to a bound.
SELECT x.concurrency_key, count(*) FROM (SELECT concurrency_key FROM {s}run WHERE state = 'held' AND queue_id = :queue_id LIMIT :bound) x
WHERE x.concurrency_key IS NOT NULL GROUP BY x.concurrency_key ORDER BY 2 DESC, 1 LIMIT :n

-- name: keys_with_slots
-- The concurrency keys of what has a slot in a queue: its limits bound them.
SELECT x.concurrency_key, count(*) FROM (SELECT concurrency_key FROM {s}run WHERE queue_id = :queue_id AND lane_id IS NOT NULL
  AND state IN ('ready', 'executing') LIMIT :bound) x
WHERE x.concurrency_key IS NOT NULL GROUP BY x.concurrency_key ORDER BY 2 DESC, 1 LIMIT :n

-- name: last_start
-- When the attempt began that ended this run, if it was not the first.
SELECT claimed_at FROM {s}done WHERE id = :id
