-- compatible: 1
-- Webhook tasks: where requests come in that become runs, and those that were refused.

ALTER TABLE {s}task ADD COLUMN webhook TEXT;       -- the path
ALTER TABLE {s}task ADD COLUMN verified_by TEXT;   -- whose signature they have, for people to read
CREATE INDEX {p}task_webhook ON {s}task (webhook) WHERE webhook IS NOT NULL;

CREATE TABLE {s}rejected (                         -- requests that were refused, for a while
  id {text} PRIMARY KEY,
  at BIGINT NOT NULL,
  path TEXT NOT NULL,
  reason TEXT NOT NULL,
  source TEXT NOT NULL,                            -- the address it came from
  headers TEXT NOT NULL,                           -- JSON: what looks like a credential is stars
  body TEXT NOT NULL,                              -- the beginning of it
  size BIGINT NOT NULL
);
CREATE INDEX {p}rejected_at ON {s}rejected (at);
