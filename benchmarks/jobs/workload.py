"""What the programs of all Python peers share. They run in the peers' own environment: standard library only.

A job's first statement is ``stamp(n)``: it writes the time into slot n of a file that is mapped into memory. That takes
less than a microsecond, puts nothing on the store under test, and a job that was lost shows as an empty slot.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

URL = os.environ["BENCH_URL"]


def open_stamps() -> memoryview:
    """The file of stamps, one float for each job."""
    with open(os.environ["BENCH_STAMPS"], "r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("d")


stamps = open_stamps()


def stamp(n: int) -> None:
    stamps[n] = time.time()


class Jobs:
    """What a peer does. ``one`` and ``many`` may be coroutine functions."""

    def prepare(self) -> Any:
        """Make the tables, if the peer has any."""

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Connected to the store, for as long as jobs are enqueued."""
        yield

    def one(self, n: int) -> Any:
        """Enqueue job ``n``."""
        raise NotImplementedError

    def many(self, numbers: Sequence[int]) -> Any:
        """Enqueue these jobs in the peer's best way for many."""
        raise NotImplementedError

    def work(self, *arguments: str) -> None:
        """Be a worker, until a signal comes."""
        raise NotImplementedError
