-- compatible: 1
-- Errors: the runs that ended badly, told apart by what went wrong.

ALTER TABLE {s}done ADD COLUMN fingerprint TEXT;   -- of what went wrong; NULL until upkeep has looked
CREATE INDEX {p}done_ungrouped ON {s}done (id) WHERE status NOT IN ('completed', 'canceled') AND fingerprint IS NULL;
CREATE INDEX {p}done_fingerprint ON {s}done (fingerprint, id) WHERE fingerprint IS NOT NULL;

CREATE TABLE {s}error_group (
  fingerprint {text} PRIMARY KEY,
  task TEXT NOT NULL,
  type TEXT NOT NULL,                              -- of the exception, or the status of a run that has none
  message TEXT NOT NULL,                           -- the latest
  place TEXT NOT NULL,                             -- where in the app's own code; empty if it is not known
  runs BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  first_version TEXT,
  last_version TEXT,
  last_run {text} NOT NULL
);
CREATE INDEX {p}error_group_last ON {s}error_group (last_at);
