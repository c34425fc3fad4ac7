-- Payloads that are brought before their triggers.

-- name: put_packet
INSERT INTO {s}packet (id, kind, body, created_at) VALUES (:id, :kind, :body, {now})
ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, body = excluded.body

-- name: packet
SELECT kind, body FROM {s}packet WHERE id = :id

-- name: forget_packets
DELETE FROM {s}packet WHERE id {any} SELECT id FROM {s}packet WHERE created_at < {now} - :older_ms ORDER BY created_at LIMIT :n {end}
RETURNING id
