-- compatible: 1
-- Runs that are made through a caller's own connection are nested as deep as their parents are, plus one.

-- only: postgres

CREATE OR REPLACE FUNCTION {s}insert_run(x {s}new_run, now_ms BIGINT) RETURNS VOID LANGUAGE plpgsql AS $$
DECLARE
  due BIGINT := GREATEST(x.due_at, now_ms + x.delay_ms);
  lane BIGINT := {s}lane_of(x.queue_id, x.key_lane);
  big BOOLEAN := length(x.payload) > 8192;
  place TEXT := CASE WHEN due > now_ms THEN 'delayed' WHEN lane IS NOT NULL THEN 'held' ELSE 'ready' END;
BEGIN
  INSERT INTO {s}run (id, state, task, queue_id, route_id, lane_id, concurrency_key, priority_ms, sort_at, due_at, expire_at,
    created_at, payload, options, metadata, tags, version, idempotency_key, parent_id, root_id, batch_id, depth)
  VALUES (x.id, place, x.task, x.queue_id, x.route_id, lane, x.concurrency_key, x.priority_ms,
    COALESCE(due, now_ms) - x.priority_ms, CASE WHEN due > now_ms THEN due END, COALESCE(due, now_ms) + x.ttl_ms,
    now_ms, CASE WHEN NOT big THEN x.payload END, x.options, x.metadata, x.tags, x.version, x.idempotency_key,
    x.parent_id, x.root_id, x.batch_id,
    COALESCE((SELECT p.depth + 1 FROM {s}run p WHERE p.id = x.parent_id AND x.parent_claim IS NOT NULL), 0));
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

-- end
