-- What running attempts tell: operations on metadata, and pieces of streams.

-- name: lock_told
-- Those who tell, and those whose metadata they change: lock, then look. In this order, whoever comes.
SELECT id, claim, state, metadata, noted FROM {s}run WHERE id {in:ids} ORDER BY id {for_update}

-- name: lock_told_done
-- … and those of them that have ended.
SELECT id, metadata FROM {s}done WHERE id {in:ids} ORDER BY id {for_update}

-- name: set_told
-- The rows are locked.
UPDATE {s}run SET metadata = x.metadata, noted = x.noted, changes = COALESCE({s}run.changes, 0) + 1
FROM {rows(id text, metadata text, noted bigint)} WHERE {by {s}run.id} {s}run.id = x.id

-- name: set_told_done
UPDATE {s}done SET metadata = x.metadata FROM {rows(id text, metadata text)} WHERE {by {s}done.id} {s}done.id = x.id
