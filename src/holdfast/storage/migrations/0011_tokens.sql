-- compatible: 1
-- Tokens that are made outside of runs: found by their tags and how they stand, and forgotten when that was long ago.

ALTER TABLE {s}token ADD COLUMN secret TEXT;                      -- the part of its URL that nobody can guess

CREATE TABLE {s}token_tag (
  tag TEXT NOT NULL,
  token_id {text} NOT NULL,
  PRIMARY KEY (tag, token_id)
);
CREATE INDEX {p}token_tag_token ON {s}token_tag (token_id);
CREATE INDEX {p}token_state ON {s}token (state, id);
CREATE INDEX {p}token_over ON {s}token ((COALESCE(completed_at, expires_at))) WHERE run_id IS NULL;
DROP INDEX {s}token_created;
