-- compatible: 1
-- Payloads that clients bring before the triggers that they are for, since they are large.

CREATE TABLE {s}packet (
  id {text} PRIMARY KEY,
  kind TEXT NOT NULL,                              -- its content type
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE INDEX {p}packet_created ON {s}packet (created_at);

-- Changes of many runs that somebody has asked for and does not wait for.
CREATE TABLE {s}bulk (
  id {text} PRIMARY KEY,
  kind TEXT NOT NULL,                              -- cancel replay
  state TEXT NOT NULL,                             -- pending completed aborted
  name TEXT,
  run_ids TEXT NOT NULL,                           -- JSON: which runs, the oldest first
  total INTEGER NOT NULL,
  done_count INTEGER NOT NULL DEFAULT 0,           -- how many of them have been dealt with, and how that went
  success_count INTEGER NOT NULL DEFAULT 0,
  failure_count INTEGER NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  ended_at BIGINT
);
