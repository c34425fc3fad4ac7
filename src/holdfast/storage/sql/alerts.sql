-- Alerts: what is declared, and the facts that they are about.

-- name: put_alerts
INSERT INTO {s}alert (app, name, body, state, next_at)
SELECT x.app, x.name, x.body, '{}', {now} FROM {rows(app text, name text, body text)} WHERE true
ON CONFLICT (app, name) DO UPDATE SET body = excluded.body

-- name: alert_names
SELECT name FROM {s}alert WHERE app = :app

-- name: drop_alert
DELETE FROM {s}alert WHERE app = :app AND name = :name

-- name: alerts
SELECT app, name, body, state FROM {s}alert ORDER BY app, name

-- name: due_alerts
-- Whoever comes first looks at them; another host leaves them alone meanwhile.
SELECT app, name, body, state FROM {s}alert WHERE next_at <= {now} ORDER BY next_at {skip_locked}

-- name: set_alerts
UPDATE {s}alert SET state = x.state, next_at = x.next_at FROM {rows(app text, name text, state text, next_at bigint)}
WHERE {s}alert.app = x.app AND {s}alert.name = x.name

-- name: failures
SELECT d.task, d.status, count(*), min(d.id) FROM {s}done d
WHERE d.finished_at > :since AND d.finished_at <= :until AND d.status <> 'completed' AND d.status <> 'canceled' GROUP BY d.task, d.status

-- name: errors_of
SELECT id, task, status, error FROM {s}done WHERE id {in:ids}

-- name: late_schedules
-- Those that should have been dealt with, and were not.
SELECT id, task, next_at FROM {s}schedule WHERE next_at < {now} - :late_ms ORDER BY next_at LIMIT :n

-- name: missed_slots
-- Schedules whose last slot was passed over, and not since another run of them had not ended.
SELECT s.id, s.task, s.last_at FROM {s}schedule s WHERE s.next_at IS NOT NULL AND s.last_at > COALESCE(s.made_at, 0)
  AND NOT EXISTS (SELECT 1 FROM {s}slot l WHERE l.schedule_id = s.id AND l.at = s.last_at) ORDER BY s.last_at LIMIT :n
