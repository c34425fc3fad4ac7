-- What is followed over HTTP: which runs belong to it, and what streams a run has.

-- name: members_tagged
-- The newest runs with each of these tags. On SQLite this runs once for each of them, so that LIMIT is for each.
SELECT x.place, t.run_id FROM {rows(place int, name text, floor text)} JOIN {s}tag t ON t.tag = x.name AND t.run_id >= x.floor
ORDER BY t.run_id DESC LIMIT 1000

-- name: members_tagged (postgres)
-- All of them are one statement here.
SELECT x.place, m.run_id FROM {rows(place int, name text, floor text)} CROSS JOIN LATERAL (
  SELECT t.run_id FROM {s}tag t WHERE t.tag = x.name AND t.run_id >= x.floor ORDER BY t.run_id DESC LIMIT 1000) m

-- name: members_of_batch
-- The newest runs of each of these batches.
SELECT x.place, m.id FROM {rows(place int, name text, floor text)} JOIN (
  SELECT id, batch_id FROM {s}run WHERE batch_id IS NOT NULL UNION ALL SELECT id, batch_id FROM {s}done WHERE batch_id IS NOT NULL) m
  ON m.batch_id = x.name AND m.id >= x.floor
ORDER BY m.id DESC LIMIT 1000

-- name: members_of_batch (postgres)
-- All of them are one statement here.
SELECT x.place, m.id FROM {rows(place int, name text, floor text)} CROSS JOIN LATERAL (
  SELECT id FROM (SELECT id FROM {s}run WHERE batch_id = x.name AND id >= x.floor
    UNION ALL SELECT id FROM {s}done WHERE batch_id = x.name AND id >= x.floor) b ORDER BY id DESC LIMIT 1000) m

-- name: stream_names
-- Each name is looked up in the index, and the pieces between are not read.
WITH RECURSIVE names(name) AS (
  SELECT min(name) FROM {s}chunk WHERE run_id = :run_id
  UNION ALL SELECT (SELECT min(c.name) FROM {s}chunk c WHERE c.run_id = :run_id AND c.name > names.name) FROM names WHERE names.name IS NOT NULL
) SELECT name FROM names WHERE name IS NOT NULL LIMIT 100
