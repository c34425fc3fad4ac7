"""The attempts whose runs wait without a slot and whose code is still in memory: a cache, which spares short waits a
replay.

It is limited in time by who parks them, and here in number and in bytes. Counted is what is known of each: the payload
and what its journal holds, as JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from holdfast.worker.live import Live

MOST: Final = 1_000


class Parked:
    """At most so many of them, that hold at most so many bytes together; the one that was parked first comes first."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.lives: dict[str, Live] = {}
        self.sizes: dict[str, int] = {}  # of each when it was parked
        self.size = 0

    def __len__(self) -> int:
        return len(self.lives)

    def __iter__(self) -> Iterator[Live]:
        return iter(list(self.lives.values()))

    def get(self, run_id: str) -> Live | None:
        return self.lives.get(run_id)

    def add(self, live: Live) -> None:
        run_id = live.claimed.id
        self.lives[run_id], self.sizes[run_id] = live, live.size()
        self.size += self.sizes[run_id]

    def pop(self, run_id: str) -> Live | None:
        """Take out the one of this run, if it is here."""
        self.size -= self.sizes.pop(run_id, 0)
        return self.lives.pop(run_id, None)

    def discard(self, live: Live) -> None:
        """Take this one out, if it is here."""
        if self.lives.get(live.claimed.id) is live:
            self.pop(live.claimed.id)

    def surplus(self) -> Iterator[Live]:
        """Those that are too many, or too large, one after the other; each has to be taken out before the next."""
        while len(self) > MOST or self.size > self.most_bytes:
            yield next(iter(self.lives.values()))
