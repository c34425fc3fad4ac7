"""Whether the demo has shown what it is there to show: what Holdfast says, held against the app's own index.

runs      every one completed, and what it returned is what the index has under its id
files     each has one entry, and nothing else has
attempts  every start is accounted for: the first of a run, a retry, or a recovery after the kill
queue     never more at once than it allows
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from index import Visit
from reading import Entry

from holdfast import Run


class Kill(NamedTuple):
    """A worker process that was killed, when, and what it was in the middle of."""

    pid: int
    at: float
    cut: list[Visit]


class Verdict(NamedTuple):
    """The facts, and what is wrong with them; nothing, if all is well."""

    runs: int
    attempts: int
    retries: int
    recovered: int
    entries: int
    at_once: int
    wrong: list[str]

    @property
    def good(self) -> bool:
        return not self.wrong


def judge(
    files: Sequence[str],
    runs: Sequence[Run[Entry]],
    entries: Sequence[tuple[str, Entry]],
    visits: Sequence[Visit],
    kills: Sequence[Kill],
    limit: int,
) -> Verdict:
    """Count, and find what does not fit."""
    retries = sum(run.attempts - 1 for run in runs)
    recovered = recoveries(visits)
    at_once = most_at_once(visits, kills)
    wrong = [
        *(
            f"{run.payload['file']} ended as {run.status}: {run.error and run.error.message}"
            for run in runs
            if not run.ok
        ),
        *misfits(files, [entry.file for _, entry in entries]),
        *differences(runs, dict(entries)),
    ]
    if len(visits) != len(runs) + retries + recovered:
        wrong.append(
            f"{len(visits)} attempts were started, for {len(runs)} runs, {retries} retries, {recovered} recoveries"
        )
    if retries == 0:
        wrong.append("no attempt failed, so no retry was seen")
    if recovered == 0:
        wrong.append("no run was recovered, since no worker was killed while it had one in hand")
    if at_once > limit:
        wrong.append(f"{at_once} runs were carried out at once, and the queue allows {limit}")
    return Verdict(len(runs), len(visits), retries, recovered, len(entries), at_once, wrong)


def recoveries(visits: Iterable[Visit]) -> int:
    """How often the same attempt was started again: only a lost process is a reason for that."""
    starts = Counter((visit.run_id, visit.attempt) for visit in visits)
    return sum(starts.values()) - len(starts)


def most_at_once(visits: Iterable[Visit], kills: Iterable[Kill]) -> int:
    """The greatest number of visits at any moment. A killed process ends its own."""
    ends = {kill.pid: kill.at for kill in kills}
    moments = []
    for visit in visits:
        end = visit.ended_at if visit.ended_at is not None else ends.get(visit.pid, float("inf"))
        moments += [(visit.began_at, 1), (end, -1)]
    most = now = 0
    for _, step in sorted(moments):  # at the same moment what ends goes first
        now += step
        most = max(most, now)
    return most


def misfits(files: Sequence[str], found: Sequence[str]) -> list[str]:
    """Files that are not in the index once and only once."""
    counts = Counter(found)
    counts.subtract(files)
    return [
        f"{file} is missing in the index" if count < 0 else f"{file} is in the index {count} times too often"
        for file, count in sorted(counts.items())
        if count != 0
    ]


def differences(runs: Sequence[Run[Entry]], kept: dict[str, Entry]) -> list[str]:
    """Runs whose output is not what the index has."""
    return [
        f"run {run.id} returned one thing, and the index has another"
        for run in runs
        if run.ok and run.output != kept.get(run.id)
    ]
