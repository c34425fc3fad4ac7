"""What readers ask of single runs. Lists and explanations for people are made in ``views``."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.records import LogLine, RunRecord
from holdfast.storage.base import Row, Tx

PART = 250  # runs in one statement: while the database reads the next, these are taken in


def runs(tx: Tx, ids: Sequence[str]) -> list[RunRecord]:
    """These runs, in the order asked for; those that are unknown are left out."""
    parts = [tx.send("runs", ids=list(ids[first : first + PART])) for first in range(0, len(ids), PART)]
    rows = {row[0]: row for part in parts for row in part.rows()}
    missing = [run_id for run_id, row in rows.items() if row[4] is None]
    payloads = bodies(tx, missing, "payload")
    outputs = bodies(
        tx,
        [run_id for run_id, row in rows.items() if row[1] == "completed" and row[5] is None],
        "output",
    )
    return [record(rows[run_id], payloads, outputs) for run_id in ids if run_id in rows]


def heads(tx: Tx, ids: Sequence[str]) -> list[RunRecord]:
    """The same without what is large: outputs are left out, and payloads, but where metadata could have a secret of
    theirs in it."""
    rows = {row[0]: row for row in tx.rows("runs", ids=list(ids))}
    telling = [run_id for run_id, row in rows.items() if row[4] is None and row[17] is not None]
    payloads = bodies(tx, telling, "payload")
    return [record(rows[run_id], payloads, {})._replace(output=None) for run_id in ids if run_id in rows]


def bodies(tx: Tx, ids: list[str], name: str) -> dict[str, str]:
    return dict(tx.rows("fill_blob", ids=ids, name=name)) if ids else {}


def record(row: Row, payloads: dict[str, str], outputs: dict[str, str]) -> RunRecord:
    found = RunRecord._make((*row[:27], row[28]))
    if found.queue and found.payload and found.output:  # as most are
        return found
    return found._replace(
        queue=found.queue or "",
        payload=found.payload or payloads.get(found.id, "null"),
        output=found.output or outputs.get(found.id),
    )


def run(tx: Tx, run_id: str) -> RunRecord | None:
    """One run, or None if it is unknown or pruned."""
    found = runs(tx, [run_id])
    return found[0] if found else None


def finished(tx: Tx, ids: Sequence[str]) -> list[RunRecord]:
    """Those of these runs that are final."""
    final = [row[0] for row in tx.rows("finished", ids=list(ids))]
    return runs(tx, final) if final else []


def batch(tx: Tx, batch_id: str) -> list[str]:
    """The ids of a batch's runs, in the order of its items."""
    return sorted(row[0] for row in tx.rows("batch_runs", batch_id=batch_id))


def logs(
    tx: Tx, run_id: str, *, after: tuple[int, int] = (0, 0), limit: int = 10_000, replayed: bool = False
) -> list[LogLine]:
    """What a run has written, in order; ``after`` is the (claim, seq) of the last line already known.

    ``replayed``: also what it has written again when it was replayed.
    """
    return [
        LogLine(*row)
        for row in tx.rows("logs", run_id=run_id, claim=after[0], seq=after[1], n=limit, replayed=int(replayed))
    ]
