-- Errors: the fingerprints of runs that ended badly, and how many there are of each.

-- name: ungrouped
SELECT id, task, status, error, version, finished_at FROM {s}done
WHERE status NOT IN ('completed', 'canceled') AND fingerprint IS NULL ORDER BY id LIMIT :n {skip_locked}

-- name: set_fingerprints
UPDATE {s}done SET fingerprint = x.fingerprint FROM {rows(id text, fingerprint text)} WHERE {by {s}done.id} {s}done.id = x.id

-- name: count_errors
INSERT INTO {s}error_group (fingerprint, task, type, message, place, runs, first_at, last_at, first_version, last_version, last_run)
SELECT x.fingerprint, x.task, x.type, x.message, x.place, x.runs, x.first_at, x.last_at, x.first_version, x.last_version, x.last_run
FROM {rows(fingerprint text, task text, type text, message text, place text, runs bigint, first_at bigint, last_at bigint,
  first_version text, last_version text, last_run text)}
WHERE true
ON CONFLICT (fingerprint) DO UPDATE SET
  runs = {s}error_group.runs + excluded.runs,
  message = CASE WHEN excluded.last_at >= {s}error_group.last_at THEN excluded.message ELSE {s}error_group.message END,
  last_version = CASE WHEN excluded.last_at >= {s}error_group.last_at THEN excluded.last_version ELSE {s}error_group.last_version END,
  last_run = CASE WHEN excluded.last_at >= {s}error_group.last_at THEN excluded.last_run ELSE {s}error_group.last_run END,
  last_at = CASE WHEN excluded.last_at >= {s}error_group.last_at THEN excluded.last_at ELSE {s}error_group.last_at END,
  first_version = CASE WHEN excluded.first_at < {s}error_group.first_at THEN excluded.first_version ELSE {s}error_group.first_version END,
  first_at = CASE WHEN excluded.first_at < {s}error_group.first_at THEN excluded.first_at ELSE {s}error_group.first_at END

-- name: prune_error_groups
DELETE FROM {s}error_group WHERE last_at < {now} - :older_ms

-- name: error_groups
-- The latest first.
SELECT fingerprint, task, type, message, place, runs, first_at, last_at, first_version, last_version, last_run
FROM {s}error_group WHERE last_at <= :at AND (last_at < :at OR fingerprint > :after) ORDER BY last_at DESC, fingerprint LIMIT :n

-- name: error_group
SELECT fingerprint, task, type, message, place, runs, first_at, last_at, first_version, last_version, last_run
FROM {s}error_group WHERE fingerprint = :fingerprint
