-- compatible: 1
-- Triggers from any language, and inside any transaction: `SELECT holdfast.trigger('task-id', '{"json": true}')`.
-- What the engine does on our own connections (engine/trigger.py, engine/debounce.py) is done here on those of others, in
-- one statement that any driver can send. SQLite has no stored functions: there an app lends its own connection.

-- only: postgres

CREATE TYPE {s}new_run AS (
  id TEXT, task TEXT, queue_id BIGINT, route_id BIGINT, key_lane BIGINT, concurrency_key TEXT, priority_ms BIGINT,
  due_at BIGINT, delay_ms BIGINT, ttl_ms BIGINT, payload TEXT, options TEXT, metadata TEXT, tags TEXT, version TEXT,
  idempotency_key TEXT, idempotency_ttl_ms BIGINT, parent_id TEXT, parent_claim INTEGER, root_id TEXT, batch_id TEXT,
  debounce_key TEXT, debounce_ms BIGINT, debounce_max_ms BIGINT, debounce_leading BOOLEAN
);

CREATE UNLOGGED TABLE {s}joined (                  -- what is left to do at a commit; a row of it is never seen by others
  run_id {text} PRIMARY KEY,
  made BOOLEAN NOT NULL,                           -- false: an earlier one, that was pushed back
  key_lane BIGINT,
  parent_id {text},
  parent_claim INTEGER
){churn_storage};

CREATE TABLE {s}name_due (                         -- notes: "this queue, or this task in it, is new", for the next sweep
  queue TEXT NOT NULL,
  task TEXT NOT NULL
);

-- Hashes and ids, as ids.py makes them.

CREATE FUNCTION {s}hash63(VARIADIC parts TEXT[]) RETURNS BIGINT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (('x' || encode(substr(sha256(COALESCE(string_agg(
      CASE WHEN part IS NULL THEN decode('00', 'hex')
           ELSE decode('01', 'hex') || int8send(octet_length(convert_to(part, 'UTF8'))) || convert_to(part, 'UTF8') END,
      NULL ORDER BY place), '')), 1, 8), 'hex'))::bit(64) >> 1)::bigint
  FROM unnest(parts) WITH ORDINALITY AS p(part, place)
$$;

CREATE FUNCTION {s}new_id() RETURNS TEXT LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
  -- The millisecond, the version, the part of the millisecond, the variant and 62 random bits.
  SELECT string_agg(substr('0123456789abcdefghjkmnpqrstvwxyz', substring(u.bits FROM 5 * i + 1 FOR 5)::bit(5)::int + 1, 1), ''
                    ORDER BY i)
  FROM (SELECT B'00' || (t.us / 1000)::bit(48) || B'0111' || ((t.us % 1000) * 4096 / 1000)::int::bit(12)
          || ('x' || right(encode(uuid_send(gen_random_uuid()), 'hex'), 16))::bit(64) AS bits
        FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) t) u, generate_series(0, 25) i
$$;

CREATE FUNCTION {s}home() RETURNS TEXT LANGUAGE plpgsql STABLE AS $$
-- Which database this is: the cluster, where we may ask, and the database in it.
DECLARE
  cluster TEXT := '';
BEGIN
  IF has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') THEN
    SELECT system_identifier::text INTO cluster FROM pg_catalog.pg_control_system();
  END IF;
  RETURN cluster || '/' || (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database());
END
$$;

-- Making a run.

CREATE FUNCTION {s}lane_of(queue_id BIGINT, key_lane BIGINT) RETURNS BIGINT LANGUAGE sql STABLE AS $$
  -- The rule of insert_runs: a lane only where there is a limit.
  SELECT CASE WHEN $2 IS NOT NULL AND COALESCE(q.cap_per_key_override, q.cap_per_key, q.rate_per_key) IS NOT NULL THEN $2
              WHEN COALESCE(q.cap_override, q.cap, q.rate) IS NOT NULL THEN $1 END
  FROM {s}queue q WHERE q.id = $1
$$;

CREATE FUNCTION {s}take_key(x {s}new_run, now_ms BIGINT) RETURNS TEXT LANGUAGE plpgsql AS $$
-- The run that has the idempotency key: this one, where nobody has it.
DECLARE
  owner TEXT;
BEGIN
  FOR turn IN 1..5 LOOP
    SELECT i.run_id INTO owner FROM {s}idempotency i
      WHERE i.task = x.task AND i.key = x.idempotency_key AND (i.expires_at IS NULL OR i.expires_at > now_ms);
    IF owner IS NULL THEN
      INSERT INTO {s}idempotency AS i (task, key, run_id, expires_at)
        VALUES (x.task, x.idempotency_key, x.id, now_ms + x.idempotency_ttl_ms)
        ON CONFLICT (task, key) DO NOTHING RETURNING i.run_id INTO owner;
    END IF;
    IF owner IS NULL THEN
      UPDATE {s}idempotency i SET run_id = x.id, expires_at = now_ms + x.idempotency_ttl_ms
        WHERE i.task = x.task AND i.key = x.idempotency_key AND i.expires_at <= now_ms RETURNING i.run_id INTO owner;
    END IF;
    IF owner IS NOT NULL THEN
      RETURN owner;
    END IF;
  END LOOP;
  RAISE EXCEPTION USING ERRCODE = 'HF002', HINT = 'Try again, or use keys that fewer runs share.',
    MESSAGE = format('this idempotency key is taken and freed all the time (%s)', x.idempotency_key);
END
$$;

CREATE FUNCTION {s}take_debounce(x {s}new_run, now_ms BIGINT) RETURNS TEXT LANGUAGE plpgsql AS $$
-- The delayed run that this trigger pushes back, or this one, where there is none.
DECLARE
  owner TEXT;
  moved TEXT;
BEGIN
  INSERT INTO {s}debounce AS d (task, key, run_id, limit_at)
    VALUES (x.task, x.debounce_key, x.id, now_ms + x.debounce_max_ms)
    ON CONFLICT (task, key) DO UPDATE SET key = excluded.key RETURNING d.run_id INTO owner;
  IF owner = x.id THEN
    RETURN owner;
  END IF;
  UPDATE {s}run r SET due_at = n.due, expire_at = r.expire_at + n.due - r.due_at,
    payload = CASE WHEN x.debounce_leading THEN r.payload WHEN length(x.payload) <= 8192 THEN x.payload END,
    metadata = CASE WHEN x.debounce_leading THEN r.metadata ELSE COALESCE(x.metadata, r.metadata) END
  FROM (SELECT d.run_id, GREATEST(x.due_at, LEAST(d.limit_at, now_ms + x.debounce_ms)) AS due
        FROM {s}debounce d WHERE d.task = x.task AND d.key = x.debounce_key) n
  WHERE r.id = n.run_id AND r.state = 'delayed' AND r.started_at IS NULL AND r.cancel_at IS NULL
  RETURNING r.id INTO moved;
  IF moved IS NULL THEN
    UPDATE {s}debounce d SET run_id = x.id, limit_at = now_ms + x.debounce_max_ms
      WHERE d.task = x.task AND d.key = x.debounce_key;
    RETURN x.id;
  END IF;
  IF NOT x.debounce_leading AND length(x.payload) > 8192 THEN
    INSERT INTO {s}blob (run_id, name, body) VALUES (moved, 'payload', x.payload)
      ON CONFLICT (run_id, name) DO UPDATE SET body = excluded.body;
  END IF;
  RETURN moved;
END
$$;

CREATE FUNCTION {s}insert_run(x {s}new_run, now_ms BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  due BIGINT := GREATEST(x.due_at, now_ms + x.delay_ms);
  lane BIGINT := {s}lane_of(x.queue_id, x.key_lane);
  big BOOLEAN := length(x.payload) > 8192;
  place TEXT := CASE WHEN due > now_ms THEN 'delayed' WHEN lane IS NOT NULL THEN 'held' ELSE 'ready' END;
BEGIN
  INSERT INTO {s}run (id, state, task, queue_id, route_id, lane_id, concurrency_key, priority_ms, sort_at, due_at, expire_at,
    created_at, payload, options, metadata, tags, version, idempotency_key, parent_id, root_id, batch_id)
  VALUES (x.id, place, x.task, x.queue_id, x.route_id, lane, x.concurrency_key, x.priority_ms,
    COALESCE(due, now_ms) - x.priority_ms, CASE WHEN due > now_ms THEN due END, COALESCE(due, now_ms) + x.ttl_ms,
    now_ms, CASE WHEN NOT big THEN x.payload END, x.options, x.metadata, x.tags, x.version, x.idempotency_key,
    x.parent_id, x.root_id, x.batch_id);
  IF big THEN
    INSERT INTO {s}blob (run_id, name, body) VALUES (x.id, 'payload', x.payload);
  END IF;
  IF x.tags IS NOT NULL THEN
    INSERT INTO {s}tag (tag, run_id) SELECT tag, x.id FROM json_array_elements_text(x.tags::json) tag;
  END IF;
  IF place = 'held' THEN
    INSERT INTO {s}lane_due (queue_id, lane_id) VALUES (x.queue_id, lane);
  END IF;
END
$$;

CREATE FUNCTION {s}make_run(x {s}new_run, now_ms BIGINT) RETURNS TEXT LANGUAGE plpgsql AS $$
-- The run this trigger leads to. It only appends, but for what the caller's own keys stand for.
DECLARE
  owner TEXT;
BEGIN
  IF x.parent_claim IS NOT NULL THEN
    PERFORM {s}hold_parent(x.parent_id, x.parent_claim, lock => false);
  END IF;
  IF x.idempotency_key IS NOT NULL THEN
    owner := {s}take_key(x, now_ms);
    IF owner <> x.id THEN
      RETURN owner;
    END IF;
  END IF;
  IF x.debounce_key IS NOT NULL THEN
    owner := {s}take_debounce(x, now_ms);
    x.delay_ms := LEAST(x.debounce_ms, x.debounce_max_ms);
  END IF;
  owner := COALESCE(owner, x.id);
  IF owner = x.id THEN
    PERFORM {s}insert_run(x, now_ms);
  END IF;
  INSERT INTO {s}joined (run_id, made, key_lane, parent_id, parent_claim)
    VALUES (owner, owner = x.id, x.key_lane, x.parent_id, x.parent_claim) ON CONFLICT (run_id) DO NOTHING;
  RETURN owner;
END
$$;

-- What must wait for the commit: until then the transaction may stay open for minutes, and nobody shall wait for it.

CREATE FUNCTION {s}hold_parent(parent TEXT, held INTEGER, lock BOOLEAN) RETURNS VOID LANGUAGE plpgsql AS $$
-- The fence: the attempt that triggers must hold its run still.
BEGIN
  IF lock THEN
    PERFORM FROM {s}run r WHERE r.id = parent AND r.claim = held AND r.state = 'executing' FOR SHARE;
  ELSE
    PERFORM FROM {s}run r WHERE r.id = parent AND r.claim = held AND r.state = 'executing';
  END IF;
  IF NOT FOUND THEN
    RAISE EXCEPTION USING ERRCODE = 'HF001',
      MESSAGE = format('this attempt no longer holds its run, so it may not trigger (run %s, claim %s)', parent, held),
      HINT = 'Let it end: the run has been taken over, or is finished.';
  END IF;
END
$$;

CREATE FUNCTION {s}at_commit() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET lock_timeout = '2s' AS $$
-- Lock the parent, see whether the queue was given a limit meanwhile, and wake who sleeps.
DECLARE
  made RECORD;
BEGIN
  DELETE FROM {s}joined j WHERE j.run_id = NEW.run_id;
  IF NEW.parent_claim IS NOT NULL THEN
    PERFORM {s}hold_parent(NEW.parent_id, NEW.parent_claim, lock => true);
  END IF;
  SELECT r.queue_id, {s}lane_of(r.queue_id, NEW.key_lane) AS lane_id INTO made FROM {s}run r
    WHERE NEW.made AND r.id = NEW.run_id AND r.lane_id IS DISTINCT FROM {s}lane_of(r.queue_id, NEW.key_lane)
      AND r.state IN ('delayed', 'held', 'ready');
  IF FOUND THEN
    UPDATE {s}run r SET lane_id = made.lane_id,
      state = CASE WHEN r.state = 'delayed' THEN 'delayed' WHEN made.lane_id IS NULL THEN 'ready' ELSE 'held' END
      WHERE r.id = NEW.run_id AND r.state IN ('delayed', 'held', 'ready');
    INSERT INTO {s}lane_due (queue_id, lane_id) SELECT made.queue_id, made.lane_id WHERE made.lane_id IS NOT NULL;
  END IF;
  PERFORM pg_notify('holdfast', '') FROM (SELECT 1 FROM {s}worker w WHERE w.idle = 1 AND w.state = 'live' LIMIT 1) sleeper;
  RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON {s}joined DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION {s}at_commit();

CREATE FUNCTION {s}join_runs(runs TEXT, home TEXT, at BIGINT) RETURNS TEXT LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET lock_timeout = '2s' AS $$
-- Runs as a client has prepared them, in the transaction of whoever calls; answers the ids they led to, as a JSON list.
-- Keys are taken in their order, so that two callers who share some wait for each other and not for ever.
DECLARE
  now_ms BIGINT := COALESCE(at, (extract(epoch FROM statement_timestamp()) * 1000)::bigint);
  ids TEXT[];
  one RECORD;
BEGIN
  IF home <> {s}home() THEN
    RAISE EXCEPTION USING ERRCODE = 'HF003', MESSAGE = format('this is another database (%s, and not %s)', {s}home(), home);
  END IF;
  FOR one IN
    SELECT e.place, x FROM json_array_elements(runs::json) WITH ORDINALITY e(run, place),
      LATERAL json_populate_record(NULL::{s}new_run, e.run) x
    ORDER BY x.task, x.idempotency_key, x.debounce_key, e.place
  LOOP
    ids[one.place] := {s}make_run(one.x, now_ms);
  END LOOP;
  RETURN to_json(ids);
END
$$;

-- The options of a trigger, as options.py reads them.

CREATE FUNCTION {s}refuse(what TEXT, seen TEXT, todo TEXT) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = '22023', HINT = todo,
    MESSAGE = what || COALESCE(' (' || CASE WHEN length(seen) > 80 THEN left(seen, 77) || '...' ELSE seen END || ')', '');
END
$$;

CREATE FUNCTION {s}read_text(option TEXT, value JSON, longest INTEGER, name BOOLEAN) RETURNS TEXT LANGUAGE plpgsql AS $$
-- A name is one line that people read; a key is whatever a program has at hand.
DECLARE
  said TEXT := CASE WHEN json_typeof(value) = 'string' THEN value #>> '{}' END;
BEGIN
  IF said IS NULL THEN
    PERFORM {s}refuse(option || ' is not a string', value::text, 'Write it as text.');
  ELSIF said = '' OR length(said) > longest OR (name AND (said ~ '[[:cntrl:]]' OR said <> btrim(said))) THEN
    PERFORM {s}refuse(option || ' cannot be used', value::text, format('Write 1 to %s %scharacters.', longest,
      CASE WHEN name THEN 'printable ' ELSE '' END));
  END IF;
  RETURN said;
END
$$;

CREATE FUNCTION {s}read_duration(option TEXT, value JSON, lasting BOOLEAN DEFAULT false) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  said TEXT := btrim(value #>> '{}', E' \t\n\r');
  number CONSTANT TEXT := '([0-9]+(?:[.][0-9]+)?)[[:space:]]*';
  negative BOOLEAN := said ~ '^-';
  parts TEXT[];
  ms NUMERIC;
BEGIN
  IF json_typeof(value) = 'number' THEN
    ms := said::numeric * 1000;
  ELSIF json_typeof(value) = 'string' AND said NOT IN ('', '-') THEN
    parts := regexp_match(said, '^-?[[:space:]]*(?:' || array_to_string(ARRAY(
      SELECT number || unit FROM unnest(ARRAY['w', 'd', 'h', 'm', 's', 'ms']) unit), ')?[[:space:]]*(?:') || ')?$');
    IF parts IS NOT NULL THEN
      ms := (SELECT sum(COALESCE(part::numeric, 0) * size)
             FROM unnest(parts, ARRAY[604800000, 86400000, 3600000, 60000, 1000, 1]) p(part, size));
    END IF;
  END IF;
  IF ms IS NULL THEN
    PERFORM {s}refuse(option || ' is not a duration', value::text, 'Write it like "1h30m", "5s" or "250ms", or as seconds.');
  ELSIF ms < 0 OR ms > 31536000000000 OR (negative AND parts IS NOT NULL) THEN
    PERFORM {s}refuse(option || CASE WHEN negative THEN ' cannot be negative' ELSE ' is longer than a thousand years' END,
      value::text, 'Write it like "1h30m", "5s" or "250ms", or as seconds.');
  ELSIF ms = 0 AND lasting THEN
    PERFORM {s}refuse(option || ' is no time at all', value::text, 'Leave it out for no limit.');
  END IF;
  RETURN CASE WHEN ms > 0 THEN GREATEST(1, round(ms)) ELSE 0 END;
END
$$;

CREATE FUNCTION {s}read_moment(option TEXT, value JSON) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
  said TEXT := value #>> '{}';
BEGIN
  IF json_typeof(value) = 'string' AND said ~ '^[0-9]{4,5}-[0-9]{2,2}-[0-9]{2,2}[T ][0-9:.]+ ?(Z|z|[+-][0-9:]+)$' THEN
    BEGIN
      RETURN floor(extract(epoch FROM said::timestamptz) * 1000);
    EXCEPTION WHEN data_exception THEN
      NULL;
    END;
  END IF;
  PERFORM {s}refuse(option || ' is not a time with its zone', value::text, 'Write it like "2027-01-01T09:00:00Z".');
END
$$;

CREATE FUNCTION {s}read_count(option TEXT, value JSON) RETURNS INTEGER LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'number' OR value::text !~ '^[1-9][0-9]{0,6}$' OR value::text::int > 1000000 THEN
    PERFORM {s}refuse(option || ' is not a whole number of at least 1', value::text, 'Write 1 or more.');
  END IF;
  RETURN value::text::int;
END
$$;

CREATE FUNCTION {s}read_head_start(option TEXT, value JSON) RETURNS BIGINT LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'number' OR abs(value::text::numeric) > 315360000 THEN
    PERFORM {s}refuse(option || ' is not a number of seconds', value::text, 'Write the head start in seconds, such as 10.');
  END IF;
  RETURN round(value::text::numeric * 1000);
END
$$;

CREATE FUNCTION {s}read_tags(option TEXT, value JSON) RETURNS TEXT LANGUAGE plpgsql AS $$
DECLARE
  tags TEXT[];
BEGIN
  IF json_typeof(value) <> 'array' THEN
    PERFORM {s}refuse(option || ' is not a list of strings', value::text, 'Write {"tags": ["signup"]}.');
  END IF;
  tags := ARRAY(SELECT said FROM (SELECT {s}read_text('A tag', tag, 128, true) AS said, place
    FROM json_array_elements(value) WITH ORDINALITY e(tag, place)) t GROUP BY said ORDER BY min(place));
  IF cardinality(tags) > 20 THEN
    PERFORM {s}refuse(option || ' has more than 20 entries', cardinality(tags)::text, 'Put what is data into metadata.');
  END IF;
  RETURN to_json(tags);
END
$$;

CREATE FUNCTION {s}read_metadata(option TEXT, value JSON) RETURNS TEXT LANGUAGE plpgsql AS $$
BEGIN
  IF json_typeof(value) <> 'object' THEN
    PERFORM {s}refuse(option || ' is not a JSON object', value::text, 'Write {"metadata": {"step": 1}}.');
  ELSIF octet_length(value::text) > 262144 THEN
    PERFORM {s}refuse('The metadata of the run is too large', octet_length(value::text) || ' bytes, and the limit is 262144',
      'Keep what is large elsewhere, and pass its address.');
  END IF;
  RETURN value;
END
$$;

CREATE FUNCTION {s}read_debounce(x {s}new_run, value JSON) RETURNS {s}new_run LANGUAGE plpgsql AS $$
DECLARE
  option TEXT;
  said JSON;
BEGIN
  IF json_typeof(value) <> 'object' THEN
    PERFORM {s}refuse('debounce is not an object', value::text, 'Write {"debounce": {"key": "user-1", "delay": "10s"}}.');
  END IF;
  x.debounce_leading := false;
  FOR option, said IN SELECT e.key, e.value FROM json_each(value) e WHERE json_typeof(e.value) <> 'null' LOOP
    CASE option
      WHEN 'key' THEN x.debounce_key := {s}read_text('The key of debounce', said, 512, false);
      WHEN 'delay' THEN x.debounce_ms := {s}read_duration('The delay of debounce', said, true);
      WHEN 'max_delay' THEN x.debounce_max_ms := {s}read_duration('The max_delay of debounce', said, true);
      WHEN 'leading' THEN
        IF json_typeof(said) <> 'boolean' THEN
          PERFORM {s}refuse('leading of debounce is not true or false', said::text, 'Write true to keep the first payload.');
        END IF;
        x.debounce_leading := said::text::boolean;
      ELSE PERFORM {s}refuse(option || ' is not an option of debounce', NULL, 'There are delay, key, leading, max_delay.');
    END CASE;
  END LOOP;
  IF x.debounce_key IS NULL OR x.debounce_ms IS NULL THEN
    PERFORM {s}refuse('debounce has no key, or no delay', value::text, 'Write {"debounce": {"key": "user-1", "delay": "10s"}}.');
  ELSIF x.debounce_max_ms < x.debounce_ms THEN
    PERFORM {s}refuse('The max_delay of debounce is shorter than its delay', value::text, 'Give it more than the delay.');
  END IF;
  RETURN x;
END
$$;

CREATE FUNCTION {s}trigger(task TEXT, payload JSON DEFAULT 'null', options JSON DEFAULT '{}') RETURNS TEXT LANGUAGE plpgsql
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET lock_timeout = '2s' AS $$
-- Make a run, in the transaction of whoever calls. The defaults are those that workers announced last.
DECLARE
  known CONSTANT TEXT := 'concurrency_key, debounce, delay, idempotency_key, idempotency_scope, idempotency_ttl, max_attempts, '
    'max_duration, metadata, priority, queue, scheduled_for, tags, ttl';
  x {s}new_run;
  queue TEXT;
  usual JSON;
  attempts INTEGER;
  longest BIGINT;
  option TEXT;
  value JSON;
BEGIN
  x.id := {s}new_id();
  x.task := {s}read_text('The id of a task', to_json(task), 128, true);
  x.payload := COALESCE(payload, 'null');
  SELECT t.queue, t.options::json INTO queue, usual FROM {s}task t WHERE t.id = x.task;
  x.ttl_ms := usual ->> 'ttl_ms';
  x.priority_ms := COALESCE((usual ->> 'priority_ms')::bigint, 0);
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
  x.route_id := {s}hash63('route', 'task', queue, x.task, NULL);
  x.key_lane := CASE WHEN x.concurrency_key IS NOT NULL THEN {s}hash63('lane', queue, x.concurrency_key) END;
  x.idempotency_ttl_ms := COALESCE(x.idempotency_ttl_ms, 2592000000);
  x.options := NULLIF(json_strip_nulls(json_build_object('max_attempts', attempts, 'max_duration_ms', longest))::text, '{}');
  INSERT INTO {s}name_due (queue, task) SELECT queue, x.task WHERE NOT EXISTS (SELECT FROM {s}route o WHERE o.id = x.route_id);
  RETURN {s}make_run(x, (extract(epoch FROM statement_timestamp()) * 1000)::bigint);
END
$$;

COMMENT ON FUNCTION {s}trigger(TEXT, JSON, JSON) IS
  'Make a run of a task: SELECT holdfast.trigger(''send-mail'', ''{"to": 1}'', ''{"delay": "5m"}''). Answers its id.';
-- What these write, their owner writes for others; so who may call them is said, and not assumed.
REVOKE EXECUTE ON FUNCTION {s}trigger(TEXT, JSON, JSON), {s}join_runs(TEXT, TEXT, BIGINT), {s}at_commit() FROM PUBLIC;

-- end
