CREATE TABLE holdfast_aftermath (
  run_id TEXT PRIMARY KEY,
  task TEXT NOT NULL,
  worker_id TEXT,
  claim INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE holdfast_alert (
  app TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  state TEXT NOT NULL,
  next_at BIGINT NOT NULL,
  PRIMARY KEY (app, name)
);
CREATE TABLE holdfast_api_key (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE,
  ending TEXT NOT NULL,
  scopes TEXT NOT NULL,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  revoked_at BIGINT,
  used_at BIGINT
);
CREATE TABLE holdfast_attempt (
  run_id TEXT NOT NULL,
  claim INTEGER NOT NULL,
  number INTEGER NOT NULL,
  worker_id TEXT,
  started_at BIGINT,
  finished_at BIGINT NOT NULL,
  outcome TEXT NOT NULL,
  error TEXT, usage TEXT,
  PRIMARY KEY (run_id, claim)
);
CREATE TABLE holdfast_audit (
  id TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  key_id TEXT,
  verb TEXT NOT NULL,
  subject TEXT NOT NULL,
  origin TEXT NOT NULL
);
CREATE TABLE holdfast_batch (
  id TEXT PRIMARY KEY,
  run_count INTEGER NOT NULL,
  idempotency_key TEXT,
  key_until BIGINT,
  created_at BIGINT NOT NULL,
  sealed_at BIGINT
);
CREATE TABLE holdfast_batch_item (
  batch_id TEXT NOT NULL,
  place INTEGER NOT NULL,
  run_id TEXT,
  task TEXT NOT NULL,
  error TEXT,
  PRIMARY KEY (batch_id, place)
);
CREATE TABLE holdfast_blob (
  run_id TEXT NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (run_id, name)
);
CREATE TABLE holdfast_bulk (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  name TEXT,
  run_ids TEXT NOT NULL,
  total INTEGER NOT NULL,
  done_count INTEGER NOT NULL DEFAULT 0,
  success_count INTEGER NOT NULL DEFAULT 0,
  failure_count INTEGER NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  ended_at BIGINT
);
CREATE TABLE holdfast_chunk (
  run_id TEXT NOT NULL,
  name TEXT NOT NULL,
  claim INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at BIGINT NOT NULL,
  attempt INTEGER NOT NULL,
  value TEXT NOT NULL, writer TEXT,
  PRIMARY KEY (run_id, name, claim, seq)
);
CREATE TABLE holdfast_circuit (
  host TEXT PRIMARY KEY,
  failures INTEGER NOT NULL,
  reason TEXT NOT NULL,
  since_at BIGINT NOT NULL,
  until_at BIGINT NOT NULL,
  worker_id TEXT NOT NULL
);
CREATE TABLE holdfast_debounce (
  task TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id TEXT NOT NULL,
  limit_at BIGINT,
  PRIMARY KEY (task, key)
);
CREATE TABLE holdfast_declaration (
  app TEXT NOT NULL,
  digest TEXT NOT NULL,
  seq BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (app, digest)
);
CREATE TABLE holdfast_done (
  queue_id BIGINT NOT NULL,
  priority_ms BIGINT NOT NULL,
  created_at BIGINT NOT NULL,
  finished_at BIGINT NOT NULL,
  claim INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  crashes INTEGER NOT NULL,
  id TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  task TEXT NOT NULL,
  payload TEXT,
  output TEXT,
  worker_id TEXT,
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
  parent_id TEXT,
  root_id TEXT,
  batch_id TEXT,
  error TEXT
, usage TEXT, fingerprint TEXT, claimed_at BIGINT);
CREATE TABLE holdfast_error_group (
  fingerprint TEXT PRIMARY KEY,
  task TEXT NOT NULL,
  type TEXT NOT NULL,
  message TEXT NOT NULL,
  place TEXT NOT NULL,
  runs BIGINT NOT NULL,
  first_at BIGINT NOT NULL,
  last_at BIGINT NOT NULL,
  first_version TEXT,
  last_version TEXT,
  last_run TEXT NOT NULL
);
CREATE TABLE holdfast_idempotency (
  task TEXT NOT NULL,
  key TEXT NOT NULL,
  run_id TEXT NOT NULL,
  expires_at BIGINT, until_end INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (task, key)
);
CREATE TABLE holdfast_invocation (
  run_id TEXT NOT NULL,
  claim INTEGER NOT NULL,
  number INTEGER NOT NULL,
  at BIGINT NOT NULL,
  status INTEGER,
  total_us BIGINT NOT NULL,
  record TEXT NOT NULL,
  PRIMARY KEY (run_id, claim)
);
CREATE TABLE holdfast_issuer (
  number INTEGER PRIMARY KEY,
  secret TEXT NOT NULL
);
CREATE TABLE holdfast_journal (
  run_id TEXT NOT NULL,
  key TEXT NOT NULL,
  seq INTEGER NOT NULL,
  branch TEXT NOT NULL,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  digest TEXT,
  state TEXT NOT NULL,
  settled INTEGER,
  target TEXT,
  remaining INTEGER NOT NULL DEFAULT 0,
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
CREATE TABLE holdfast_lane_due (
  seq INTEGER PRIMARY KEY,
  queue_id BIGINT NOT NULL,
  lane_id BIGINT NOT NULL,
  due_at BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE holdfast_log (
  run_id TEXT NOT NULL,
  claim INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  at BIGINT NOT NULL,
  level TEXT NOT NULL,
  attempt INTEGER NOT NULL,
  logger TEXT NOT NULL,
  message TEXT NOT NULL, replayed INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run_id, claim, seq)
);
CREATE TABLE holdfast_migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, compatible INTEGER NOT NULL, applied_at BIGINT NOT NULL);
CREATE TABLE holdfast_packet (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  created_at BIGINT NOT NULL
);
CREATE TABLE holdfast_queue (
  id BIGINT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  cap INTEGER,
  cap_per_key INTEGER,
  cap_override INTEGER,
  cap_per_key_override INTEGER,
  rate INTEGER,
  rate_ms BIGINT,
  rate_per_key INTEGER,
  rate_per_key_ms BIGINT,
  paused_at BIGINT
);
CREATE TABLE holdfast_rejected (
  id TEXT PRIMARY KEY,
  at BIGINT NOT NULL,
  path TEXT NOT NULL,
  reason TEXT NOT NULL,
  source TEXT NOT NULL,
  headers TEXT NOT NULL,
  body TEXT NOT NULL,
  size BIGINT NOT NULL
);
CREATE TABLE holdfast_route (
  id BIGINT PRIMARY KEY,
  kind TEXT NOT NULL,
  queue_id BIGINT NOT NULL,
  task TEXT NOT NULL,
  version TEXT
, machine TEXT, named_at BIGINT);
CREATE TABLE holdfast_run (
  queue_id BIGINT NOT NULL,
  route_id BIGINT NOT NULL,
  priority_ms BIGINT NOT NULL DEFAULT 0,
  sort_at BIGINT NOT NULL,
  lived_ms BIGINT NOT NULL DEFAULT 0,
  created_at BIGINT NOT NULL,
  claim INTEGER NOT NULL DEFAULT 0,
  attempt INTEGER NOT NULL DEFAULT 1,
  suspect INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  task TEXT NOT NULL,
  payload TEXT,
  worker_id TEXT,
  claimed_at BIGINT,
  started_at BIGINT,
  lane_id BIGINT,
  start_by BIGINT,
  concurrency_key TEXT,
  due_at BIGINT,
  expire_at BIGINT,
  cancel_at BIGINT,
  options TEXT,
  metadata TEXT,
  tags TEXT,
  version TEXT,
  idempotency_key TEXT,
  parent_id TEXT,
  root_id TEXT,
  batch_id TEXT, noted BIGINT, changes BIGINT, parent_key TEXT, depth INTEGER NOT NULL DEFAULT 0, news INTEGER NOT NULL DEFAULT 0, unwind INTEGER NOT NULL DEFAULT 0, keeper TEXT, keep_until BIGINT, pinned INTEGER NOT NULL DEFAULT 0, told BIGINT,
  CHECK ((state = 'executing') = (worker_id IS NOT NULL))
);
CREATE TABLE holdfast_schedule (
  id TEXT PRIMARY KEY,
  task TEXT NOT NULL,
  rule TEXT NOT NULL,
  make TEXT NOT NULL,
  catch_up INTEGER NOT NULL,
  overlap TEXT NOT NULL,
  jitter_ms BIGINT NOT NULL DEFAULT 0,
  owner TEXT NOT NULL DEFAULT '',
  key TEXT,
  external_id TEXT,
  generation INTEGER NOT NULL DEFAULT 0,
  slot_at BIGINT,
  next_at BIGINT,
  last_at BIGINT,
  made_at BIGINT,
  last_run_id TEXT,
  waiting_at BIGINT,
  paused_at BIGINT,
  problem TEXT,
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE TABLE holdfast_signing (
  secret TEXT PRIMARY KEY,
  made_at BIGINT NOT NULL,
  ends_at BIGINT
);
CREATE TABLE holdfast_slot (
  schedule_id TEXT NOT NULL,
  at BIGINT NOT NULL,
  outcome TEXT NOT NULL,
  run_id TEXT,
  dealt_at BIGINT NOT NULL,
  PRIMARY KEY (schedule_id, at)
);
CREATE TABLE holdfast_spent (
  hash TEXT PRIMARY KEY,
  call TEXT,
  expires_at BIGINT NOT NULL
);
CREATE TABLE holdfast_start (
  lane_id BIGINT NOT NULL,
  at BIGINT NOT NULL,
  run_id TEXT NOT NULL
);
CREATE TABLE holdfast_stat (
  minute BIGINT NOT NULL,
  task TEXT NOT NULL,
  status TEXT NOT NULL,
  n BIGINT NOT NULL,
  ran_ms BIGINT NOT NULL,
  waited_ms BIGINT NOT NULL,
  le_100ms BIGINT NOT NULL,
  le_1s BIGINT NOT NULL,
  le_10s BIGINT NOT NULL,
  le_1m BIGINT NOT NULL,
  le_10m BIGINT NOT NULL,
  le_1h BIGINT NOT NULL,
  PRIMARY KEY (minute, task, status)
);
CREATE TABLE holdfast_stat_until (
  id INTEGER PRIMARY KEY,
  at BIGINT NOT NULL
);
CREATE TABLE holdfast_tag (
  tag TEXT NOT NULL,
  run_id TEXT NOT NULL,
  PRIMARY KEY (tag, run_id)
);
CREATE TABLE holdfast_task (
  id TEXT PRIMARY KEY,
  queue TEXT NOT NULL,
  options TEXT NOT NULL,
  schema TEXT,
  version TEXT,
  end_hooks INTEGER NOT NULL DEFAULT 0,
  seen_at BIGINT NOT NULL
, kind TEXT NOT NULL DEFAULT 'code', webhook TEXT, verified_by TEXT);
CREATE TABLE holdfast_token (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  run_id TEXT,
  schema TEXT,
  tags TEXT,
  idempotency_key TEXT UNIQUE,
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  completed_at BIGINT,
  result TEXT
, secret TEXT);
CREATE TABLE holdfast_token_tag (
  tag TEXT NOT NULL,
  token_id TEXT NOT NULL,
  PRIMARY KEY (tag, token_id)
);
CREATE TABLE holdfast_variable (
  name TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  secret INTEGER NOT NULL,
  updated_at BIGINT NOT NULL
);
CREATE TABLE holdfast_waiter (
  target TEXT NOT NULL,
  run_id TEXT NOT NULL,
  key TEXT NOT NULL,
  PRIMARY KEY (target, run_id, key)
);
CREATE TABLE holdfast_worker (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  beat BIGINT NOT NULL DEFAULT 0,
  seen_at BIGINT NOT NULL,
  lease_ms BIGINT NOT NULL,
  idle INTEGER NOT NULL DEFAULT 1,
  host TEXT NOT NULL,
  pid BIGINT NOT NULL,
  concurrency INTEGER NOT NULL,
  queues TEXT,
  version TEXT,
  started_at BIGINT NOT NULL
, app TEXT, declares TEXT, cpu_millis BIGINT, memory_bytes BIGINT, machines TEXT, drain_asked_at BIGINT, usage TEXT);
CREATE TABLE holdfast_worker_task (
  worker_id TEXT NOT NULL,
  task TEXT NOT NULL,
  PRIMARY KEY (worker_id, task)
);
CREATE INDEX holdfast_alert_next ON holdfast_alert (next_at);
CREATE INDEX holdfast_audit_at ON holdfast_audit (at);
CREATE INDEX holdfast_batch_created ON holdfast_batch (created_at);
CREATE UNIQUE INDEX holdfast_batch_key ON holdfast_batch (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX holdfast_bulk_open ON holdfast_bulk (id) WHERE state = 'pending';
CREATE INDEX holdfast_done_batch ON holdfast_done (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX holdfast_done_failed ON holdfast_done (finished_at) WHERE status <> 'completed' AND status <> 'canceled';
CREATE INDEX holdfast_done_fingerprint ON holdfast_done (fingerprint, id) WHERE fingerprint IS NOT NULL;
CREATE INDEX holdfast_done_finished ON holdfast_done (finished_at);
CREATE INDEX holdfast_done_key ON holdfast_done (concurrency_key, id) WHERE concurrency_key IS NOT NULL;
CREATE INDEX holdfast_done_parent ON holdfast_done (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX holdfast_done_status ON holdfast_done (status, id) WHERE status <> 'completed';
CREATE INDEX holdfast_done_task ON holdfast_done (task, id);
CREATE INDEX holdfast_done_ungrouped ON holdfast_done (id) WHERE status NOT IN ('completed', 'canceled') AND fingerprint IS NULL;
CREATE INDEX holdfast_done_version ON holdfast_done (version, id) WHERE version IS NOT NULL;
CREATE INDEX holdfast_error_group_last ON holdfast_error_group (last_at);
CREATE INDEX holdfast_idempotency_expires ON holdfast_idempotency (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX holdfast_journal_settled ON holdfast_journal (run_id, settled);
CREATE INDEX holdfast_journal_target ON holdfast_journal (target) WHERE target IS NOT NULL AND state = 'open';
CREATE INDEX holdfast_lane_due_at ON holdfast_lane_due (due_at, seq);
CREATE INDEX holdfast_lane_due_lane ON holdfast_lane_due (lane_id, due_at);
CREATE INDEX holdfast_packet_created ON holdfast_packet (created_at);
CREATE INDEX holdfast_rejected_at ON holdfast_rejected (at);
CREATE INDEX holdfast_route_task ON holdfast_route (task);
CREATE INDEX holdfast_run_batch ON holdfast_run (batch_id, id) WHERE batch_id IS NOT NULL;
CREATE INDEX holdfast_run_cancel ON holdfast_run (id) WHERE cancel_at IS NOT NULL;
CREATE INDEX holdfast_run_due ON holdfast_run (due_at) WHERE due_at IS NOT NULL AND state IN ('delayed', 'waiting');
CREATE INDEX holdfast_run_grant ON holdfast_run (start_by) WHERE start_by IS NOT NULL AND state = 'ready';
CREATE INDEX holdfast_run_held ON holdfast_run (queue_id, lane_id, sort_at, id) WHERE state = 'held';
CREATE INDEX holdfast_run_http ON holdfast_run (id) WHERE task = 'http';
CREATE INDEX holdfast_run_mine ON holdfast_run (worker_id) WHERE worker_id IS NOT NULL;
CREATE INDEX holdfast_run_news ON holdfast_run (worker_id) WHERE news = 1 AND worker_id IS NOT NULL;
CREATE INDEX holdfast_run_parent ON holdfast_run (parent_id, id) WHERE parent_id IS NOT NULL;
CREATE INDEX holdfast_run_pinned ON holdfast_run (route_id, id) WHERE pinned > 0;
CREATE INDEX holdfast_run_put_off ON holdfast_run (state, id) WHERE state IN ('waiting', 'delayed');
CREATE INDEX holdfast_run_ready ON holdfast_run (route_id, suspect, sort_at, id) WHERE state = 'ready';
CREATE INDEX holdfast_run_slot ON holdfast_run (queue_id, lane_id) WHERE lane_id IS NOT NULL AND state IN ('ready', 'executing');
CREATE INDEX holdfast_run_suspect ON holdfast_run (suspect, id) WHERE suspect > 0 AND state = 'ready';
CREATE INDEX holdfast_run_ttl ON holdfast_run (expire_at) WHERE expire_at IS NOT NULL;
CREATE INDEX holdfast_schedule_external ON holdfast_schedule (external_id, id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX holdfast_schedule_key ON holdfast_schedule (owner, key) WHERE key IS NOT NULL;
CREATE INDEX holdfast_schedule_next ON holdfast_schedule (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX holdfast_schedule_task ON holdfast_schedule (task, id);
CREATE INDEX holdfast_schedule_waiting ON holdfast_schedule (waiting_at) WHERE waiting_at IS NOT NULL;
CREATE INDEX holdfast_slot_dealt ON holdfast_slot (dealt_at);
CREATE INDEX holdfast_slot_run ON holdfast_slot (schedule_id, run_id) WHERE run_id IS NOT NULL;
CREATE INDEX holdfast_start_lane ON holdfast_start (lane_id, at);
CREATE INDEX holdfast_stat_task ON holdfast_stat (task, minute);
CREATE INDEX holdfast_tag_run ON holdfast_tag (run_id);
CREATE INDEX holdfast_task_webhook ON holdfast_task (webhook) WHERE webhook IS NOT NULL;
CREATE INDEX holdfast_token_over ON holdfast_token ((COALESCE(completed_at, expires_at))) WHERE run_id IS NULL;
CREATE INDEX holdfast_token_run ON holdfast_token (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX holdfast_token_state ON holdfast_token (state, id);
CREATE INDEX holdfast_token_tag_token ON holdfast_token_tag (token_id);
