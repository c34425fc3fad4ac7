-- compatible: 1
-- How many runs of each task have ended in each minute, how, and how long they took; summed up from history as it grows,
-- so that nobody who wants to know need count runs. The minute 0 has the sums of all time.

CREATE TABLE {s}stat (
  minute BIGINT NOT NULL,                          -- since the epoch; after two days only full hours are left
  task TEXT NOT NULL,
  status TEXT NOT NULL,
  n BIGINT NOT NULL,
  ran_ms BIGINT NOT NULL,                          -- from the first start to the end, all together
  waited_ms BIGINT NOT NULL,                       -- from when they could have started until they did
  le_100ms BIGINT NOT NULL,                        -- those that ran for no longer than that
  le_1s BIGINT NOT NULL,
  le_10s BIGINT NOT NULL,
  le_1m BIGINT NOT NULL,
  le_10m BIGINT NOT NULL,
  le_1h BIGINT NOT NULL,
  PRIMARY KEY (minute, task, status)
);
CREATE INDEX {p}stat_task ON {s}stat (task, minute);

CREATE TABLE {s}stat_until (                       -- one row: up to when ends have been summed up
  id INTEGER PRIMARY KEY,
  at BIGINT NOT NULL
);
