-- compatible: 1
-- What is not final is in `run`, narrow and small; what is final is in `done`, insert-only. A run is in exactly one of them.
-- Times are milliseconds since the epoch, UTC.

-- Columns stand in the order in which rows are cheapest to read: numbers that are always there, texts that are, the rest.
CREATE TABLE {s}run (
  queue_id BIGINT NOT NULL,
  route_id BIGINT NOT NULL,                        -- what decides who may carry it out
  priority_ms BIGINT NOT NULL DEFAULT 0,
  sort_at BIGINT NOT NULL,                         -- place in line: when it became ready, minus priority
  lived_ms BIGINT NOT NULL DEFAULT 0,              -- how long it ran before the process that held it died
  created_at BIGINT NOT NULL,
  claim INTEGER NOT NULL DEFAULT 0,                -- (id, claim) is the fence
  attempt INTEGER NOT NULL DEFAULT 1,
  suspect INTEGER NOT NULL DEFAULT 0,              -- 1: the process that held it died
  crashes INTEGER NOT NULL DEFAULT 0,
  id {text} PRIMARY KEY,
  state TEXT NOT NULL,                             -- delayed held ready executing (waiting)
  task TEXT NOT NULL,
  payload TEXT,                                    -- JSON text; NULL: it is in blob
  worker_id {text},
  claimed_at BIGINT,
  started_at BIGINT,
  lane_id BIGINT,                                  -- only if its queue has a limit
  start_by BIGINT,                                 -- only under a rate limit: the grant to start is good until then
  concurrency_key TEXT,
  due_at BIGINT,
  expire_at BIGINT,
  cancel_at BIGINT,
  options TEXT,
  metadata TEXT,
  tags TEXT,
  version TEXT,
  idempotency_key TEXT,
  parent_id {text},
  root_id {text},
  batch_id {text},
  CHECK ((state = 'executing') = (worker_id IS NOT NULL))
){run_storage};
CREATE INDEX {p}run_ready ON {s}run (route_id, suspect, sort_at, id) WHERE state = 'ready';
CREATE INDEX {p}run_held ON {s}run (queue_id, lane_id, sort_at, id) WHERE state = 'held';
CREATE INDEX {p}run_slot ON {s}run (queue_id, lane_id) WHERE lane_id IS NOT NULL AND state IN ('ready', 'executing');
CREATE INDEX {p}run_due ON {s}run (due_at) WHERE due_at IS NOT NULL AND state IN ('delayed', 'waiting');
CREATE INDEX {p}run_mine ON {s}run (worker_id) WHERE worker_id IS NOT NULL;
CREATE INDEX {p}run_ttl ON {s}run (expire_at) WHERE expire_at IS NOT NULL;
CREATE INDEX {p}run_suspect ON {s}run (suspect, id) WHERE suspect = 1;
CREATE INDEX {p}run_grant ON {s}run (start_by) WHERE start_by IS NOT NULL AND state = 'ready';
CREATE INDEX {p}run_cancel ON {s}run (id) WHERE cancel_at IS NOT NULL;
CREATE INDEX {p}run_batch ON {s}run (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX {p}run_parent ON {s}run (parent_id, id) WHERE parent_id IS NOT NULL;

CREATE TABLE {s}done (
  queue_id BIGINT NOT NULL,
  priority_ms BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  claim INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  id {text} PRIMARY KEY,
  status TEXT NOT NULL,                            -- completed failed canceled expired timed_out crashed system_failure
  task TEXT NOT NULL,
  payload TEXT,
  output TEXT,                                     -- NULL with status completed: it is in blob
  worker_id {text},
  started_at BIGINT,
  concurrency_key TEXT,
  due_at BIGINT,
  expire_at BIGINT,
  cancel_at BIGINT,
  options TEXT,
  metadata TEXT,
  tags TEXT,
  version TEXT,
  idempotency_key TEXT,
  parent_id {text},
  root_id {text},
  batch_id {text},
  error TEXT
){done_storage};
CREATE INDEX {p}done_task ON {s}done (task, id);
CREATE INDEX {p}done_finished ON {s}done (finished_at);
CREATE INDEX {p}done_bad ON {s}done (id) WHERE status <> 'completed';
CREATE INDEX {p}done_batch ON {s}done (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX {p}done_parent ON {s}done (parent_id, id) WHERE parent_id IS NOT NULL;

CREATE TABLE {s}queue (
  id BIGINT PRIMARY KEY,                           -- a hash of the name: a trigger needs no look-up
  name TEXT NOT NULL UNIQUE,
  cap INTEGER,                                     -- declared in code
  cap_per_key INTEGER,
  cap_override INTEGER,                            -- set by an operator, and stronger
  cap_per_key_override INTEGER,
  rate INTEGER,                                    -- at most so many starts in any rate_ms
  rate_ms BIGINT,
  rate_per_key INTEGER,
  rate_per_key_ms BIGINT,
  paused_at BIGINT
);

CREATE TABLE {s}route (
  id BIGINT PRIMARY KEY,
  kind TEXT NOT NULL,
  queue_id BIGINT NOT NULL,
  task TEXT NOT NULL,
  version TEXT
);

CREATE TABLE {s}lane_due (                         -- notes: "a slot may be free here", left by whoever frees or fills a lane
  seq {serial} PRIMARY KEY,
  queue_id BIGINT NOT NULL,
  lane_id BIGINT NOT NULL,
  due_at BIGINT NOT NULL DEFAULT 0                 -- not before then: when a rate limit allows the next start
){churn_storage};
CREATE INDEX {p}lane_due_at ON {s}lane_due (due_at, seq);
CREATE INDEX {p}lane_due_lane ON {s}lane_due (lane_id, due_at);

CREATE TABLE {s}start (                            -- grants to start under a rate limit, for as long as they count
  lane_id BIGINT NOT NULL,
  at BIGINT NOT NULL,
  run_id {text} NOT NULL
){churn_storage};
CREATE INDEX {p}start_lane ON {s}start (lane_id, at);

CREATE TABLE {s}debounce (                         -- the run that the next trigger with this key pushes back
  task TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id {text} NOT NULL,
  limit_at BIGINT,
  PRIMARY KEY (task, key)
);

CREATE TABLE {s}worker (
  id {text} PRIMARY KEY,
  state TEXT NOT NULL,                             -- live draining stopped lost
  beat BIGINT NOT NULL DEFAULT 0,
  seen_at BIGINT NOT NULL,                         -- for people to read; who is dead is never decided by it
  lease_ms BIGINT NOT NULL,
  idle INTEGER NOT NULL DEFAULT 1,                 -- 1: sleeps, and wants to be notified
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  concurrency INTEGER NOT NULL,
  queues TEXT,                                     -- JSON list, or NULL for all
  version TEXT,
  started_at BIGINT NOT NULL
){churn_storage};

CREATE TABLE {s}worker_task (
  worker_id {text} NOT NULL,
  task TEXT NOT NULL,
  PRIMARY KEY (worker_id, task)
);

CREATE TABLE {s}task (                             -- the catalogue: what workers announced last
  id TEXT PRIMARY KEY,
  queue TEXT NOT NULL,
  options TEXT NOT NULL,
  schema TEXT,
  version TEXT,
  end_hooks INTEGER NOT NULL DEFAULT 0,            -- bits: its hooks want to be told of 1 a cancel, 2 any other bad end
  seen_at BIGINT NOT NULL
);

CREATE TABLE {s}aftermath (                        -- runs that ended without a worker, and whose hooks are to be called
  run_id {text} PRIMARY KEY,
  task TEXT NOT NULL,
  worker_id {text},                                -- who calls them; NULL: nobody yet
  claim INTEGER NOT NULL DEFAULT 0                 -- (run_id, claim, worker_id) is the fence
){churn_storage};

CREATE TABLE {s}attempt (                          -- attempts that did not end their run; the last one is in `done`
  run_id {text} NOT NULL,
  claim INTEGER NOT NULL,
  number INTEGER NOT NULL,
  worker_id {text},
  started_at BIGINT,
  finished_at BIGINT NOT NULL,
  outcome TEXT NOT NULL,                           -- failed returned crashed
  error TEXT,
  PRIMARY KEY (run_id, claim)
);

CREATE TABLE {s}idempotency (
  task TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id {text} NOT NULL,
  expires_at BIGINT,
  PRIMARY KEY (task, key)
);
CREATE INDEX {p}idempotency_expires ON {s}idempotency (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE {s}tag (
  tag TEXT NOT NULL,
  run_id {text} NOT NULL,
  PRIMARY KEY (tag, run_id)
);
CREATE INDEX {p}tag_run ON {s}tag (run_id);

CREATE TABLE {s}log (
  run_id {text} NOT NULL,
  claim INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at BIGINT NOT NULL,
  level TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  logger TEXT NOT NULL,
  message TEXT NOT NULL,                           -- JSON text of a string: NUL and lone surrogates survive
  PRIMARY KEY (run_id, claim, seq)
);

CREATE TABLE {s}blob (                             -- payloads and outputs that would make hot rows wide
  run_id {text} NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (run_id, name)
);
