-- compatible: 1
-- What a run has done so far, written once and never run again: its steps, waits and children. A run that waits is in `run`
-- with the state `waiting`; an entry of its journal that is open says for what, and its `due_at` until when.

ALTER TABLE {s}run ADD COLUMN parent_key TEXT;                    -- the parent's entry that waits for it
ALTER TABLE {s}run ADD COLUMN depth INTEGER NOT NULL DEFAULT 0;   -- how many parents it has above it
ALTER TABLE {s}run ADD COLUMN news INTEGER NOT NULL DEFAULT 0;    -- 1: something it waits for has settled since its claim
ALTER TABLE {s}run ADD COLUMN unwind INTEGER NOT NULL DEFAULT 0;  -- 1: canceled while it waited, and resumed to be told so
ALTER TABLE {s}run ADD COLUMN keeper {text};                      -- the worker that has it in memory, and goes first …
ALTER TABLE {s}run ADD COLUMN keep_until BIGINT;                  -- … until then
CREATE INDEX {p}run_news ON {s}run (worker_id) WHERE news = 1 AND worker_id IS NOT NULL;

CREATE TABLE {s}journal (
  run_id {text} NOT NULL,
  key TEXT NOT NULL,                               -- its branch, its name, and how often the branch has used the name
  seq INTEGER NOT NULL,                            -- the order in which the run asked for its entries
  branch TEXT NOT NULL,
  kind TEXT NOT NULL,                              -- step sleep trigger batch child children token wait value
  name TEXT NOT NULL,
  digest TEXT,                                     -- of the arguments
  state TEXT NOT NULL,                             -- open done failed; expired: its time was over; again: a step is to be tried again
  settled INTEGER,                                 -- the order in which entries were settled
  target TEXT,                                     -- the run or token that is waited for
  remaining INTEGER NOT NULL DEFAULT 0,            -- children that have not ended
  due_at BIGINT,
  tries INTEGER NOT NULL DEFAULT 0,
  result TEXT,
  error TEXT,
  claim INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  started_at BIGINT NOT NULL,
  done_at BIGINT,
  PRIMARY KEY (run_id, key)
);
CREATE INDEX {p}journal_settled ON {s}journal (run_id, settled);
CREATE INDEX {p}journal_target ON {s}journal (target) WHERE target IS NOT NULL AND state = 'open';

CREATE TABLE {s}waiter (                           -- who waits for a run that is not a child: an earlier one that had the key
  target {text} NOT NULL,
  run_id {text} NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (target, run_id, key)
);

CREATE TABLE {s}token (
  id {text} PRIMARY KEY,
  state TEXT NOT NULL,                             -- open completed
  run_id {text},                                   -- the run that made it
  schema TEXT,
  tags TEXT,
  idempotency_key TEXT UNIQUE,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  completed_at BIGINT,
  result TEXT
);
CREATE INDEX {p}token_run ON {s}token (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX {p}token_created ON {s}token (created_at);
