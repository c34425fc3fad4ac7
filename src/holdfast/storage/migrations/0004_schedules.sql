-- compatible: 1
-- Schedules: what recurs, what is made for each of its slots, and what became of the slots it has had.

CREATE TABLE {s}schedule (
  id {text} PRIMARY KEY,
  task TEXT NOT NULL,
  rule TEXT NOT NULL,                              -- JSON: kind, text, timezone, start
  make TEXT NOT NULL,                              -- JSON: the fields of the run that is made for each slot
  catch_up INTEGER NOT NULL,                       -- how many slots are made up for that were missed
  overlap TEXT NOT NULL,                           -- allow skip queue cancel
  jitter_ms BIGINT NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '',                  -- the app whose code declares it; empty: made at run time
  key TEXT,                                        -- its place in that code, or its deduplication key
  external_id TEXT,
  generation INTEGER NOT NULL DEFAULT 0,           -- how often it was changed
  slot_at BIGINT,                                  -- the next slot; NULL: it never fires again
  next_at BIGINT,                                  -- when that is dealt with; NULL: paused, or never
  last_at BIGINT,                                  -- the last slot that was dealt with: none is taken up before it
  made_at BIGINT,                                  -- the last slot that a run was made for, and that run
  last_run_id {text},
  waiting_at BIGINT,                               -- a slot that waits for that run to end
  paused_at BIGINT,
  problem TEXT,                                    -- why its rule cannot be expanded any more
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE INDEX {p}schedule_next ON {s}schedule (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX {p}schedule_waiting ON {s}schedule (waiting_at) WHERE waiting_at IS NOT NULL;
CREATE UNIQUE INDEX {p}schedule_key ON {s}schedule (owner, key) WHERE key IS NOT NULL;
CREATE INDEX {p}schedule_task ON {s}schedule (task, id);
CREATE INDEX {p}schedule_external ON {s}schedule (external_id, id) WHERE external_id IS NOT NULL;

CREATE TABLE {s}slot (                             -- each slot once, however many schedulers there are
  schedule_id {text} NOT NULL,
  at BIGINT NOT NULL,
  outcome TEXT NOT NULL,                           -- made skipped waiting
  run_id {text},
  dealt_at BIGINT NOT NULL,
  PRIMARY KEY (schedule_id, at)
);
CREATE INDEX {p}slot_dealt ON {s}slot (dealt_at);

CREATE TABLE {s}declaration (                      -- what the code of each app has declared; the highest seq is in force
  app TEXT NOT NULL,
  digest TEXT NOT NULL,
  seq BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (app, digest)
);

ALTER TABLE {s}worker ADD COLUMN app TEXT;         -- what this worker's code declares
ALTER TABLE {s}worker ADD COLUMN declares TEXT;
