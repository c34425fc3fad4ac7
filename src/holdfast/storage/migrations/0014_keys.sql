-- compatible: 1
-- Who may ask over HTTP, and who changed what.

CREATE TABLE {s}api_key (
  id {text} PRIMARY KEY,
  name TEXT NOT NULL,
  hash {text} NOT NULL UNIQUE,                     -- SHA-256; the key itself is shown once, and kept nowhere
  ending TEXT NOT NULL,                            -- its last characters, for people to tell keys apart
  scopes TEXT NOT NULL,                            -- a JSON list
  created_at BIGINT NOT NULL,
  expires_at BIGINT,
  revoked_at BIGINT,
  used_at BIGINT                                   -- to the minute
);

CREATE TABLE {s}issuer (                           -- what this server signs its public tokens with; one row
  number INTEGER PRIMARY KEY,
  secret TEXT NOT NULL
);

CREATE TABLE {s}spent (                            -- public tokens for one use that have been used
  hash {text} PRIMARY KEY,
  call TEXT,                                       -- which call has used it, so that the same one may be sent again
  expires_at BIGINT NOT NULL
);

CREATE TABLE {s}audit (
  id {text} PRIMARY KEY,
  at BIGINT NOT NULL,
  actor TEXT NOT NULL,
  key_id {text},
  verb TEXT NOT NULL,
  subject TEXT NOT NULL,
  origin TEXT NOT NULL                             -- the address that called, or the machine
);
CREATE INDEX {p}audit_at ON {s}audit (at);
