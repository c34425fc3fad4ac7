"""Children: runs that an attempt triggers and waits for, or only triggers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from holdfast import codec
from holdfast.batch import batch_of
from holdfast.codec import Codec
from holdfast.engine import read
from holdfast.errors import HoldfastError, InvalidOption, RunNotFound
from holdfast.model import Results, Run
from holdfast.records import NewEntry, NewRun, RunRecord
from holdfast.worker.journal import Asked

if TYPE_CHECKING:
    from holdfast.task import Task
    from holdfast.worker.durable import Operations


async def carry_one(ops: Operations, asked: Asked, task: Task[Any, Any], payload: Any, options: Any) -> Any:
    """The output of a child. Raises what says how it ended otherwise."""
    if asked.entry is None:
        await make(ops, asked, [await task._child_run(ops.live.attempt.home, payload, options)])
    (record,) = await ended(ops, asked)
    try:
        return snapshot(ops, record, task.output_codec).output
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
    elif asked.entry.state == "again":
        await make_again(ops, asked, batch.runs)
    records = await ended(ops, asked, len(batch.runs))
    if any(record.status != "completed" for record in records):
        ops.journal.fail(asked)
    return Results([snapshot(ops, record, output) for record, output in zip(records, batch.outputs, strict=True)])


def snapshot(ops: Operations, record: RunRecord, output: Codec[Any]) -> Run[Any]:
    return Run(record, output, partial(ops.host.logs, record.id))


async def make(ops: Operations, asked: Asked, runs: list[NewRun]) -> None:
    """Make the runs that this operation waits for."""
    await write(ops, asked, runs, [run.id for run in runs])


async def make_again(ops: Operations, asked: Asked, runs: list[NewRun]) -> None:
    """Some have failed, and with them the attempt before this one: make those anew."""
    earlier = await ended(ops, asked, len(runs))
    pairs = list(zip(earlier, runs, strict=True))
    anew = [run for record, run in pairs if record.status != "completed"]
    ids = [record.id if record.status == "completed" else run.id for record, run in pairs]
    await write(ops, asked, anew, ids)


async def write(ops: Operations, asked: Asked, runs: list[NewRun], ids: list[str]) -> None:
    """Make these runs, and record all those that the operation is about."""
    for run in runs:
        run.parent_key, run.parent_claim = asked.key, None  # the fence is that of the entry which is written with them
    with ops.turns.operating():
        await ops.live.attempt.home.aprepare(runs)
    state = "open" if runs else "done"
    here = ops.host.coming.choose(runs)
    await ops.write(ops.entry(asked, state=state, remaining=len(runs), result=codec.encode(ids), runs=runs, here=here))


async def ended(ops: Operations, asked: Asked, n: int = 1) -> list[RunRecord]:
    """The records of the ``n`` runs that this operation has waited for.

    Raises:
        InvalidOption: they are not so many.
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
    if len(records) != n:
        raise InvalidOption(
            "A replay asks for another number of children",
            seen=f"{n}, and {len(records)} are recorded",
            do="Make the list in a step, so that it is the same again.",
        )
    return records


def recorded(ops: Operations, runs: list[NewRun], name: str) -> tuple[Asked, NewEntry | None]:
    """The entry for runs that are triggered and not waited for; none where they are recorded already."""
    asked = ops.ask("trigger", name)
    if asked.entry is not None:
        ops.turns.strike(asked.entry)
        return asked, None
    for run in runs:
        run.parent_claim = None
    return asked, ops.entry(asked, result=codec.encode([[run.id, True] for run in runs]), runs=runs)
