"""``holdfast runs cancel`` and ``replay``: of runs by id, or of all that a filter finds once it has shown how many.

What a filter finds is changed in steps; interrupted, the same command goes on with what is left.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Final

import msgspec
import typer

from holdfast import codec
from holdfast.batch import Batch as BatchOfRuns
from holdfast.bulk import OPEN, UNDONE, Change, Survey, survey
from holdfast.cli.audited import record
from holdfast.cli.options import App, Database, Json, Yes
from holdfast.cli.place import opened
from holdfast.cli.runs.filters import Batch, QueueOption, Since, Status, Tag, TaskOption, is_empty, read_filter
from holdfast.cli.show import clean, err, note, out, plural, print_json, styled
from holdfast.cli.trigger import read_json, read_text
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.engine.cancel import cancel as cancel_runs
from holdfast.errors import InvalidOption, RunNotFound
from holdfast.ids import new_id
from holdfast.views import Filter

CHUNK: Final = 500
INTERRUPTED: Final = 130

WORDS: Final = {
    "canceled": "canceled.",
    "requested": "asked to stop.",
    "final": "ended meanwhile.",
    "unknown": "gone.",
    "replayed": "triggered again.",
    "known": "replayed before, and left alone.",
}

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="The ids of runs. Without any, a filter.", show_default=False),
]
Most = Annotated[
    int | None,
    typer.Option("--limit", "-n", metavar="N", min=1, help="The newest so many, at most.", show_default=False),
]
All = Annotated[bool, typer.Option("--all", metavar="", help="All that the filter finds, without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", metavar="", help="Only show how many they are.")]


def cancel(
    ids: Ids = None,
    status: Status = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    tag: Tag = None,
    batch: Batch = None,
    since: Since = None,
    limit: Most = None,
    every: All = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Cancel runs. One that waits in line ends at once; one that executes is asked to stop.

    Runs are given by id, or found by a filter: then it shows how many they are, and asks.
    """
    meant = Meant("Cancel", ids, read_filter(status, task, queue, tag, batch, since), limit, every, dry_run, yes)
    with opened(database, app) as client:
        if not meant.ids:
            change_found(client, meant, OPEN, json=json)
            return
        outcomes: dict[str, str] = {}
        for chunk in chunks(meant.ids):
            outcomes |= client.write(cancel_runs, chunk)
            record(client, "runs cancel", " ".join(chunk))
    if json:
        print_json({"runs": [{"id": run_id, "outcome": outcome} for run_id, outcome in outcomes.items()]})
    else:
        tell_canceled(outcomes)
    if "unknown" in outcomes.values():
        unknown = next(run_id for run_id, outcome in outcomes.items() if outcome == "unknown")
        raise RunNotFound("There is no run with this id, or no longer", seen=unknown, do="See holdfast runs list.")


def replay(
    ids: Ids = None,
    status: Status = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    tag: Tag = None,
    batch: Batch = None,
    since: Since = None,
    limit: Most = None,
    every: All = False,
    dry_run: DryRun = False,
    payload: Annotated[
        str | None,
        typer.Option(
            "--payload",
            metavar="JSON",
            help="Another payload. @FILE reads it from a file, - from standard input.",
            show_default=False,
        ),
    ] = None,
    from_step: Annotated[
        str | None,
        typer.Option("--from-step", metavar="NAME", help="Keep what was recorded before it.", show_default=False),
    ] = None,
    yes: Yes = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Trigger runs again, with the same payload and options, as new runs.

    Runs are given by id, or found by a filter: then it shows how many they are, and asks.

    A filter that names no status means those that ended badly.

    With --from-step, a run goes on from that step of the earlier one: what had been recorded before it is kept.
    """
    meant = Meant("Replay", ids, read_filter(status, task, queue, tag, batch, since), limit, every, dry_run, yes)
    text = edited(meant.ids, payload, from_step)
    made: list[tuple[str, str]] = []
    with opened(database, app) as client:
        if not meant.ids:
            change_found(client, meant, UNDONE, json=json)
            return
        for chunk in chunks(meant.ids):
            made += replayed(client, chunk, text, from_step)
            record(client, "runs replay", " ".join(chunk))
    if json:
        print_json({"runs": [{"id": run_id, "replay_of": earlier} for earlier, run_id in made]})
    for earlier, run_id in [] if json else made:
        out().print(f"{run_id} replays {earlier}", soft_wrap=True)


def edited(ids: list[str], payload: str | None, from_step: str | None) -> str | None:
    """The other payload, as JSON text.

    Raises:
        InvalidOption: these options are not for what is meant, or the payload is not JSON.
    """
    if from_step is not None and not ids:
        raise InvalidOption("A step is one of a run's own", seen=from_step, do="Give the ids of the runs.")
    if payload is None:
        return None
    if len(ids) != 1:
        raise InvalidOption("A payload is for one run", seen=f"{len(ids)} ids", do="Give the id of that run.")
    return codec.encode(read_json(read_text(payload), "The payload"))


def replayed(
    client: Client, ids: list[str], payload: str | None = None, from_step: str | None = None
) -> list[tuple[str, str]]:
    """Trigger these once more, in one batch; answers the earlier and the new id of each.

    Raises:
        RunNotFound, InvalidOption: one of them is not there, or has no such step; none of this batch was triggered.
    """
    runs = client.copies(ids, payload, from_step)
    client.batch_trigger(BatchOfRuns(new_id(), runs, [AnyCodec()] * len(runs)))
    return [(earlier, run.id) for earlier, run in zip(ids, runs, strict=True)]


# -- what a filter finds ----------------------------------------------------------------------------------------------


class Meant:
    """Which runs are meant, and whether somebody has agreed already.

    Raises:
        InvalidOption: ids and a filter are both given, or neither.
    """

    def __init__(
        self, verb: str, ids: Sequence[str] | None, wanted: Filter, limit: int | None, every: bool, dry: bool, yes: bool
    ) -> None:
        self.verb, self.wanted, self.limit, self.dry = verb, wanted, limit, dry
        self.ids = list(dict.fromkeys(ids or ()))
        self.agreed = yes or (every and not is_empty(wanted))
        if ids and (every or not is_empty(wanted)):
            raise InvalidOption("Ids and a filter are both given", seen=ids[0], do="Give the one or the other.")
        if ids and dry:
            raise InvalidOption("A dry run counts what a filter finds", seen=ids[0], do="Leave out --dry-run.")
        if not ids and not every and is_empty(wanted):
            raise InvalidOption(
                f"{verb} which runs?",
                do="Give their ids, or a filter such as --task, --queue, --status, --tag or --since; --all is all.",
            )


def change_found(client: Client, meant: Meant, usual: frozenset[str], *, json: bool) -> None:
    """Show what the filter finds, and change it once somebody has agreed.

    Raises:
        InvalidOption: nobody is there to ask.
    """
    wanted = msgspec.structs.replace(meant.wanted, statuses=meant.wanted.statuses or usual)
    found = survey(client, Survey(wanted, meant.limit))
    if meant.dry:
        tell_found(meant.verb, found, json=json)
        return
    if found.ids:
        preview(meant.verb, found)
        agree(meant.verb, len(found.ids), yes=meant.agreed)
    change = Change(found.ids, replay=meant.verb == "Replay")
    try:
        with progress_of(change):
            change.make(client)
    except KeyboardInterrupt:
        note(f"Interrupted: {change.state().done} of {plural(change.total, 'run')} are done. The same command goes on.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if change.total:
            record(client, f"runs {meant.verb.lower()}", f"{plural(change.state().done, 'run')} that a filter found")
        tell_changed(change, json=json)


def tell_found(verb: str, found: Survey, *, json: bool) -> None:
    if json:
        by = [{"task": task, "status": status, "runs": runs} for (task, status), runs in found.counts.most_common()]
        print_json({"dry_run": True, "total": len(found.ids), "by": by})
        return
    preview(verb, found)
    out().print(f"{plural(len(found.ids), 'run')}. Nothing was changed.")


@contextmanager
def progress_of(change: Change) -> Iterator[None]:
    """A bar on a terminal, while it takes longer than a step."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=err(), transient=True, disable=not err().is_terminal) as bar:
        task = bar.add_task("", total=change.total)
        change.progress = lambda state: bar.update(task, completed=state.done)
        yield


def tell_changed(change: Change, *, json: bool) -> None:
    """What was done, also if that is not all."""
    if json and change.batch_id is None:
        print_json({"runs": [{"id": each.id, "outcome": each.outcome} for each in change.changed]})
    elif json:
        made = [{"id": each.made, "replay_of": each.id} for each in change.changed if each.made is not None]
        print_json({"runs": made, "batch_id": change.batch_id if made else None, "known": change.outcomes["known"]})
    elif not change.total:
        note("No runs.")
    else:
        for outcome, count in change.outcomes.most_common():
            out().print(f"{plural(count, 'run')} {WORDS[outcome]}")
        if change.outcomes["replayed"]:
            out().print(f"Follow them: holdfast runs list --batch {change.batch_id}", soft_wrap=True)


def preview(verb: str, found: Survey) -> None:
    """Say on stderr what would happen to what."""
    from rich.text import Text

    counts = found.counts
    err().print(f"{verb} {plural(len(found.ids), 'run')}:", style="bold")
    for (task, status), count in counts.most_common(20):
        line = Text(f"  {count:>9,}  ").append_text(styled(status)).append(f"  {clean(task)}")
        err().print(line, soft_wrap=True)
    if len(counts) > 20:
        err().print(f"  … and {len(counts) - 20} more tasks")


def agree(verb: str, count: int, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InvalidOption(f"Nobody is there to agree to {plural(count, 'run')}", do="Say --yes.")
    typer.confirm("Go on?", abort=True, err=True)


def chunks(ids: Sequence[str]) -> list[list[str]]:
    return [list(ids[start : start + CHUNK]) for start in range(0, len(ids), CHUNK)]


def tell_canceled(outcomes: dict[str, str]) -> None:
    said = {
        "canceled": "canceled",
        "requested": "asked to stop: its worker ends it, see runs show",
        "final": "was final already",
    }
    for run_id, outcome in outcomes.items():
        if outcome in said:
            out().print(f"{run_id} {said[outcome]}", soft_wrap=True)
