CREATE TABLE holdfast.aftermath (
  run_id text COLLATE "C" NOT NULL,
  task text NOT NULL,
  worker_id text COLLATE "C",
  claim integer DEFAULT 0 NOT NULL
) WITH (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE TABLE holdfast.alert (
  app text NOT NULL,
  name text NOT NULL,
  body text NOT NULL,
  state text NOT NULL,
  next_at bigint NOT NULL
);
CREATE TABLE holdfast.api_key (
  id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  hash text COLLATE "C" NOT NULL,
  ending text NOT NULL,
  scopes text NOT NULL,
  created_at bigint NOT NULL,
  expires_at bigint,
  revoked_at bigint,
  used_at bigint
);
CREATE TABLE holdfast.attempt (
  run_id text COLLATE "C" NOT NULL,
  claim integer NOT NULL,
  number integer NOT NULL,
  worker_id text COLLATE "C",
  started_at bigint,
  finished_at bigint NOT NULL,
  outcome text NOT NULL,
  error text,
  usage text
);
CREATE TABLE holdfast.audit (
  id text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  actor text NOT NULL,
  key_id text COLLATE "C",
  verb text NOT NULL,
  subject text NOT NULL,
  origin text NOT NULL
);
CREATE TABLE holdfast.batch (
  id text COLLATE "C" NOT NULL,
  run_count integer NOT NULL,
  idempotency_key text,
  key_until bigint,
  created_at bigint NOT NULL,
  sealed_at bigint
);
CREATE TABLE holdfast.batch_item (
  batch_id text COLLATE "C" NOT NULL,
  place integer NOT NULL,
  run_id text COLLATE "C",
  task text NOT NULL,
  error text
);
CREATE TABLE holdfast.blob (
  run_id text COLLATE "C" NOT NULL,
  name text NOT NULL,
  body text NOT NULL
);
CREATE TABLE holdfast.bulk (
  id text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  state text NOT NULL,
  name text,
  run_ids text NOT NULL,
  total integer NOT NULL,
  done_count integer DEFAULT 0 NOT NULL,
  success_count integer DEFAULT 0 NOT NULL,
  failure_count integer DEFAULT 0 NOT NULL,
  created_at bigint NOT NULL,
  ended_at bigint
);
CREATE TABLE holdfast.chunk (
  run_id text COLLATE "C" NOT NULL,
  name text COLLATE "C" NOT NULL,
  claim integer NOT NULL,
  seq integer NOT NULL,
  at bigint NOT NULL,
  attempt integer NOT NULL,
  value text NOT NULL,
  writer text
) WITH (autovacuum_vacuum_insert_scale_factor=0.1);
CREATE TABLE holdfast.circuit (
  host text COLLATE "C" NOT NULL,
  failures integer NOT NULL,
  reason text NOT NULL,
  since_at bigint NOT NULL,
  until_at bigint NOT NULL,
  worker_id text COLLATE "C" NOT NULL
);
CREATE TABLE holdfast.debounce (
  task text NOT NULL,
  key text NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  limit_at bigint
);
CREATE TABLE holdfast.declaration (
  app text NOT NULL,
  digest text NOT NULL,
  seq bigint NOT NULL,
  body text NOT NULL
);
CREATE TABLE holdfast.done (
  queue_id bigint NOT NULL,
  priority_ms bigint NOT NULL,
  created_at bigint NOT NULL,
  finished_at bigint NOT NULL,
  claim integer NOT NULL,
  attempt integer NOT NULL,
  crashes integer NOT NULL,
  id text COLLATE "C" NOT NULL,
  status text NOT NULL,
  task text NOT NULL,
  payload text,
  output text,
  worker_id text COLLATE "C",
  started_at bigint,
  concurrency_key text,
  due_at bigint,
  expire_at bigint,
  cancel_at bigint,
  options text,
  metadata text,
  tags text,
  version text,
  idempotency_key text,
  parent_id text COLLATE "C",
  root_id text COLLATE "C",
  batch_id text COLLATE "C",
  error text,
  usage text,
  fingerprint text,
  claimed_at bigint
) WITH (autovacuum_vacuum_insert_scale_factor=0.1);
CREATE TABLE holdfast.error_group (
  fingerprint text COLLATE "C" NOT NULL,
  task text NOT NULL,
  type text NOT NULL,
  message text NOT NULL,
  place text NOT NULL,
  runs bigint NOT NULL,
  first_at bigint NOT NULL,
  last_at bigint NOT NULL,
  first_version text,
  last_version text,
  last_run text COLLATE "C" NOT NULL
);
CREATE TABLE holdfast.idempotency (
  task text NOT NULL,
  key text NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  expires_at bigint,
  until_end integer DEFAULT 0 NOT NULL
);
CREATE TABLE holdfast.invocation (
  run_id text COLLATE "C" NOT NULL,
  claim integer NOT NULL,
  number integer NOT NULL,
  at bigint NOT NULL,
  status integer,
  total_us bigint NOT NULL,
  record text NOT NULL
);
CREATE TABLE holdfast.issuer (
  number integer NOT NULL,
  secret text NOT NULL
);
CREATE TABLE holdfast.joined (
  run_id text COLLATE "C" NOT NULL,
  made boolean NOT NULL,
  key_lane bigint,
  parent_id text COLLATE "C",
  parent_claim integer
) WITH (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE TABLE holdfast.journal (
  run_id text COLLATE "C" NOT NULL,
  key text NOT NULL,
  seq integer NOT NULL,
  branch text NOT NULL,
  kind text NOT NULL,
  name text NOT NULL,
  digest text,
  state text NOT NULL,
  settled integer,
  target text,
  remaining integer DEFAULT 0 NOT NULL,
  due_at bigint,
  tries integer DEFAULT 0 NOT NULL,
  result text,
  error text,
  claim integer NOT NULL,
  attempt integer NOT NULL,
  started_at bigint NOT NULL,
  done_at bigint
);
CREATE TABLE holdfast.lane_due (
  seq bigint DEFAULT nextval('holdfast.lane_due_seq_seq'::regclass) NOT NULL,
  queue_id bigint NOT NULL,
  lane_id bigint NOT NULL,
  due_at bigint DEFAULT 0 NOT NULL
) WITH (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE TABLE holdfast.log (
  run_id text COLLATE "C" NOT NULL,
  claim integer NOT NULL,
  seq integer NOT NULL,
  at bigint NOT NULL,
  level text NOT NULL,
  attempt integer NOT NULL,
  logger text NOT NULL,
  message text NOT NULL,
  replayed integer DEFAULT 0 NOT NULL
);
CREATE TABLE holdfast.migration (
  version integer NOT NULL,
  name text NOT NULL,
  checksum text NOT NULL,
  compatible integer NOT NULL,
  applied_at bigint NOT NULL
);
CREATE TABLE holdfast.name_due (
  queue text NOT NULL,
  task text NOT NULL,
  machine text
);
CREATE TABLE holdfast.packet (
  id text COLLATE "C" NOT NULL,
  kind text NOT NULL,
  body text NOT NULL,
  created_at bigint NOT NULL
);
CREATE TABLE holdfast.queue (
  id bigint NOT NULL,
  name text NOT NULL,
  cap integer,
  cap_per_key integer,
  cap_override integer,
  cap_per_key_override integer,
  rate integer,
  rate_ms bigint,
  rate_per_key integer,
  rate_per_key_ms bigint,
  paused_at bigint
);
CREATE TABLE holdfast.rejected (
  id text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  path text NOT NULL,
  reason text NOT NULL,
  source text NOT NULL,
  headers text NOT NULL,
  body text NOT NULL,
  size bigint NOT NULL
);
CREATE TABLE holdfast.route (
  id bigint NOT NULL,
  kind text NOT NULL,
  queue_id bigint NOT NULL,
  task text NOT NULL,
  version text,
  machine text,
  named_at bigint
);
CREATE TABLE holdfast.run (
  queue_id bigint NOT NULL,
  route_id bigint NOT NULL,
  priority_ms bigint DEFAULT 0 NOT NULL,
  sort_at bigint NOT NULL,
  lived_ms bigint DEFAULT 0 NOT NULL,
  created_at bigint NOT NULL,
  claim integer DEFAULT 0 NOT NULL,
  attempt integer DEFAULT 1 NOT NULL,
  suspect integer DEFAULT 0 NOT NULL,
  crashes integer DEFAULT 0 NOT NULL,
  id text COLLATE "C" NOT NULL,
  state text NOT NULL,
  task text NOT NULL,
  payload text,
  worker_id text COLLATE "C",
  claimed_at bigint,
  started_at bigint,
  lane_id bigint,
  start_by bigint,
  concurrency_key text,
  due_at bigint,
  expire_at bigint,
  cancel_at bigint,
  options text,
  metadata text,
  tags text,
  version text,
  idempotency_key text,
  parent_id text COLLATE "C",
  root_id text COLLATE "C",
  batch_id text COLLATE "C",
  noted bigint,
  changes bigint,
  parent_key text,
  depth integer DEFAULT 0 NOT NULL,
  news integer DEFAULT 0 NOT NULL,
  unwind integer DEFAULT 0 NOT NULL,
  keeper text COLLATE "C",
  keep_until bigint,
  pinned integer DEFAULT 0 NOT NULL,
  told bigint
) WITH (fillfactor=80, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=5000, autovacuum_vacuum_cost_delay=0, autovacuum_analyze_scale_factor=0, autovacuum_analyze_threshold=20000);
CREATE TABLE holdfast.schedule (
  id text COLLATE "C" NOT NULL,
  task text NOT NULL,
  rule text NOT NULL,
  make text NOT NULL,
  catch_up integer NOT NULL,
  overlap text NOT NULL,
  jitter_ms bigint DEFAULT 0 NOT NULL,
  owner text DEFAULT ''::text NOT NULL,
  key text,
  external_id text,
  generation integer DEFAULT 0 NOT NULL,
  slot_at bigint,
  next_at bigint,
  last_at bigint,
  made_at bigint,
  last_run_id text COLLATE "C",
  waiting_at bigint,
  paused_at bigint,
  problem text,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);
CREATE TABLE holdfast.signing (
  secret text NOT NULL,
  made_at bigint NOT NULL,
  ends_at bigint
);
CREATE TABLE holdfast.slot (
  schedule_id text COLLATE "C" NOT NULL,
  at bigint NOT NULL,
  outcome text NOT NULL,
  run_id text COLLATE "C",
  dealt_at bigint NOT NULL
);
CREATE TABLE holdfast.spent (
  hash text COLLATE "C" NOT NULL,
  call text,
  expires_at bigint NOT NULL
);
CREATE TABLE holdfast.start (
  lane_id bigint NOT NULL,
  at bigint NOT NULL,
  run_id text COLLATE "C" NOT NULL
) WITH (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE TABLE holdfast.stat (
  minute bigint NOT NULL,
  task text NOT NULL,
  status text NOT NULL,
  n bigint NOT NULL,
  ran_ms bigint NOT NULL,
  waited_ms bigint NOT NULL,
  le_100ms bigint NOT NULL,
  le_1s bigint NOT NULL,
  le_10s bigint NOT NULL,
  le_1m bigint NOT NULL,
  le_10m bigint NOT NULL,
  le_1h bigint NOT NULL
);
CREATE TABLE holdfast.stat_until (
  id integer NOT NULL,
  at bigint NOT NULL
);
CREATE TABLE holdfast.tag (
  tag text NOT NULL,
  run_id text COLLATE "C" NOT NULL
);
CREATE TABLE holdfast.task (
  id text NOT NULL,
  queue text NOT NULL,
  options text NOT NULL,
  schema text,
  version text,
  end_hooks integer DEFAULT 0 NOT NULL,
  seen_at bigint NOT NULL,
  kind text DEFAULT 'code'::text NOT NULL,
  webhook text,
  verified_by text
);
CREATE TABLE holdfast.token (
  id text COLLATE "C" NOT NULL,
  state text NOT NULL,
  run_id text COLLATE "C",
  schema text,
  tags text,
  idempotency_key text,
  created_at bigint NOT NULL,
  expires_at bigint,
  completed_at bigint,
  result text,
  secret text
);
CREATE TABLE holdfast.token_tag (
  tag text NOT NULL,
  token_id text COLLATE "C" NOT NULL
);
CREATE TABLE holdfast.variable (
  name text COLLATE "C" NOT NULL,
  value text NOT NULL,
  secret integer NOT NULL,
  updated_at bigint NOT NULL
);
CREATE TABLE holdfast.waiter (
  target text COLLATE "C" NOT NULL,
  run_id text COLLATE "C" NOT NULL,
  key text NOT NULL
);
CREATE TABLE holdfast.worker (
  id text COLLATE "C" NOT NULL,
  state text NOT NULL,
  beat bigint DEFAULT 0 NOT NULL,
  seen_at bigint NOT NULL,
  lease_ms bigint NOT NULL,
  idle integer DEFAULT 1 NOT NULL,
  host text NOT NULL,
  pid bigint NOT NULL,
  concurrency integer NOT NULL,
  queues text,
  version text,
  started_at bigint NOT NULL,
  app text,
  declares text,
  cpu_millis bigint,
  memory_bytes bigint,
  machines text,
  drain_asked_at bigint,
  usage text
) WITH (fillfactor=50, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=1000, autovacuum_vacuum_cost_delay=0);
CREATE TABLE holdfast.worker_task (
  worker_id text COLLATE "C" NOT NULL,
  task text NOT NULL
);
CREATE TYPE holdfast.new_run (
  id text,
  task text,
  queue_id bigint,
  route_id bigint,
  key_lane bigint,
  concurrency_key text,
  priority_ms bigint,
  due_at bigint,
  delay_ms bigint,
  ttl_ms bigint,
  payload text,
  options text,
  metadata text,
  tags text,
  version text,
  idempotency_key text,
  idempotency_ttl_ms bigint,
  parent_id text,
  parent_claim integer,
  root_id text,
  batch_id text,
  debounce_key text,
  debounce_ms bigint,
  debounce_max_ms bigint,
  debounce_leading boolean
);
ALTER TABLE holdfast.aftermath ADD CONSTRAINT aftermath_pkey PRIMARY KEY (run_id);
ALTER TABLE holdfast.alert ADD CONSTRAINT alert_pkey PRIMARY KEY (app, name);
ALTER TABLE holdfast.api_key ADD CONSTRAINT api_key_hash_key UNIQUE (hash);
ALTER TABLE holdfast.api_key ADD CONSTRAINT api_key_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.attempt ADD CONSTRAINT attempt_pkey PRIMARY KEY (run_id, claim);
ALTER TABLE holdfast.audit ADD CONSTRAINT audit_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.batch ADD CONSTRAINT batch_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.batch_item ADD CONSTRAINT batch_item_pkey PRIMARY KEY (batch_id, place);
ALTER TABLE holdfast.blob ADD CONSTRAINT blob_pkey PRIMARY KEY (run_id, name);
ALTER TABLE holdfast.bulk ADD CONSTRAINT bulk_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.chunk ADD CONSTRAINT chunk_pkey PRIMARY KEY (run_id, name, claim, seq);
ALTER TABLE holdfast.circuit ADD CONSTRAINT circuit_pkey PRIMARY KEY (host);
ALTER TABLE holdfast.debounce ADD CONSTRAINT debounce_pkey PRIMARY KEY (task, key);
ALTER TABLE holdfast.declaration ADD CONSTRAINT declaration_pkey PRIMARY KEY (app, digest);
ALTER TABLE holdfast.done ADD CONSTRAINT done_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.error_group ADD CONSTRAINT error_group_pkey PRIMARY KEY (fingerprint);
ALTER TABLE holdfast.idempotency ADD CONSTRAINT idempotency_pkey PRIMARY KEY (task, key);
ALTER TABLE holdfast.invocation ADD CONSTRAINT invocation_pkey PRIMARY KEY (run_id, claim);
ALTER TABLE holdfast.issuer ADD CONSTRAINT issuer_pkey PRIMARY KEY (number);
ALTER TABLE holdfast.joined ADD CONSTRAINT joined_pkey PRIMARY KEY (run_id);
ALTER TABLE holdfast.journal ADD CONSTRAINT journal_pkey PRIMARY KEY (run_id, key);
ALTER TABLE holdfast.lane_due ADD CONSTRAINT lane_due_pkey PRIMARY KEY (seq);
ALTER TABLE holdfast.log ADD CONSTRAINT log_pkey PRIMARY KEY (run_id, claim, seq);
ALTER TABLE holdfast.migration ADD CONSTRAINT migration_pkey PRIMARY KEY (version);
ALTER TABLE holdfast.packet ADD CONSTRAINT packet_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.queue ADD CONSTRAINT queue_name_key UNIQUE (name);
ALTER TABLE holdfast.queue ADD CONSTRAINT queue_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.rejected ADD CONSTRAINT rejected_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.route ADD CONSTRAINT route_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.run ADD CONSTRAINT run_check CHECK (((state = 'executing'::text) = (worker_id IS NOT NULL)));
ALTER TABLE holdfast.run ADD CONSTRAINT run_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.schedule ADD CONSTRAINT schedule_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.signing ADD CONSTRAINT signing_pkey PRIMARY KEY (secret);
ALTER TABLE holdfast.slot ADD CONSTRAINT slot_pkey PRIMARY KEY (schedule_id, at);
ALTER TABLE holdfast.spent ADD CONSTRAINT spent_pkey PRIMARY KEY (hash);
ALTER TABLE holdfast.stat ADD CONSTRAINT stat_pkey PRIMARY KEY (minute, task, status);
ALTER TABLE holdfast.stat_until ADD CONSTRAINT stat_until_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.tag ADD CONSTRAINT tag_pkey PRIMARY KEY (tag, run_id);
ALTER TABLE holdfast.task ADD CONSTRAINT task_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.token ADD CONSTRAINT token_idempotency_key_key UNIQUE (idempotency_key);
ALTER TABLE holdfast.token ADD CONSTRAINT token_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.token_tag ADD CONSTRAINT token_tag_pkey PRIMARY KEY (tag, token_id);
ALTER TABLE holdfast.variable ADD CONSTRAINT variable_pkey PRIMARY KEY (name);
ALTER TABLE holdfast.waiter ADD CONSTRAINT waiter_pkey PRIMARY KEY (target, run_id, key);
ALTER TABLE holdfast.worker ADD CONSTRAINT worker_pkey PRIMARY KEY (id);
ALTER TABLE holdfast.worker_task ADD CONSTRAINT worker_task_pkey PRIMARY KEY (worker_id, task);
CREATE INDEX alert_next ON holdfast.alert USING btree (next_at);
CREATE INDEX audit_at ON holdfast.audit USING btree (at);
CREATE INDEX batch_created ON holdfast.batch USING btree (created_at);
CREATE INDEX bulk_open ON holdfast.bulk USING btree (id) WHERE (state = 'pending'::text);
CREATE INDEX done_batch ON holdfast.done USING btree (batch_id, id) WHERE (batch_id IS NOT NULL);
CREATE INDEX done_failed ON holdfast.done USING btree (finished_at) WHERE ((status <> 'completed'::text) AND (status <> 'canceled'::text));
CREATE INDEX done_fingerprint ON holdfast.done USING btree (fingerprint, id) WHERE (fingerprint IS NOT NULL);
CREATE INDEX done_finished ON holdfast.done USING btree (finished_at);
CREATE INDEX done_key ON holdfast.done USING btree (concurrency_key, id) WHERE (concurrency_key IS NOT NULL);
CREATE INDEX done_parent ON holdfast.done USING btree (parent_id, id) WHERE (parent_id IS NOT NULL);
CREATE INDEX done_status ON holdfast.done USING btree (status, id) WHERE (status <> 'completed'::text);
CREATE INDEX done_task ON holdfast.done USING btree (task, id);
CREATE INDEX done_ungrouped ON holdfast.done USING btree (id) WHERE ((status <> ALL (ARRAY['completed'::text, 'canceled'::text])) AND (fingerprint IS NULL));
CREATE INDEX done_version ON holdfast.done USING btree (version, id) WHERE (version IS NOT NULL);
CREATE INDEX error_group_last ON holdfast.error_group USING btree (last_at);
CREATE INDEX idempotency_expires ON holdfast.idempotency USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX journal_settled ON holdfast.journal USING btree (run_id, settled);
CREATE INDEX journal_target ON holdfast.journal USING btree (target) WHERE ((target IS NOT NULL) AND (state = 'open'::text));
CREATE INDEX lane_due_at ON holdfast.lane_due USING btree (due_at, seq);
CREATE INDEX lane_due_lane ON holdfast.lane_due USING btree (lane_id, due_at);
CREATE INDEX packet_created ON holdfast.packet USING btree (created_at);
CREATE INDEX rejected_at ON holdfast.rejected USING btree (at);
CREATE INDEX route_task ON holdfast.route USING btree (task);
CREATE INDEX run_batch ON holdfast.run USING btree (batch_id, id) WHERE (batch_id IS NOT NULL);
CREATE INDEX run_cancel ON holdfast.run USING btree (id) WHERE (cancel_at IS NOT NULL);
CREATE INDEX run_due ON holdfast.run USING btree (due_at) WHERE ((due_at IS NOT NULL) AND (state = ANY (ARRAY['delayed'::text, 'waiting'::text])));
CREATE INDEX run_grant ON holdfast.run USING btree (start_by) WHERE ((start_by IS NOT NULL) AND (state = 'ready'::text));
CREATE INDEX run_held ON holdfast.run USING btree (queue_id, lane_id, sort_at, id) WHERE (state = 'held'::text);
CREATE INDEX run_http ON holdfast.run USING btree (id) WHERE (task = 'http'::text);
CREATE INDEX run_mine ON holdfast.run USING btree (worker_id) WHERE (worker_id IS NOT NULL);
CREATE INDEX run_news ON holdfast.run USING btree (worker_id) WHERE ((news = 1) AND (worker_id IS NOT NULL));
CREATE INDEX run_parent ON holdfast.run USING btree (parent_id, id) WHERE (parent_id IS NOT NULL);
CREATE INDEX run_pinned ON holdfast.run USING btree (route_id, id) WHERE (pinned > 0);
CREATE INDEX run_put_off ON holdfast.run USING btree (state, id) WHERE (state = ANY (ARRAY['waiting'::text, 'delayed'::text]));
CREATE INDEX run_ready ON holdfast.run USING btree (route_id, suspect, sort_at, id) WHERE (state = 'ready'::text);
CREATE INDEX run_slot ON holdfast.run USING btree (queue_id, lane_id) WHERE ((lane_id IS NOT NULL) AND (state = ANY (ARRAY['ready'::text, 'executing'::text])));
CREATE INDEX run_suspect ON holdfast.run USING btree (suspect, id) WHERE ((suspect > 0) AND (state = 'ready'::text));
CREATE INDEX run_ttl ON holdfast.run USING btree (expire_at) WHERE (expire_at IS NOT NULL);
CREATE INDEX schedule_external ON holdfast.schedule USING btree (external_id, id) WHERE (external_id IS NOT NULL);
CREATE INDEX schedule_next ON holdfast.schedule USING btree (next_at) WHERE (next_at IS NOT NULL);
CREATE INDEX schedule_task ON holdfast.schedule USING btree (task, id);
CREATE INDEX schedule_waiting ON holdfast.schedule USING btree (waiting_at) WHERE (waiting_at IS NOT NULL);
CREATE INDEX slot_dealt ON holdfast.slot USING btree (dealt_at);
CREATE INDEX slot_run ON holdfast.slot USING btree (schedule_id, run_id) WHERE (run_id IS NOT NULL);
CREATE INDEX start_lane ON holdfast.start USING btree (lane_id, at);
CREATE INDEX stat_task ON holdfast.stat USING btree (task, minute);
CREATE INDEX tag_run ON holdfast.tag USING btree (run_id);
CREATE INDEX task_webhook ON holdfast.task USING btree (webhook) WHERE (webhook IS NOT NULL);
CREATE INDEX token_over ON holdfast.token USING btree (COALESCE(completed_at, expires_at)) WHERE (run_id IS NULL);
CREATE INDEX token_run ON holdfast.token USING btree (run_id) WHERE (run_id IS NOT NULL);
CREATE INDEX token_state ON holdfast.token USING btree (state, id);
CREATE INDEX token_tag_token ON holdfast.token_tag USING btree (token_id);
CREATE UNIQUE INDEX batch_key ON holdfast.batch USING btree (idempotency_key) WHERE (idempotency_key IS NOT NULL);
CREATE UNIQUE INDEX schedule_key ON holdfast.schedule USING btree (owner, key) WHERE (key IS NOT NULL);
CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON holdfast.joined DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION holdfast.at_commit();
CREATE FUNCTION holdfast.at_commit() RETURNS trigger LANGUAGE plpgsql AS '6e1b4dbcf3be720619b7db53b9eb9218';
CREATE FUNCTION holdfast.hash63(VARIADIC parts text[]) RETURNS bigint LANGUAGE sql AS 'a10252813aaba4f058f53566215fac8d';
CREATE FUNCTION holdfast.hold_parent(parent text, held integer, lock boolean) RETURNS void LANGUAGE plpgsql AS 'acb84bf4caff3f1f508f3f6c197a191b';
CREATE FUNCTION holdfast.home() RETURNS text LANGUAGE plpgsql AS '6f32ace2341862cba30754fc0acb6f8d';
CREATE FUNCTION holdfast.insert_run(x holdfast.new_run, now_ms bigint) RETURNS void LANGUAGE plpgsql AS '40b07eb088ed9033e5a0f5aaf57d573c';
CREATE FUNCTION holdfast.join_runs(runs text, home text, at bigint) RETURNS text LANGUAGE plpgsql AS 'e1d8bae4beb2079d3c3705137f69ab6c';
CREATE FUNCTION holdfast.lane_of(queue_id bigint, key_lane bigint) RETURNS bigint LANGUAGE sql AS 'e36d41acf73cf02cbef55e7057eac043';
CREATE FUNCTION holdfast.make_run(x holdfast.new_run, now_ms bigint) RETURNS text LANGUAGE plpgsql AS '63142107f82615ec8dbf82fb6bf7adb3';
CREATE FUNCTION holdfast.new_id() RETURNS text LANGUAGE sql AS '54aea2736b6f00027840d224218a4f4e';
CREATE FUNCTION holdfast.read_count(option text, value json) RETURNS integer LANGUAGE plpgsql AS '00c58c98ced871297b10c6aba826da5b';
CREATE FUNCTION holdfast.read_debounce(x holdfast.new_run, value json) RETURNS holdfast.new_run LANGUAGE plpgsql AS '903ed4d71b19c66cd51cb6f63170ee56';
CREATE FUNCTION holdfast.read_duration(option text, value json, lasting boolean DEFAULT false) RETURNS bigint LANGUAGE plpgsql AS 'a32b096177bb612fa6fee79588b262d7';
CREATE FUNCTION holdfast.read_head_start(option text, value json) RETURNS bigint LANGUAGE plpgsql AS 'a2332a1ff6d7cdb246a9accfb48ff820';
CREATE FUNCTION holdfast.read_machine(option text, value json) RETURNS text LANGUAGE plpgsql AS '14c08a4e9975a6058e7394c16df62c35';
CREATE FUNCTION holdfast.read_metadata(option text, value json) RETURNS text LANGUAGE plpgsql AS 'beafb2342fc81d35e25c69b9c446caaa';
CREATE FUNCTION holdfast.read_moment(option text, value json) RETURNS bigint LANGUAGE plpgsql AS '0d09e5afc66a6e0d96fc7d1ee82add8a';
CREATE FUNCTION holdfast.read_tags(option text, value json) RETURNS text LANGUAGE plpgsql AS 'c77cde32231ff77c15afa9fd933478e7';
CREATE FUNCTION holdfast.read_text(option text, value json, longest integer, name boolean) RETURNS text LANGUAGE plpgsql AS 'bc466c824296a4835846da2b76accf29';
CREATE FUNCTION holdfast.refuse(what text, seen text, todo text) RETURNS void LANGUAGE plpgsql AS 'd0141436b8b3a681768a9ac508652a3b';
CREATE FUNCTION holdfast.take_debounce(x holdfast.new_run, now_ms bigint) RETURNS text LANGUAGE plpgsql AS 'bbca7029104ae4c0f8553813f4381b59';
CREATE FUNCTION holdfast.take_key(x holdfast.new_run, now_ms bigint) RETURNS text LANGUAGE plpgsql AS '6332d36864c861ef1bd758f9e5053297';
CREATE FUNCTION holdfast.trigger(task text, payload json DEFAULT 'null'::json, options json DEFAULT '{}'::json) RETURNS text LANGUAGE plpgsql AS 'f2e29516d75c05fa0e6fe1d3a48375fb';
