-- Keys of the HTTP API, what public tokens are signed with, and the audit log.

-- name: insert_key
INSERT INTO {s}api_key (id, name, hash, ending, scopes, created_at, expires_at)
VALUES (:id, :name, :hash, :ending, :scopes, {now}, {now} + CAST(:lasting_ms AS BIGINT))
RETURNING id, name, ending, scopes, created_at, expires_at, revoked_at, used_at, {now}

-- name: api_keys
SELECT id, name, ending, scopes, created_at, expires_at, revoked_at, used_at, {now} FROM {s}api_key ORDER BY id

-- name: keys_in_force
SELECT id, name, hash, scopes, used_at, expires_at - {now} FROM {s}api_key
WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > {now})

-- name: any_key
-- One that has expired counts: that it is over must not open the doors.
SELECT 1 FROM {s}api_key WHERE revoked_at IS NULL LIMIT 1

-- name: revoke_key
UPDATE {s}api_key SET revoked_at = {now} WHERE id = :id AND revoked_at IS NULL RETURNING id

-- name: key_used
UPDATE {s}api_key SET used_at = {now} WHERE id = :id

-- name: issuer
SELECT secret FROM {s}issuer WHERE number = 1

-- name: insert_issuer
-- The first one is made by whoever comes first.
INSERT INTO {s}issuer (number, secret) VALUES (1, :secret) ON CONFLICT (number) DO NOTHING

-- name: spend
INSERT INTO {s}spent (hash, call, expires_at) VALUES (:hash, :call, {now} + :lasting_ms)
ON CONFLICT (hash) DO NOTHING RETURNING hash

-- name: spent_by
SELECT call FROM {s}spent WHERE hash = :hash

-- name: forget_spent
DELETE FROM {s}spent WHERE expires_at < {now}

-- name: insert_audit
INSERT INTO {s}audit (id, at, actor, key_id, verb, subject, origin)
VALUES (:id, {now}, :actor, :key_id, :verb, :subject, :origin)

-- name: audit
SELECT id, at, actor, key_id, verb, subject, origin FROM {s}audit WHERE id < :before ORDER BY id DESC LIMIT :n

-- name: forget_audit
DELETE FROM {s}audit WHERE id {any} SELECT id FROM {s}audit WHERE at < {now} - :older_ms ORDER BY at LIMIT :n {end} RETURNING id
