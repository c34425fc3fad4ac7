-- compatible: 1
-- Batches whose items come after them, as they do over HTTP. Those that come in one call need no row.

CREATE TABLE {s}batch (
  id {text} PRIMARY KEY,
  run_count INTEGER NOT NULL,                      -- how many items are to come
  idempotency_key TEXT,
  key_until BIGINT,                                -- until when that key gives this batch
  created_at BIGINT NOT NULL,
  sealed_at BIGINT                                 -- when the last item had come
);
CREATE UNIQUE INDEX {p}batch_key ON {s}batch (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX {p}batch_created ON {s}batch (created_at);

CREATE TABLE {s}batch_item (
  batch_id {text} NOT NULL,
  place INTEGER NOT NULL,
  run_id {text},                                   -- the run it led to, which may be an earlier one
  task TEXT NOT NULL,
  error TEXT,                                      -- why there is none
  PRIMARY KEY (batch_id, place)
);
