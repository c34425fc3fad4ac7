-- Environment variables that are kept for all workers.

-- name: variables
SELECT name, value, secret FROM {s}variable ORDER BY name

-- name: put_variables
INSERT INTO {s}variable (name, value, secret, updated_at)
SELECT x.name, x.value, x.secret, {now} FROM {rows(name text, value text, secret int)} WHERE true
ON CONFLICT (name) DO UPDATE SET value = excluded.value, secret = excluded.secret, updated_at = excluded.updated_at

-- name: remove_variable
DELETE FROM {s}variable WHERE name = :name RETURNING name
