-- compatible: 1
-- What a run writes while it is replayed from its journal, it has written before: such lines are marked, and hidden.

ALTER TABLE {s}log ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0;
