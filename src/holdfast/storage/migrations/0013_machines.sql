-- compatible: 1
-- Machines: a route may be one of a machine, and each attempt keeps what it has used of it.

ALTER TABLE {s}route ADD COLUMN machine TEXT;      -- as machine.py writes it; NULL: none was asked for
ALTER TABLE {s}attempt ADD COLUMN usage TEXT;      -- JSON: CPU and wall time, peak memory
ALTER TABLE {s}done ADD COLUMN usage TEXT;         -- that of the last attempt

-- only: postgres

ALTER TABLE {s}name_due ADD COLUMN machine TEXT;

CREATE FUNCTION {s}read_machine(option TEXT, value JSON) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
  said TEXT := CASE WHEN json_typeof(value) = 'string' THEN value #>> '{}' END;
BEGIN
  IF said IS NULL OR said !~ '^(micro|small-[12]x|medium-[12]x|large-[12]x|[0-9]{1,3}([.][0-9]{1,3})?cpu-[1-9][0-9]{1,6}mb)$' THEN
    PERFORM {s}refuse(option || ' is not a machine', value::text, 'Write one of its names, such as "small-2x", or "1.5cpu-3072mb".');
  END IF;
  RETURN said;
END
$$;

CREATE OR REPLACE FUNCTION {s}trigger(task TEXT, payload JSON DEFAULT 'null', options JSON DEFAULT '{}') RETURNS TEXT LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET lock_timeout = '2s' AS $$
-- Make a run, in the transaction of whoever calls. The defaults are those that workers announced last.
DECLARE
  known CONSTANT TEXT := 'concurrency_key, debounce, delay, idempotency_key, idempotency_scope, idempotency_ttl, max_attempts, '
    'machine, max_duration, metadata, priority, queue, scheduled_for, tags, ttl';
  x {s}new_run;
  queue TEXT;
  usual JSON;
  attempts INTEGER;
  longest BIGINT;
  machine TEXT;
  option TEXT;
  value JSON;
BEGIN
  x.id := {s}new_id();
  x.task := {s}read_text('The id of a task', to_json(task), 128, true);
  x.payload := COALESCE(payload, 'null');
  SELECT t.queue, t.options::json INTO queue, usual FROM {s}task t WHERE t.id = x.task;
  x.ttl_ms := usual ->> 'ttl_ms';
  x.priority_ms := COALESCE((usual ->> 'priority_ms')::bigint, 0);
  machine := usual ->> 'machine';
  IF octet_length(x.payload) > 10485760 THEN
    PERFORM {s}refuse('The payload is too large', octet_length(x.payload) || ' bytes, and the limit is 10485760',
      'Keep what is large elsewhere, and pass its address.');
  ELSIF json_typeof(options) <> 'object' THEN
    PERFORM {s}refuse('The options are not a JSON object', options::text, 'Write {"delay": "5m"}.');
  END IF;
  FOR option, value IN SELECT e.key, e.value FROM json_each(options) e WHERE json_typeof(e.value) <> 'null' LOOP
    CASE option
      WHEN 'delay' THEN x.delay_ms := {s}read_duration(option, value);
      WHEN 'scheduled_for' THEN x.due_at := {s}read_moment(option, value);
      WHEN 'ttl' THEN x.ttl_ms := {s}read_duration(option, value, true);
      WHEN 'queue' THEN queue := {s}read_text(option, value, 200, true);
      WHEN 'concurrency_key' THEN x.concurrency_key := {s}read_text(option, value, 512, false);
      WHEN 'priority' THEN x.priority_ms := {s}read_head_start(option, value);
      WHEN 'idempotency_key' THEN
        x.idempotency_key := {s}read_text(option, value, 512, false);
        IF left(x.idempotency_key, 1) = chr(30) THEN
          PERFORM {s}refuse(option || ' begins with U+001E', value::text, 'Begin it otherwise.');
        END IF;
      WHEN 'idempotency_ttl' THEN x.idempotency_ttl_ms := {s}read_duration(option, value, true);
      WHEN 'idempotency_scope' THEN
        IF value::text <> '"global"' THEN
          PERFORM {s}refuse(option || ' can only be global in SQL', value::text, 'Leave it out.');
        END IF;
      WHEN 'tags' THEN x.tags := {s}read_tags(option, value);
      WHEN 'metadata' THEN x.metadata := {s}read_metadata(option, value);
      WHEN 'max_attempts' THEN attempts := {s}read_count(option, value);
      WHEN 'max_duration' THEN longest := {s}read_duration(option, value, true);
      WHEN 'machine' THEN machine := {s}read_machine(option, value);
      WHEN 'debounce' THEN x := {s}read_debounce(x, value);
      ELSE PERFORM {s}refuse(option || ' is not an option of a trigger', NULL, 'There are ' || known || '.');
    END CASE;
  END LOOP;
  IF x.delay_ms IS NOT NULL AND x.due_at IS NOT NULL THEN
    PERFORM {s}refuse('delay and scheduled_for are both given', options::text, 'Keep one of them.');
  ELSIF x.idempotency_ttl_ms IS NOT NULL AND x.idempotency_key IS NULL THEN
    PERFORM {s}refuse('idempotency_ttl is given without idempotency_key', NULL, 'Add the key, or leave out the ttl.');
  ELSIF x.debounce_key IS NOT NULL AND (x.delay_ms IS NOT NULL OR x.idempotency_key IS NOT NULL) THEN
    PERFORM {s}refuse('debounce is given together with delay or idempotency_key', options::text, 'Keep one of them.');
  END IF;
  queue := COALESCE(queue, 'task/' || x.task);
  x.queue_id := {s}hash63('queue', queue);
  x.route_id := CASE WHEN machine IS NULL THEN {s}hash63('route', 'task', queue, x.task, NULL)
                     ELSE {s}hash63('route', 'task', queue, x.task, NULL, machine) END;
  x.key_lane := CASE WHEN x.concurrency_key IS NOT NULL THEN {s}hash63('lane', queue, x.concurrency_key) END;
  x.idempotency_ttl_ms := COALESCE(x.idempotency_ttl_ms, 2592000000);
  x.options := NULLIF(json_strip_nulls(json_build_object('max_attempts', attempts,
    'max_duration_ms', longest, 'machine', machine))::text, '{}');
  INSERT INTO {s}name_due (queue, task, machine) SELECT queue, x.task, machine WHERE NOT EXISTS (SELECT FROM {s}route o WHERE o.id = x.route_id);
  RETURN {s}make_run(x, (extract(epoch FROM statement_timestamp()) * 1000)::bigint);
END
$$;

-- end
