-- compatible: 1
-- `run.suspect` says how many suspects like it a process may hold at once: 0, it is none; 1, it is tried alone.

DROP INDEX {s}run_suspect;
CREATE INDEX {p}run_suspect ON {s}run (suspect, id) WHERE suspect > 0 AND state = 'ready';
