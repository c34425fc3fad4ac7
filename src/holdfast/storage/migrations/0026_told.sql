-- compatible: 1
-- What the code of a run had told when the run last gave up its slot, which a replay does not tell again.

ALTER TABLE {s}run ADD COLUMN told BIGINT;  -- the claim, times 2^32, plus the last settled entry that the code knew; NULL: it never did
