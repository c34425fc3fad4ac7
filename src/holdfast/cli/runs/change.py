"""``holdfast runs cancel`` and ``replay``: of runs by id, or of all that a filter finds once it has shown how many."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from holdfast import views
from holdfast.batch import Batch as BatchOfRuns
from holdfast.cli.options import App, Database, Json, Yes
from holdfast.cli.place import opened
from holdfast.cli.runs.filters import Batch, QueueOption, Since, Status, Tag, TaskOption, is_empty, read_filter
from holdfast.cli.show import clean, err, note, out, plural, print_json, styled
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.engine.cancel import cancel as cancel_runs
from holdfast.engine.cancel import copies
from holdfast.errors import InvalidOption, RunNotFound
from holdfast.ids import new_id
from holdfast.model import FINAL, STATUSES
from holdfast.views import Filter

CHUNK: Final = 500
OPEN: Final = frozenset(STATUSES) - FINAL
UNDONE: Final = FINAL - {"completed", "canceled"}  # what one means by "again" when one does not say

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN", help="The ids of runs. Without any, a filter.", show_default=False),
]
Most = Annotated[
    int | None,
    typer.Option("--limit", "-n", metavar="N", min=1, help="The newest so many, at most.", show_default=False),
]


def cancel(
    ids: Ids = None,
    status: Status = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    tag: Tag = None,
    batch: Batch = None,
    since: Since = None,
    limit: Most = None,
    yes: Yes = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Cancel runs. One that waits in line ends at once; one that executes is asked to stop.

    Runs are given by id, or found by a filter: then it shows how many they are, and asks.
    """
    wanted = read_filter(status, task, queue, tag, batch, since)
    with opened(database, app) as client:
        chosen = choose(client, ids, wanted, OPEN, limit=limit, verb="Cancel", yes=yes)
        outcomes: dict[str, str] = {}
        for chunk in chunks(chosen):
            outcomes |= client.write(cancel_runs, chunk)
    if json:
        print_json({"runs": [{"id": run_id, "outcome": outcome} for run_id, outcome in outcomes.items()]})
    else:
        tell_canceled(outcomes, by_id=bool(ids))
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
    yes: Yes = False,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Trigger runs again, with the same payload and options, as new runs.

    Runs are given by id, or found by a filter: then it shows how many they are, and asks.

    A filter that names no status means those that ended badly.
    """
    wanted = read_filter(status, task, queue, tag, batch, since)
    made: list[tuple[str, str]] = []
    with opened(database, app) as client:
        chosen = choose(client, ids, wanted, UNDONE, limit=limit, verb="Replay", yes=yes)
        for chunk in chunks(chosen):
            made += replayed(client, chunk)
    if json:
        print_json({"runs": [{"id": run_id, "replay_of": earlier} for earlier, run_id in made]})
    elif ids:
        for earlier, run_id in made:
            out().print(f"{run_id} replays {earlier}", soft_wrap=True)
    else:
        out().print(f"{plural(len(made), 'run')} triggered again.")


def replayed(client: Client, ids: list[str]) -> list[tuple[str, str]]:
    """Trigger these once more, in one batch; answers the earlier and the new id of each.

    Raises:
        RunNotFound: one of them is not there; none of this batch was triggered.
    """
    runs = client.read(copies, ids)
    if len(runs) < len(ids):
        there = {each.id for each in client.read(views.listed_runs, ids)}
        missing = next((run_id for run_id in ids if run_id not in there), ids[0])
        raise RunNotFound("There is no run with this id, or no longer", seen=missing, do="See holdfast runs list.")
    client.batch_trigger(BatchOfRuns(new_id(), runs, [AnyCodec()] * len(runs)))
    return [(earlier, run.id) for earlier, run in zip(ids, runs, strict=True)]


# -- choosing ---------------------------------------------------------------------------------------------------------


def choose(
    client: Client,
    ids: Sequence[str] | None,
    wanted: Filter,
    usual: frozenset[str],
    *,
    limit: int | None,
    verb: str,
    yes: bool,
) -> list[str]:
    """The runs that are meant, oldest first: those named, or those found by the filter once somebody has agreed.

    Raises:
        InvalidOption: both or neither were given; or nobody is there to ask.
    """
    if ids and not is_empty(wanted):
        raise InvalidOption("Ids and a filter are both given", seen=ids[0], do="Give the one or the other.")
    if ids:
        return list(dict.fromkeys(ids))
    if is_empty(wanted):
        raise InvalidOption(
            f"{verb} which runs?", do="Give their ids, or a filter such as --task, --queue, --status, --tag or --since."
        )
    narrowed = Filter(
        statuses=wanted.statuses or usual,
        task=wanted.task,
        queue=wanted.queue,
        tags=wanted.tags,
        batch=wanted.batch,
        since=wanted.since,
    )
    found, counts = survey(client, narrowed, limit)
    if found:
        preview(verb, found, counts)
        agree(verb, len(found), yes=yes)
    return found[::-1]


def survey(client: Client, wanted: Filter, limit: int | None) -> tuple[list[str], Counter[tuple[str, str]]]:
    """All runs that the filter finds, newest first, and how many of each task and status they are."""
    found: list[str] = []
    counts: Counter[tuple[str, str]] = Counter()
    cursor: str | None = None
    while limit is None or len(found) < limit:
        size = CHUNK if limit is None else min(CHUNK, limit - len(found))
        page = client.read(views.page, wanted, limit=size, before=cursor)
        found += [run.id for run in page.runs]
        counts.update((run.task, run.status) for run in page.runs)
        cursor = page.next_cursor
        if cursor is None:
            break
    return found, counts


def preview(verb: str, found: list[str], counts: Counter[tuple[str, str]]) -> None:
    """Say on stderr what would happen to what."""
    from rich.text import Text

    err().print(f"{verb} {plural(len(found), 'run')}:", style="bold")
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


def tell_canceled(outcomes: dict[str, str], *, by_id: bool) -> None:
    said = {
        "canceled": "canceled",
        "requested": "asked to stop: its worker ends it, see runs show",
        "final": "was final already",
    }
    if by_id:
        for run_id, outcome in outcomes.items():
            if outcome in said:
                out().print(f"{run_id} {said[outcome]}", soft_wrap=True)
        return
    if not outcomes:
        note("No runs.")
    for outcome, count in Counter(outcomes.values()).most_common():
        words = {
            "canceled": "canceled.",
            "requested": "asked to stop.",
            "final": "ended meanwhile.",
            "unknown": "gone.",
        }
        out().print(f"{plural(count, 'run')} {words[outcome]}")
