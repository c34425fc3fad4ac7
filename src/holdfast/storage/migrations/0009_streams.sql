-- compatible: 1
-- What runs say piece by piece while they work, for those who read along.

CREATE TABLE {s}chunk (
  run_id {text} NOT NULL,
  name {text} NOT NULL,
  claim INTEGER NOT NULL,
  seq INTEGER NOT NULL,                            -- rises within a claim and a name
  at BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  value TEXT NOT NULL,                             -- JSON text
  PRIMARY KEY (run_id, name, claim, seq)
){done_storage};
