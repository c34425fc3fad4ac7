-- Schedules, the slots they have had, and what code declares.

-- name: due_schedules
SELECT id, rule, make, jitter_ms, catch_up, generation, slot_at FROM {s}schedule
WHERE next_at IS NOT NULL AND next_at <= {now} + :ahead_ms ORDER BY next_at LIMIT :n

-- name: next_schedule
-- When the next schedule is due, and whether a slot waits for a run to end: an index entry each.
SELECT (SELECT min(next_at) FROM {s}schedule WHERE next_at IS NOT NULL) - {now},
  EXISTS (SELECT 1 FROM {s}schedule WHERE waiting_at IS NOT NULL)

-- name: lock_due_schedules
-- Lock, then look: what another scheduler has dealt with meanwhile has another slot now.
SELECT id, external_id, rule, make, made_at, (SELECT t.queue FROM {s}task t WHERE t.id = task), (SELECT t.options FROM {s}task t WHERE t.id = task),
  overlap, generation, slot_at, last_run_id, waiting_at FROM {s}schedule
WHERE id {in:ids} AND next_at IS NOT NULL ORDER BY id {skip_locked}

-- name: advance_schedules
UPDATE {s}schedule SET slot_at = x.slot_at, next_at = x.next_at, last_at = x.last_at, made_at = x.made_at,
  last_run_id = x.last_run_id, waiting_at = x.waiting_at, problem = x.problem
FROM {rows(id text, slot_at bigint, next_at bigint, last_at bigint, made_at bigint, last_run_id text, waiting_at bigint, problem text)}
WHERE {by {s}schedule.id} {s}schedule.id = x.id

-- name: insert_slots
INSERT INTO {s}slot (schedule_id, at, outcome, run_id, dealt_at)
SELECT x.schedule_id, x.at, x.outcome, x.run_id, {now} FROM {rows(schedule_id text, at bigint, outcome text, run_id text)} WHERE true
ON CONFLICT (schedule_id, at) DO NOTHING RETURNING schedule_id, at

-- name: unfinished
SELECT id FROM {s}run WHERE id {in:ids}

-- name: waiting_schedules
-- Slots whose turn has come: the run before them has ended.
SELECT id, external_id, rule, make, made_at, (SELECT t.queue FROM {s}task t WHERE t.id = task), (SELECT t.options FROM {s}task t WHERE t.id = task),
  waiting_at FROM {s}schedule
WHERE waiting_at IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {s}run r WHERE r.id = last_run_id)
ORDER BY waiting_at LIMIT :n {skip_locked}

-- name: settle_waiting
UPDATE {s}schedule SET made_at = waiting_at, last_run_id = x.run_id, waiting_at = NULL
FROM {rows(id text, run_id text)} WHERE {by {s}schedule.id} {s}schedule.id = x.id

-- name: settle_slots
-- They are there, as waiting ones: this way each is found by its key.
INSERT INTO {s}slot (schedule_id, at, outcome, run_id, dealt_at)
SELECT x.schedule_id, x.at, 'made', x.run_id, {now} FROM {rows(schedule_id text, at bigint, run_id text)} WHERE true
ON CONFLICT (schedule_id, at) DO UPDATE SET outcome = excluded.outcome, run_id = excluded.run_id, dealt_at = excluded.dealt_at

-- name: prune_slots
DELETE FROM {s}slot WHERE rowid IN (SELECT rowid FROM {s}slot WHERE dealt_at < {now} - :older_ms ORDER BY dealt_at LIMIT :n)
RETURNING at

-- name: prune_slots (postgres)
-- There are no numbers of rows; a plan over their keys would read the whole table.
DELETE FROM {s}slot WHERE ctid = ANY (ARRAY(
  SELECT ctid FROM {s}slot WHERE dealt_at < {now} - :older_ms ORDER BY dealt_at LIMIT :n FOR UPDATE SKIP LOCKED))
RETURNING at

-- name: insert_schedule
INSERT INTO {s}schedule (id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, paused_at,
  problem, created_at, updated_at)
VALUES (:id, :task, :rule, :make, :catch_up, :overlap, :jitter_ms, :owner, CAST(:key AS TEXT), CAST(:external_id AS TEXT),
  CAST(:slot_at AS BIGINT), CAST(:next_at AS BIGINT), CASE WHEN :paused = 1 THEN {now} END,
  CAST(:problem AS TEXT), {now}, {now})
ON CONFLICT DO NOTHING RETURNING id

-- name: change_schedule
UPDATE {s}schedule SET task = :task, rule = :rule, make = :make, catch_up = :catch_up, overlap = :overlap, jitter_ms = :jitter_ms,
  external_id = CAST(:external_id AS TEXT), slot_at = CAST(:slot_at AS BIGINT), next_at = CAST(:next_at AS BIGINT), problem = CAST(:problem AS TEXT),
  paused_at = CASE WHEN :paused = 1 THEN COALESCE(paused_at, {now}) END, generation = generation + 1, updated_at = {now}
WHERE id = :id RETURNING id

-- name: set_last_run
UPDATE {s}schedule SET last_run_id = :run_id WHERE id = :id

-- name: delete_schedules
DELETE FROM {s}schedule WHERE id {in:ids} RETURNING id

-- name: delete_slots
DELETE FROM {s}slot WHERE schedule_id {in:ids}

-- name: schedules
SELECT id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, last_at, made_at, last_run_id,
  waiting_at, paused_at, problem, created_at, updated_at FROM {s}schedule WHERE id {in:ids} ORDER BY id

-- name: defaults_of_task
SELECT queue, options FROM {s}task WHERE id = :id

-- name: lock_schedule
SELECT id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, last_at, made_at, last_run_id,
  waiting_at, paused_at, problem, created_at, updated_at FROM {s}schedule WHERE id = :id {for_update}

-- name: schedule_of_key
SELECT id FROM {s}schedule WHERE owner = :owner AND key = :key {for_update}

-- name: schedules_of_owner
SELECT id, key FROM {s}schedule WHERE owner = :owner AND key IS NOT NULL ORDER BY id {for_update}

-- name: list_schedules
SELECT id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, last_at, made_at, last_run_id,
  waiting_at, paused_at, problem, created_at, updated_at FROM {s}schedule WHERE id < :before ORDER BY id DESC LIMIT :n

-- name: list_schedules_of_task
SELECT id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, last_at, made_at, last_run_id,
  waiting_at, paused_at, problem, created_at, updated_at FROM {s}schedule WHERE task = :task AND id < :before ORDER BY id DESC LIMIT :n

-- name: list_schedules_of_external_id
SELECT id, task, rule, make, catch_up, overlap, jitter_ms, owner, key, external_id, slot_at, next_at, last_at, made_at, last_run_id,
  waiting_at, paused_at, problem, created_at, updated_at FROM {s}schedule WHERE external_id = :external_id AND id < :before ORDER BY id DESC LIMIT :n

-- name: slots_of
SELECT at, outcome, run_id, dealt_at FROM {s}slot WHERE schedule_id = :id AND at < :before ORDER BY at DESC LIMIT :n

-- name: declarations
-- What the code of an app has declared so far, and which of it live workers have.
SELECT d.digest, d.seq, d.body, EXISTS (SELECT 1 FROM {s}worker w WHERE w.state = 'live' AND w.app = d.app AND w.declares = d.digest)
FROM {s}declaration d WHERE d.app = :app ORDER BY d.seq

-- name: put_declaration
INSERT INTO {s}declaration (app, digest, seq, body) VALUES (:app, :digest, :seq, :body)
ON CONFLICT (app, digest) DO UPDATE SET seq = excluded.seq

-- name: forget_declarations
DELETE FROM {s}declaration WHERE app = :app AND seq <= :seq

-- name: apps_out_of_step
-- Apps of which live workers have code that was declared, and none has the code that is in force. One that has never
-- declared anything has nothing to follow.
SELECT DISTINCT w.app FROM {s}worker w JOIN {s}declaration c ON c.app = w.app AND c.digest = w.declares
WHERE w.state = 'live' AND NOT EXISTS (
  SELECT 1 FROM {s}worker o JOIN {s}declaration d ON d.app = o.app AND d.digest = o.declares
  WHERE o.state = 'live' AND o.app = w.app AND d.seq = (SELECT max(seq) FROM {s}declaration WHERE app = w.app))

-- name: schedules_counted
SELECT (SELECT count(*) FROM (SELECT 1 FROM {s}schedule WHERE next_at IS NOT NULL LIMIT :bound) x),
  (SELECT min(next_at) FROM {s}schedule WHERE next_at IS NOT NULL)

-- name: broken_schedules
SELECT id, task, problem FROM {s}schedule WHERE problem IS NOT NULL ORDER BY id LIMIT :n

-- name: unserved_schedules
-- Tasks of schedules that fire, and that no live worker knows. Pushers carry out all that is a request.
SELECT x.task, x.schedules FROM (SELECT task, count(*) AS schedules FROM {s}schedule WHERE next_at IS NOT NULL GROUP BY task) x
WHERE NOT EXISTS (SELECT 1 FROM {s}task t WHERE t.id = x.task AND t.kind <> 'code')
  AND x.task NOT IN (SELECT wt.task FROM {s}worker_task wt JOIN {s}worker w ON w.id = wt.worker_id AND w.state = 'live')
ORDER BY x.task LIMIT :n
