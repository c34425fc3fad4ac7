-- compatible: 1
-- Environment variables that operators keep for all workers.

CREATE TABLE {s}variable (
  name {text} PRIMARY KEY,
  value TEXT NOT NULL,
  secret INTEGER NOT NULL,                         -- 1: nobody is shown it
  updated_at BIGINT NOT NULL
);
