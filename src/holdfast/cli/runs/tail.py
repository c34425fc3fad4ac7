"""``holdfast runs tail``: the log of a run, or of all that are made from now on, live.

Workers write lines twice a second, so asking a few times a second is early enough. Each run that is followed has a
place of its own in its log; one that is final is asked once more, for what it said last, and then forgotten. A database
that is away is waited for.
"""

from __future__ import annotations

import contextlib
import json as stdlib_json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, NamedTuple

import typer

from holdfast import views
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.show import COLOURS, DIM, LEVELS, clean, document, duration, err, note, now_ms, out, plural
from holdfast.client import Client
from holdfast.errors import DatabaseUnavailable, RunNotFound
from holdfast.ids import least_id, made_at
from holdfast.model import FINAL
from holdfast.views import Listed, LogView

PAUSE_SECONDS: Final = 0.2
FOLLOWED: Final = 1_000  # runs at once
OVERLAP_MS: Final = 2_000  # ids are made before they are committed: one may appear a little behind a later one


class Changed(NamedTuple):
    """A run has another status than when it was looked at last."""

    run: Listed


class Missed(NamedTuple):
    """There were so many more new runs than can be followed."""

    runs: int


Event = LogView | Changed | Missed


def tail(
    run_id: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help="The id of a run. Default: all that are made from now on.", show_default=False
        ),
    ] = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Follow the log of a run until it is final, or of all new runs until it is interrupted."""
    with opened(database, app) as client, ended_by_hand(run_id is None):
        events = follow(client, run_id) if run_id is not None else follow_new(client)
        if json:
            print_array(events)
        else:
            print_events(events, alone=run_id is not None)


def ended_by_hand(expected: bool) -> contextlib.suppress:
    """Ctrl-C is how following all runs ends, and no failure."""
    return contextlib.suppress(*([KeyboardInterrupt] if expected else []))


# -- following --------------------------------------------------------------------------------------------------------


def follow(client: Client, run_id: str) -> Iterator[Event]:
    """What one run says and becomes, from its beginning to its end.

    Raises:
        RunNotFound: there is no such run.
    """
    following = Following(client)
    following.add([run_id])
    if not client.read(views.listed_runs, [run_id]):
        raise RunNotFound("There is no run with this id, or no longer", seen=run_id, do="See holdfast runs list.")
    while following.places:
        with contextlib.suppress(DatabaseUnavailable):
            yield from following.look()
        if following.places:
            time.sleep(PAUSE_SECONDS)


def follow_new(client: Client) -> Iterator[Event]:
    """What all runs say and become that are made from now on."""
    following = Following(client)
    arrivals = Arrivals(client)
    note("Waiting for new runs. Ctrl-C ends this.")
    while True:
        with contextlib.suppress(DatabaseUnavailable):
            new = arrivals.look()
            room = FOLLOWED - len(following.places)
            following.add(new[:room])
            if len(new) > room:
                yield Missed(len(new) - room)
            yield from following.look()
        time.sleep(PAUSE_SECONDS)


class Arrivals:
    """The runs that are made from now on, each told of once."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.since = self.start = least_id(now_ms())
        self.known: set[str] = set()

    def look(self) -> list[str]:
        """The ids that have come since the last look, in order."""
        found: list[str] = []
        after = self.since
        while True:
            part = self.client.read(views.new_runs, after, limit=FOLLOWED)
            found += part
            if len(part) < FOLLOWED:
                break
            after = part[-1]
        new = [each for each in found if each not in self.known]
        if found:
            self.since = max(self.start, least_id(made_at(found[-1]) - OVERLAP_MS))
            self.known = {each for each in found if each > self.since}
        return new


class Following:
    """The runs that are followed, with their places in their logs."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.places: dict[str, tuple[int, int]] = {}
        self.last: dict[str, Listed] = {}

    def add(self, ids: list[str]) -> None:
        self.places.update((run_id, (0, 0)) for run_id in ids)

    def look(self) -> Iterator[Event]:
        """What is new; runs that have ended are forgotten. Statuses are read before lines, or the last were lost."""
        runs = {run.id: run for run in self.client.read(views.listed_runs, list(self.places))}
        yield from self.changes(run for run in runs.values() if run.status not in FINAL)
        yield from self.lines()
        yield from self.changes(run for run in runs.values() if run.status in FINAL)
        for run_id in list(self.places):
            run = runs.get(run_id)
            if run is None or run.status in FINAL:
                del self.places[run_id]
                self.last.pop(run_id, None)

    def changes(self, runs: Iterable[Listed]) -> Iterator[Event]:
        for run in runs:
            before = self.last.get(run.id)
            if before is None or (before.status, before.attempts) != (run.status, run.attempts):
                self.last[run.id] = run
                yield Changed(run)

    def lines(self) -> Iterator[Event]:
        while found := self.client.read(views.lines, self.places):
            for line in found:
                self.places[line.run_id] = (line.claim, line.seq)
                yield line


# -- showing ----------------------------------------------------------------------------------------------------------


def print_events(events: Iterator[Event], *, alone: bool) -> None:
    for event in events:
        match event:
            case Changed(run):
                print_change(run, alone=alone)
            case Missed(runs):
                note(f"{plural(runs, 'run')} more than can be followed")
            case _:
                print_line(event, run=not alone)
        sys.stdout.flush()


def print_change(run: Listed, *, alone: bool) -> None:
    """A line about the run itself; on stderr if only its log was asked for."""
    from rich.text import Text

    text = Text("" if alone else f"{run.id} ", style=DIM)
    text.append(run.status, style=COLOURS.get(run.status, "")).append(f" {run.task}", style="bold")
    if run.attempts > 1:
        text.append(f" attempt {run.attempts}", style=DIM)
    if run.finished_at is not None and run.started_at is not None:
        text.append(f" in {duration(run.finished_at - run.started_at)}", style=DIM)
    (err() if alone else out()).print(text, soft_wrap=True)


def print_line(line: LogView, *, run: bool = False, attempts: bool = False) -> None:
    """A line of a log: when, how grave, which logger, what."""
    from rich.text import Text

    text = Text(time.strftime("%H:%M:%S", time.localtime(line.at / 1000)), style=DIM)
    text.append(f".{line.at % 1000:03} ", style=DIM)
    if run:
        text.append(f"{line.run_id} ", style=DIM)
    if attempts:
        text.append(f"#{line.attempt} ", style=DIM)
    text.append(f"{line.level:<7} ", style=LEVELS.get(line.level, ""))
    if line.logger not in ("root", "stdout", "stderr"):
        text.append(f"{clean(line.logger, one_line=True)}: ", style=DIM)
    out().print(text.append(clean(line.message), style="not dim"), soft_wrap=True)


def print_array(events: Iterator[Event]) -> None:
    """One JSON array, a whole line for each element as it happens; it is closed however this ends."""
    before = " "
    sys.stdout.write("[\n")
    try:
        for event in events:
            sys.stdout.write(f"{before}{stdlib_json.dumps(element(event))}\n")
            sys.stdout.flush()
            before = ","
    finally:
        sys.stdout.write("]\n")


def element(event: Event) -> dict[str, Any]:
    match event:
        case Changed(run):
            return {"event": "status", **document(run)}
        case Missed(runs):
            return {"event": "missed", "runs": runs}
        case _:
            return {"event": "log", **document(event)}
