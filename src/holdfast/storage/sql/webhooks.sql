-- Webhook tasks: what paths there are, and the requests that were refused.

-- name: webhooks
SELECT id, webhook, verified_by, seen_at FROM {s}task WHERE webhook IS NOT NULL ORDER BY webhook, id

-- name: webhook
SELECT id FROM {s}task WHERE webhook = :path

-- name: insert_rejected
INSERT INTO {s}rejected (id, at, path, reason, source, headers, body, size)
SELECT x.id, {now}, x.path, x.reason, x.source, x.headers, x.body, x.size
FROM {rows(id text, path text, reason text, source text, headers text, body text, size bigint)} WHERE true ON CONFLICT (id) DO NOTHING

-- name: trim_rejected
-- Whoever sends rubbish fills no disk.
DELETE FROM {s}rejected WHERE id <= (SELECT id FROM {s}rejected ORDER BY id DESC LIMIT 1 OFFSET :kept)

-- name: prune_rejected
DELETE FROM {s}rejected WHERE at < {now} - :older_ms

-- name: rejected
SELECT id, at, path, reason, source, headers, body, size FROM {s}rejected
WHERE id < :before AND (CAST(:path AS TEXT) IS NULL OR path = CAST(:path AS TEXT)) ORDER BY id DESC LIMIT :n

-- name: rejected_one
SELECT id, at, path, reason, source, headers, body, size FROM {s}rejected WHERE id = :id
