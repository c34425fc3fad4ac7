"""Children: runs that an attempt triggers and waits for, or only triggers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, cast

from holdfast import codec
from holdfast.batch import batch_of
from holdfast.engine import read
from holdfast.errors import HoldfastError, InvalidOption, RunNotFound
from holdfast.model import Results, Run
from holdfast.records import NewEntry, NewRun, RunRecord
from holdfast.worker.journal import Asked

if TYPE_CHECKING:
    from holdfast.task import Task
    from holdfast.worker.durable import Operations

DEEPEST: Final = 50


async def carry_one(ops: Operations, asked: Asked, task: Task[Any, Any], payload: Any, options: Any) -> Any:
    """The output of a child. Raises what says how it ended otherwise."""
    if asked.entry is None:
        await make(ops, asked, [await task._child_run(ops.live.attempt.home, payload, options)])
    (record,) = await ended(ops, asked)
    try:
        return Run[Any](record, task.output_codec, partial(ops.host.logs, record.id)).output
    except HoldfastError:
        ops.journal.fail(asked)
        raise


async def carry_many(
    ops: Operations, asked: Asked, entries: Iterable[Any], task: Task[Any, Any] | None
) -> Results[Any]:
    """Many children, when the last one has ended."""
    batch = batch_of(entries, ops.live.attempt.home, None if task is None else task.item)
    if asked.entry is None:
        await make(ops, asked, batch.runs)
    records = await ended(ops, asked)
    if len(records) != len(batch.outputs):
        raise InvalidOption(
            "A replay asks for another number of children",
            seen=f"{len(batch.outputs)}, and {len(records)} are recorded",
            do="Make the list in a step, so that it is the same again.",
        )
    return Results(
        Run[Any](record, output, partial(ops.host.logs, record.id))
        for record, output in zip(records, batch.outputs, strict=True)
    )


async def make(ops: Operations, asked: Asked, runs: list[NewRun]) -> None:
    """Make the runs that this operation waits for."""
    adopt(ops, runs)
    for run in runs:
        run.parent_key = asked.key
    with ops.turns.operating():
        await ops.live.attempt.home.aprepare(runs)
    ids = codec.encode([run.id for run in runs])
    state = "open" if runs else "done"
    await ops.write(ops.entry(asked, state=state, remaining=len(runs), result=ids, runs=runs))


async def ended(ops: Operations, asked: Asked) -> list[RunRecord]:
    """The records of the runs that this operation has waited for.

    Raises:
        RunNotFound: one of them ended so long ago that it is not kept any more.
    """
    entry = await ops.outcome(asked)
    ids = cast("list[str]", codec.decode(entry.result or "[]"))
    with ops.turns.operating():
        records = cast("list[RunRecord]", await ops.host.store.read(read.runs, ids) if ids else [])
    if missing := set(ids) - {record.id for record in records}:
        raise RunNotFound(
            "What a child of this run has returned is not kept any more",
            seen=f"{min(missing)}, by {asked}",
            do="Replay this run from that child's task on, and keep runs for longer with HOLDFAST_RETENTION.",
        )
    return records


def recorded(ops: Operations, runs: list[NewRun], name: str) -> tuple[Asked, NewEntry | None]:
    """The entry for runs that are triggered and not waited for; none where they are recorded already."""
    asked = ops.ask("trigger", name)
    if asked.entry is not None:
        ops.turns.strike(asked.entry)
        return asked, None
    adopt(ops, runs)
    return asked, ops.entry(asked, result=codec.encode([[run.id, True] for run in runs]), runs=runs)


def adopt(ops: Operations, runs: list[NewRun]) -> None:
    """Place runs under this one; the fence is that of the entry which is written with them.

    Raises:
        InvalidOption: they are nested too deep.
    """
    claimed = ops.live.claimed
    for run in runs:
        run.depth, run.parent_claim = claimed.depth + 1, None
        if run.depth > DEEPEST:
            raise InvalidOption(
                f"Runs are nested more than {DEEPEST} deep",
                seen=f"run {claimed.id} of {claimed.task} triggers {run.task}",
                do="Look for a task that triggers itself without end.",
            )
