-- compatible: 1
-- Streams are written from outside of their runs, too.

ALTER TABLE {s}chunk ADD COLUMN writer TEXT;         -- who has added it from outside, and sends again what was not heard
