"""Make runs again: the same once more, with another payload, or from one of its steps on.

    copies      what to trigger for that, read from the runs as they stand
    carry_over  what such a run begins with: entries of the earlier run's journal, under its own id

A run from a step on finds in its journal what the earlier one had recorded when that step began, and goes through the
code up to there as any attempt does that starts again. It is inserted as if it had been claimed before, since that is
what a worker reads journals by.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from holdfast import jsontext, secret
from holdfast.errors import InvalidOption
from holdfast.ids import new_id
from holdfast.records import Kept, NewRun
from holdfast.storage.base import Tx

STEPS: Final = ("step", "child", "children")  # what a replay can begin with
KEEPS: Final = ("done", "failed", "expired")
NAMED: Final = 20


class Line(NamedTuple):
    """An entry, without its contents."""

    key: str
    seq: int
    branch: str
    kind: str
    name: str
    state: str
    settled: int | None
    started_at: int
    done_at: int | None


def copies(
    tx: Tx, ids: Sequence[str], *, payload: str | None = None, from_step: str | None = None
) -> dict[str, NewRun]:
    """What to trigger to do these runs once more, by their ids: same task, queue, payload and options; no key, no
    delay, and whatever version starts them. With another ``payload``, if one is given; and from this step on.

    A run that is unknown is not in the answer.

    Raises:
        InvalidOption: one of them has not recorded this step.
    """
    rows = {row[0]: row for row in tx.rows("runs", ids=list(ids))}
    bodies: dict[str, str] = dict(tx.rows("fill_blob", ids=list(ids), name="payload"))
    made = {run_id: copy(rows[run_id], bodies.get(run_id, "null")) for run_id in ids if run_id in rows}
    for earlier, run in made.items():
        if payload is not None:
            run.payload = with_secrets(payload, run.payload)
        if from_step is not None:
            lines = [Line._make(row) for row in tx.rows("journal_lines", run_id=earlier)]
            run.kept = Kept(earlier, from_step, kept(earlier, lines, from_step), compared=payload is None)
    return made


def with_secrets(payload: str, earlier: str) -> str:
    """A payload that was edited as it is shown, with the secrets of the earlier one where it has stars for them."""
    if secret.KEY not in earlier:
        return payload
    return jsontext.encode(secret.back_again(jsontext.decode(payload), jsontext.decode(earlier)))


def copy(row: tuple[Any, ...], body: str) -> NewRun:
    """The new run that repeats the one in this row of ``runs``; ``body`` is its payload, if that is not in the row."""
    (_, _, task, queue, payload, *_rest) = row
    key, priority, tags, metadata, options = row[14:19]
    return NewRun(
        id=new_id(),
        task=task,
        queue=queue,
        payload=body if payload is None else payload,
        concurrency_key=key,
        priority_ms=priority,
        tags=tags,
        metadata=metadata,
        options=options,
    )


def kept(run_id: str, lines: Sequence[Line], step: str) -> list[str]:
    """The keys of what was recorded when this step began for the first time, and was asked for before it."""
    found = [line for line in lines if line.kind in STEPS and step in (line.name, line.key)]
    if not found:
        raise unknown(run_id, lines, step)
    first = min(found, key=attrgetter("started_at", "seq"))
    return [line.key for line in lines if line.state in KEEPS and before(line, first)]


def before(line: Line, first: Line) -> bool:
    if line.done_at is None or line.done_at > first.started_at:
        return False
    if line.branch == first.branch and line.seq and first.seq:
        return line.seq < first.seq
    return first.settled is None or (line.settled or 0) < first.settled


def unknown(run_id: str, lines: Sequence[Line], step: str) -> InvalidOption:
    names = list(dict.fromkeys(line.name for line in lines if line.kind in STEPS))
    there = ", ".join(names[:NAMED]) + (", …" if len(names) > NAMED else "")
    return InvalidOption(
        "The run has recorded no such step",
        seen=f"{step} in run {run_id}",
        do=f"Its steps are: {there}." if names else "It has recorded no steps at all: replay it from the beginning.",
    )


def carry_over(tx: Tx, runs: Sequence[NewRun]) -> None:
    """Give these runs, which are made in this transaction, what they keep."""
    for run in runs:
        if run.kept is not None:
            origin = {"run_id": run.id, "earlier": run.kept.run_id}
            tx.send("keep_entries", keys=run.kept.keys, compared=int(run.kept.compared), **origin)
            tx.send("keep_origin", step=run.kept.step, **origin)
    if again := [run.id for run in runs if run.kept is not None]:
        tx.rows("mark_replayed", ids=again)
