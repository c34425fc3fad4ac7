-- compatible: 1
-- What a worker has for runs with machines. NULL: it takes them whatever they ask for.

ALTER TABLE {s}worker ADD COLUMN cpu_millis BIGINT;    -- thousandths of a vCPU
ALTER TABLE {s}worker ADD COLUMN memory_bytes BIGINT;
ALTER TABLE {s}worker ADD COLUMN machines TEXT;        -- JSON list of those it takes, or NULL for all that fit

-- end
