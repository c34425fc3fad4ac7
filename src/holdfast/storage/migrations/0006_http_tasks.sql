-- compatible: 1
-- HTTP tasks: what a task is, every request with its response, and what pushers know of the hosts they send to.

ALTER TABLE {s}task ADD COLUMN kind TEXT NOT NULL DEFAULT 'code';     -- code http: who carries its runs out

ALTER TABLE {s}idempotency ADD COLUMN until_end INTEGER NOT NULL DEFAULT 0;  -- 1: free once its run has ended

CREATE TABLE {s}invocation (                       -- a request that was sent, and what came of it
  run_id {text} NOT NULL,
  claim INTEGER NOT NULL,
  number INTEGER NOT NULL,                         -- of the attempt
  at BIGINT NOT NULL,
  status INTEGER,                                  -- NULL: there was no answer
  total_us BIGINT NOT NULL,
  record TEXT NOT NULL,                            -- JSON: the request and the answer, what is secret in them masked
  PRIMARY KEY (run_id, claim)
);

CREATE TABLE {s}circuit (                          -- hosts that are down, as a pusher found them
  host {text} PRIMARY KEY,
  failures INTEGER NOT NULL,                       -- in a row
  reason TEXT NOT NULL,
  since_at BIGINT NOT NULL,
  until_at BIGINT NOT NULL,                        -- one request is tried then
  worker_id {text} NOT NULL
);

CREATE TABLE {s}signing (                          -- the secrets that requests are signed with, the newest first
  secret TEXT PRIMARY KEY,
  made_at BIGINT NOT NULL,
  ends_at BIGINT                                   -- NULL: until there is another one
);

CREATE INDEX {p}run_http ON {s}run (id) WHERE task = 'http';
