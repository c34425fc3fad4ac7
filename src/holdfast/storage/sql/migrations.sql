-- How far the database is.

-- name: our_tables
SELECT substr(name, 10) FROM sqlite_schema WHERE type = 'table' AND name GLOB 'holdfast_*'

-- name: our_tables (postgres)
-- Each database has its own catalogue.
SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = 'holdfast'

-- name: migration_state
SELECT COALESCE(max(version), 0), COALESCE(max(compatible), 0) FROM {s}migration

-- name: applied_migrations
SELECT version, name, checksum FROM {s}migration ORDER BY version

-- name: record_migration
INSERT INTO {s}migration (version, name, checksum, compatible, applied_at) VALUES (:version, :name, :checksum, :compatible, {now})

-- name: be_patient
SELECT 1

-- name: be_patient (postgres)
-- Whoever migrates may take long, and the others wait for it.
SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '600000', true)

-- name: be_quick_with_locks
SELECT 1

-- name: be_quick_with_locks (postgres)
-- A change of a table that waits for a lock holds up everybody else who wants the table.
SELECT set_config('lock_timeout', '2000', true)

-- name: home
-- A file needs no name for itself: what is lent of it is known.
SELECT 'here'

-- name: home (postgres)
-- Two connections are to the same database if this is the same.
SELECT holdfast.home()

-- name: lock_migrations
SELECT 1

-- name: lock_migrations (postgres)
-- One process migrates, the others wait and then find nothing to do.
SELECT pg_advisory_xact_lock(5221417034311)
