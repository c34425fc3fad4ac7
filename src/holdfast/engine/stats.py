"""How many runs have ended, when and how: summed up from history as it grows.

A run that ends writes nothing for it: every ten seconds some host reads what has ended since the last time, once, along
the index of ends. So it costs those nothing who end runs, and it counts every end, whoever has brought it about. What
ends is counted after a few seconds, when nobody can still be about to commit an end of before.
"""

from __future__ import annotations

from holdfast.storage.base import Tx

AT_ONCE = 20_000
LATE_MS = 5_000  # how long a commit may take
BEGIN_MS = 24 * 3_600_000  # of the history that is there when it is summed up for the first time
MINUTES_MS = 48 * 3_600_000  # how long minutes are kept apart


def sum_up(tx: Tx) -> bool:
    """Count what has ended since the last time. Answers whether there is more."""
    row = tx.row("stat_until")
    if row is None:
        tx.rows("begin_stats", ago_ms=BEGIN_MS)
        return True
    since, until = int(row[0]), int(row[1]) - LATE_MS
    if until <= since:
        return False
    enough = tx.row("some_ends", since=since, until=until, n=AT_ONCE)
    until = until if enough is None else int(enough[0])
    tx.rows("sum_up", since=since, until=until)
    tx.rows("sum_up_together", since=since, until=until)
    tx.rows("sum_up_all", since=since, until=until)
    tx.rows("move_stats", at=until)
    return enough is not None


def fold(tx: Tx, retention_ms: int) -> bool:
    """Make one of the minutes of an hour that is long over. Answers whether there may be another one."""
    now = tx.now()
    tx.rows("prune_stats", before=(now - max(retention_ms, MINUTES_MS)) // 60_000)
    before = (now - MINUTES_MS) // 3_600_000 * 60
    row = tx.row("oldest_stat", before=before)
    if row is None or row[0] is None:
        return False
    hour = int(row[0]) // 60 * 60
    tx.rows("fold_stats", hour=hour)
    tx.rows("drop_folded", hour=hour)
    return True
