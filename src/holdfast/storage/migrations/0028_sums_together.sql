-- compatible: 1
-- The sums of all tasks together, for each minute, as those of a task without a name.

INSERT INTO {s}stat (minute, task, status, n, ran_ms, waited_ms, le_100ms, le_1s, le_10s, le_1m, le_10m, le_1h)
SELECT minute, '', status, sum(n), sum(ran_ms), sum(waited_ms), sum(le_100ms), sum(le_1s), sum(le_10s), sum(le_1m), sum(le_10m), sum(le_1h)
FROM {s}stat WHERE minute > 0 GROUP BY minute, status;
