-- compatible: 1
-- Alerts: what the code of each app declares, and how each of them stands.

CREATE TABLE {s}alert (
  app TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,                              -- JSON: conditions, channels, gather_ms, every_ms
  state TEXT NOT NULL,                             -- JSON: what holds, and what has been told
  next_at BIGINT NOT NULL,                         -- when it is looked at
  PRIMARY KEY (app, name)
);
CREATE INDEX {p}alert_next ON {s}alert (next_at);

CREATE INDEX {p}done_failed ON {s}done (finished_at) WHERE status <> 'completed' AND status <> 'canceled';
