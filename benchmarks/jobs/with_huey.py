"""huey on SQLite, with fsync: a commit is on disk. It has no bulk call."""

from __future__ import annotations

from collections.abc import Sequence

from huey import SqliteHuey
from workload import URL, Jobs, stamp

huey = SqliteHuey(filename=URL, fsync=True)


@huey.task(name="noop")
def noop(n: int) -> None:
    stamp(n)


class HueyJobs(Jobs):
    def one(self, n: int) -> None:
        noop(n=n)

    def many(self, numbers: Sequence[int]) -> None:
        for n in numbers:
            noop(n=n)


jobs = HueyJobs()
