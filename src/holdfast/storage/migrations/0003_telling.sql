-- compatible: 1
-- What running attempts tell of themselves.

ALTER TABLE {s}run ADD COLUMN noted BIGINT;        -- the last operation on metadata that was applied: claim << 32, and its number
ALTER TABLE {s}run ADD COLUMN changes BIGINT;      -- how often its metadata was changed: whoever follows it compares
