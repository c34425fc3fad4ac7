-- compatible: 1
-- What the process of a worker uses, and those of its runs: JSON, as it was seen with the last beat.

ALTER TABLE {s}worker ADD COLUMN usage TEXT;
