-- How many runs have ended, when and how, summed up.

-- name: stat_until
SELECT at, {now} FROM {s}stat_until WHERE id = 1 {for_update}

-- name: begin_stats
INSERT INTO {s}stat_until (id, at) VALUES (1, {now} - :ago_ms) ON CONFLICT (id) DO NOTHING

-- name: move_stats
UPDATE {s}stat_until SET at = :at WHERE id = 1

-- name: some_ends
-- Where to stop, if there are many.
SELECT finished_at FROM {s}done WHERE finished_at > :since AND finished_at <= :until ORDER BY finished_at LIMIT 1 OFFSET :n

-- name: sum_up
INSERT INTO {s}stat (minute, task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h)
SELECT x.minute, x.task, x.status, count(*), sum(x.ran), sum(x.waited),
  sum(CASE WHEN x.ran <= 100 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 1000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 10000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 60000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 600000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 3600000 THEN 1 ELSE 0 END)
FROM (SELECT d.finished_at / 60000 AS minute, d.task, d.status, CASE WHEN d.started_at IS NULL THEN 0 ELSE d.finished_at - d.started_at END AS ran,
  CASE WHEN d.started_at IS NULL THEN 0 WHEN d.due_at > d.created_at AND d.due_at <= d.started_at THEN d.started_at - d.due_at ELSE d.started_at - d.created_at END AS waited
  FROM {s}done d WHERE d.finished_at > :since AND d.finished_at <= :until) x
WHERE true GROUP BY 1, x.task, x.status
ON CONFLICT (minute, task, status) DO UPDATE SET n = {s}stat.n + excluded.n, ran_ms = {s}stat.ran_ms + excluded.ran_ms, waited_ms = {s}stat.waited_ms + excluded.waited_ms, le_100ms = {s}stat.le_100ms + excluded.le_100ms, le_1s = {s}stat.le_1s + excluded.le_1s, le_10s = {s}stat.le_10s + excluded.le_10s, le_1m = {s}stat.le_1m + excluded.le_1m, le_10m = {s}stat.le_10m + excluded.le_10m, le_1h = {s}stat.le_1h + excluded.le_1h

-- name: sum_up_together
-- All tasks together are the task without a name: a chart of them would add up thousands of rows for each minute.
INSERT INTO {s}stat (minute, task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h)
SELECT x.minute, '', x.status, count(*), sum(x.ran), sum(x.waited),
  sum(CASE WHEN x.ran <= 100 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 1000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 10000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 60000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 600000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 3600000 THEN 1 ELSE 0 END)
FROM (SELECT d.finished_at / 60000 AS minute, d.task, d.status, CASE WHEN d.started_at IS NULL THEN 0 ELSE d.finished_at - d.started_at END AS ran,
  CASE WHEN d.started_at IS NULL THEN 0 WHEN d.due_at > d.created_at AND d.due_at <= d.started_at THEN d.started_at - d.due_at ELSE d.started_at - d.created_at END AS waited
  FROM {s}done d WHERE d.finished_at > :since AND d.finished_at <= :until) x
WHERE true GROUP BY 1, x.status
ON CONFLICT (minute, task, status) DO UPDATE SET n = {s}stat.n + excluded.n, ran_ms = {s}stat.ran_ms + excluded.ran_ms, waited_ms = {s}stat.waited_ms + excluded.waited_ms, le_100ms = {s}stat.le_100ms + excluded.le_100ms, le_1s = {s}stat.le_1s + excluded.le_1s, le_10s = {s}stat.le_10s + excluded.le_10s, le_1m = {s}stat.le_1m + excluded.le_1m, le_10m = {s}stat.le_10m + excluded.le_10m, le_1h = {s}stat.le_1h + excluded.le_1h

-- name: sum_up_all
INSERT INTO {s}stat (minute, task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h)
SELECT 0, x.task, x.status, count(*), sum(x.ran), sum(x.waited),
  sum(CASE WHEN x.ran <= 100 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 1000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 10000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 60000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 600000 THEN 1 ELSE 0 END), sum(CASE WHEN x.ran <= 3600000 THEN 1 ELSE 0 END)
FROM (SELECT d.finished_at / 60000 AS minute, d.task, d.status, CASE WHEN d.started_at IS NULL THEN 0 ELSE d.finished_at - d.started_at END AS ran,
  CASE WHEN d.started_at IS NULL THEN 0 WHEN d.due_at > d.created_at AND d.due_at <= d.started_at THEN d.started_at - d.due_at ELSE d.started_at - d.created_at END AS waited
  FROM {s}done d WHERE d.finished_at > :since AND d.finished_at <= :until) x
WHERE true GROUP BY 1, x.task, x.status
ON CONFLICT (minute, task, status) DO UPDATE SET n = {s}stat.n + excluded.n, ran_ms = {s}stat.ran_ms + excluded.ran_ms, waited_ms = {s}stat.waited_ms + excluded.waited_ms, le_100ms = {s}stat.le_100ms + excluded.le_100ms, le_1s = {s}stat.le_1s + excluded.le_1s, le_10s = {s}stat.le_10s + excluded.le_10s, le_1m = {s}stat.le_1m + excluded.le_1m, le_10m = {s}stat.le_10m + excluded.le_10m, le_1h = {s}stat.le_1h + excluded.le_1h

-- name: oldest_stat
SELECT min(minute) FROM {s}stat WHERE minute > 0 AND minute < :before AND minute <> minute / 60 * 60

-- name: fold_stats
-- The minutes of an hour become one.
INSERT INTO {s}stat (minute, task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h)
SELECT CAST(:hour AS BIGINT), task, status, sum(n), sum(ran_ms), sum(waited_ms), sum(le_100ms), sum(le_1s), sum(le_10s), sum(le_1m), sum(le_10m), sum(le_1h)
FROM {s}stat WHERE minute > :hour AND minute < :hour + 60 GROUP BY task, status
ON CONFLICT (minute, task, status) DO UPDATE SET n = {s}stat.n + excluded.n, ran_ms = {s}stat.ran_ms + excluded.ran_ms, waited_ms = {s}stat.waited_ms + excluded.waited_ms, le_100ms = {s}stat.le_100ms + excluded.le_100ms, le_1s = {s}stat.le_1s + excluded.le_1s, le_10s = {s}stat.le_10s + excluded.le_10s, le_1m = {s}stat.le_1m + excluded.le_1m, le_10m = {s}stat.le_10m + excluded.le_10m, le_1h = {s}stat.le_1h + excluded.le_1h

-- name: drop_folded
DELETE FROM {s}stat WHERE minute > :hour AND minute < :hour + 60

-- name: prune_stats
DELETE FROM {s}stat WHERE minute > 0 AND minute < :before

-- name: stats
SELECT minute * 60000 / :step_ms * :step_ms AS at, CAST(NULL AS TEXT) AS task, status, CAST(sum(n) AS BIGINT), CAST(sum(ran_ms) AS BIGINT), CAST(sum(waited_ms) AS BIGINT) FROM {s}stat
WHERE task = '' AND minute >= :since AND minute <= :until AND minute > 0 GROUP BY 1, status ORDER BY 1, status

-- name: stats_by_task
SELECT minute * 60000 / :step_ms * :step_ms AS at, task, status, CAST(sum(n) AS BIGINT), CAST(sum(ran_ms) AS BIGINT), CAST(sum(waited_ms) AS BIGINT) FROM {s}stat
WHERE task <> '' AND minute >= :since AND minute <= :until AND minute > 0 GROUP BY 1, task, status ORDER BY 1, task, status

-- name: stats_of_task
SELECT minute * 60000 / :step_ms * :step_ms AS at, task, status, CAST(sum(n) AS BIGINT), CAST(sum(ran_ms) AS BIGINT), CAST(sum(waited_ms) AS BIGINT) FROM {s}stat
WHERE task = :task AND minute >= :since AND minute <= :until AND minute > 0 GROUP BY 1, task, status ORDER BY 1, status

-- name: totals
SELECT task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h FROM {s}stat WHERE minute = 0 ORDER BY task, status
