-- compatible: 1
-- Changes of many runs that are not finished are looked for every few seconds.

CREATE INDEX {p}bulk_open ON {s}bulk (id) WHERE state = 'pending';
