-- compatible: 1
-- SQLite took the index of the list of what is put off to look for what is due: the state is asked for by it, and its time
-- is not in it, so all that is delayed was read and sorted each time. It uses such an index only where a statement has the
-- very words of its condition, so these are other words than those of the index by time.

DROP INDEX {s}run_put_off;
CREATE INDEX {p}run_put_off ON {s}run (state, id) WHERE state IN ('waiting', 'delayed');
