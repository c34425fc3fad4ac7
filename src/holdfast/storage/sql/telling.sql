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

-- name: metadata
SELECT metadata FROM {s}run WHERE id = :run_id

-- name: insert_chunks
-- A piece is kept only if its attempt holds the run: lock, and the lock tells.
WITH x AS MATERIALIZED (SELECT * FROM {rows(run_id text, name text, claim int, seq int, at bigint, attempt int, value text)}),
held AS MATERIALIZED (SELECT id, claim FROM {s}run WHERE id = ANY (ARRAY(SELECT DISTINCT run_id FROM x)) AND state = 'executing' FOR SHARE)
INSERT INTO {s}chunk (run_id, name, claim, seq, at, attempt, value)
SELECT x.run_id, x.name, x.claim, x.seq, x.at, x.attempt, x.value FROM x JOIN held h ON h.id = x.run_id AND h.claim = x.claim
ON CONFLICT (run_id, name, claim, seq) DO NOTHING

-- name: insert_chunks (sqlite)
-- There is one writer: looking is locking.
INSERT INTO {s}chunk (run_id, name, claim, seq, at, attempt, value)
SELECT x.run_id, x.name, x.claim, x.seq, x.at, x.attempt, x.value
FROM {rows(run_id text, name text, claim int, seq int, at bigint, attempt int, value text)}
JOIN {s}run r ON r.id = x.run_id AND r.claim = x.claim AND r.state = 'executing'
WHERE true ON CONFLICT (run_id, name, claim, seq) DO NOTHING

-- name: add_chunks
-- Pieces from outside of the run, which is locked.
INSERT INTO {s}chunk (run_id, name, claim, seq, at, attempt, value, writer)
SELECT x.run_id, x.name, 0, x.seq, {now}, 0, x.value, x.writer
FROM {rows(run_id text, name text, seq int, writer text, value text)} WHERE true

-- name: outside_chunks
-- How far a stream is that is written from outside, and how much of that this writer has written.
SELECT COALESCE(max(seq), 0), COALESCE(sum(CASE WHEN length(value) > :least THEN length(value) ELSE :least END), 0),
  COALESCE(sum(CASE WHEN writer = :writer THEN 1 ELSE 0 END), 0)
FROM {s}chunk WHERE run_id = :run_id AND name = :name AND claim = 0

-- name: chunks
-- What comes after a place in a stream; whoever has no place yet, but an offset, steps over so many.
SELECT run_id, name, claim, seq, at, attempt, value FROM {s}chunk
WHERE run_id = :run_id AND name = :name AND (claim, seq) > (:claim, :seq)
ORDER BY claim, seq LIMIT :n OFFSET :skip

-- name: last_chunks
-- The end of a stream, the last piece first.
SELECT run_id, name, claim, seq, at, attempt, value FROM {s}chunk
WHERE run_id = :run_id AND name = :name ORDER BY claim DESC, seq DESC LIMIT :n

-- name: prune_chunks
DELETE FROM {s}chunk WHERE run_id {in:ids}
