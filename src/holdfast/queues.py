"""`app.queues`: the queues of an app as operators see them. The same words as ``holdfast queues``.

    app.queues.list()                          their limits, and what stands in them
    app.queues.pause("mail")                   no run of it starts; those that execute go on
    app.queues.resume("mail")
    app.queues.limit("mail", 5)                stronger than what the code says, until it is limit("mail", None)

``x`` is for sync code, ``ax`` for async code. A queue that code declares is a `Queue`; what is here is in the database.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import EllipsisType
from typing import NamedTuple, NoReturn

from holdfast import views
from holdfast.client import Client
from holdfast.counts import checked_count
from holdfast.engine import catalogue, limits
from holdfast.engine.trigger import queue_id
from holdfast.errors import UnknownQueue
from holdfast.model import at
from holdfast.names import checked_text
from holdfast.queue import Queue, own_queue
from holdfast.storage import Tx

__all__ = ["QueueState", "Queues"]

Limit = int | None | EllipsisType


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue: its limits in force (None is no limit), and what stands in it.

    ``limited`` tells that an operator has set a limit, which is stronger than the code's. ``queued`` counts what is
    ready or waits for a slot, ``pending_version`` what no live worker takes. Counts end at 10,000.
    """

    name: str
    paused_at: datetime | None
    concurrency_limit: int | None
    concurrency_limit_per_key: int | None
    limited: bool
    executing: int
    queued: int
    pending_version: int
    delayed: int
    oldest_queued_at: datetime | None

    @property
    def paused(self) -> bool:
        """Whether its runs wait for ``resume``."""
        return self.paused_at is not None


States = list[QueueState]  # inside the class below, list is the method


class Queues:
    """The queues of one app. See `Holdfast.queues`. Whatever names a queue raises UnknownQueue if there is none."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> States:
        """All queues, by name."""
        return [_state(each) for each in self._client.read(views.queues)]

    async def alist(self) -> States:
        """`list` for async code."""
        return [_state(each) for each in await self._client.aread(views.queues)]

    def retrieve(self, queue: str | Queue, /) -> QueueState:
        """One queue."""
        return _state(self._client.read(_one, _name(queue)))

    async def aretrieve(self, queue: str | Queue, /) -> QueueState:
        """`retrieve` for async code."""
        return _state(await self._client.aread(_one, _name(queue)))

    def pause(self, queue: str | Queue, /) -> None:
        """Let no run of a queue start until it is resumed. Those that execute go on."""
        self._client.write(_pause, _name(queue))

    async def apause(self, queue: str | Queue, /) -> None:
        """`pause` for async code."""
        await self._client.awrite(_pause, _name(queue))

    def resume(self, queue: str | Queue, /) -> None:
        """Let a paused queue go on."""
        self._client.write(_resume, _name(queue))

    async def aresume(self, queue: str | Queue, /) -> None:
        """`resume` for async code."""
        await self._client.awrite(_resume, _name(queue))

    def limit(
        self, queue: str | Queue, concurrency_limit: Limit = ..., /, *, concurrency_limit_per_key: Limit = ...
    ) -> None:
        """Set how many runs of a queue may execute at once, in all and of each concurrency key. This is stronger than
        what the code says; None gives the code its say back, and what is not given stays.

        Runs that stand in line obey at once; those that execute are not stopped.

        Raises:
            InvalidOption: a limit is not a whole number of at least 1.

        >>> app.queues.limit("orders", 5, concurrency_limit_per_key=None)
        """
        wanted = _Wanted(_name(queue), _limit(concurrency_limit, ""), _limit(concurrency_limit_per_key, "_per_key"))
        self._client.write(_override, wanted)
        after: str | None = ""
        while after is not None:
            after = self._client.write(limits.relane, wanted.name, queue_id(wanted.name), after)

    async def alimit(
        self, queue: str | Queue, concurrency_limit: Limit = ..., /, *, concurrency_limit_per_key: Limit = ...
    ) -> None:
        """`limit` for async code."""
        wanted = _Wanted(_name(queue), _limit(concurrency_limit, ""), _limit(concurrency_limit_per_key, "_per_key"))
        await self._client.awrite(_override, wanted)
        after: str | None = ""
        while after is not None:
            after = await self._client.awrite(limits.relane, wanted.name, queue_id(wanted.name), after)

    def __repr__(self) -> str:
        return "<Queues>"


class _Wanted(NamedTuple):
    """The limits that an operator asks for."""

    name: str
    limit: Limit
    per_key: Limit


# -- in one transaction -----------------------------------------------------------------------------------------------


def _one(tx: Tx, name: str) -> views.QueueView:
    every = views.queues(tx)
    found = [each for each in every if each.name == name]
    if not found:
        _refuse(name, [each.name for each in every])
    return found[0]


def _pause(tx: Tx, name: str) -> None:
    _check(tx, name, catalogue.pause(tx, name))


def _resume(tx: Tx, name: str) -> None:
    _check(tx, name, catalogue.resume(tx, name))


def _override(tx: Tx, wanted: _Wanted) -> None:
    known = views.queue(tx, wanted.name)
    _check(tx, wanted.name, known is not None)
    if known is not None:
        whole = known.overriding_limit if wanted.limit is ... else wanted.limit
        per_key = known.overriding_limit_per_key if wanted.per_key is ... else wanted.per_key
        catalogue.override(tx, wanted.name, whole, per_key)


def _check(tx: Tx, name: str, there: bool) -> None:
    if not there:
        _refuse(name, [each.name for each in views.queues(tx)])


def _refuse(name: str, known: Sequence[str]) -> NoReturn:
    own = own_queue(name)
    close = [own] if own in known else difflib.get_close_matches(name, known, n=1)
    do = f"Did you mean {close[0]}?" if close else "See holdfast queues list."
    raise UnknownQueue("There is no queue with this name", seen=name, do=do)


# -- reading ----------------------------------------------------------------------------------------------------------


def _name(queue: object) -> str:
    if isinstance(queue, Queue):
        return queue.name
    return checked_text(queue, option="The name of a queue", do='Write, say, "mail".')


def _limit(value: object, of: str) -> Limit:
    if isinstance(value, EllipsisType | None):
        return value
    do = "Write 1 or more, or None for what the code says; to stop a queue, pause it."
    return checked_count(value, option=f"concurrency_limit{of}", do=do)


def _state(view: views.QueueView) -> QueueState:
    return QueueState(
        name=view.name,
        paused_at=None if view.paused_at is None else at(view.paused_at),
        concurrency_limit=view.concurrency_limit,
        concurrency_limit_per_key=view.concurrency_limit_per_key,
        limited=view.overriding_limit is not None or view.overriding_limit_per_key is not None,
        executing=view.executing,
        queued=view.queued,
        pending_version=view.pending_version,
        delayed=view.delayed,
        oldest_queued_at=None if view.oldest_queued_at is None else at(view.oldest_queued_at),
    )
