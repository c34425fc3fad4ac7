"""Contexts for calling a task as the function it is, without any of the rest.

    assert await charge(ada, AsyncFakeContext(attempt=2), Session()) == 1

They are the contexts that tasks get, over a run that is nowhere: the facts are those given here, and the metadata can
be looked at afterwards. In ``with FakeContext():`` code deep in the stack finds it as ``Context.current()``, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import Token
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypedDict, Unpack, cast

from holdfast import codec
from holdfast.clock import moment_ms
from holdfast.context import AsyncContext, Attempt, Context, _Facts, running
from holdfast.counts import checked_count
from holdfast.errors import InvalidOption
from holdfast.metadata import Metadata
from holdfast.names import checked_name
from holdfast.options import read_trigger_options
from holdfast.queue import own_queue
from holdfast.records import Claimed
from holdfast.schedule import Slot, facts_of
from holdfast.telling import Relative

__all__ = ["AsyncFakeContext", "Facts", "FakeContext"]

_A_MOMENT: Final = datetime(2026, 1, 1, tzinfo=UTC)
_NAMES: Final = ("id", "task", "queue", "parent_id", "batch_id", "version")
_AS_AT_A_TRIGGER: Final = ("tags", "metadata", "concurrency_key", "idempotency_key", "priority")


class Facts(TypedDict, total=False):
    """What a fake context may be told of its run. ``at`` is when it was made and its attempt started."""

    id: str
    task: str
    queue: str
    attempt: int
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    concurrency_key: str
    idempotency_key: str
    priority: float
    parent_id: str
    batch_id: str
    version: str
    slot: Slot
    at: datetime


class _Fake(_Facts):
    """Belongs to a run that is nowhere; entered, it is the context of the code that is called meanwhile."""

    __slots__ = ()

    if TYPE_CHECKING:
        _token: Token[Attempt | None]

    @property
    def parent(self) -> Relative[Metadata] | None:
        """The parent that the context was told of. Its metadata, which can only be written to in production, can be
        looked at here."""
        return cast("Relative[Metadata] | None", super().parent)

    @property
    def root(self) -> Relative[Metadata]:
        """The parent that the context was told of; without one the run is its own root."""
        return cast("Relative[Metadata]", super().root)

    def streamed(self, name: str) -> list[Any]:
        """What was written to the stream of this name, in order.

        >>> ctx.streamed("tokens")
        ['Hello', ' world']
        """
        return [codec.decode(chunk.value) for chunk in self._bound.teller.chunks() if chunk.name == name]

    def __enter__(self) -> Self:
        self._token = running.set(self._attempt)  # type: ignore[misc]  # a slot of the subclasses
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running.reset(self._token)


class FakeContext(_Fake, Context):
    """A `Context` of no run, for a ``def`` task that is called as a function. Whatever is not given is something usual.

    >>> ctx = FakeContext(attempt=2)
    >>> resize("cat.png", ctx)
    >>> ctx.metadata["done"]
    1
    """

    __slots__ = ("_token",)

    def __init__(self, **facts: Unpack[Facts]) -> None:
        super().__init__(_attempt(facts))


class AsyncFakeContext(_Fake, AsyncContext):
    """An `AsyncContext` of no run, for an ``async def`` task that is called as a function. Whatever is not given is
    something usual.

    >>> await charge(ada, AsyncFakeContext(tags=["vip"]))
    """

    __slots__ = ("_token",)

    def __init__(self, **facts: Unpack[Facts]) -> None:
        super().__init__(_attempt(facts))


def _attempt(facts: Facts) -> Attempt:
    if unknown := sorted(set(facts) - set(Facts.__annotations__)):
        raise InvalidOption(
            "A fake context has no such fact",
            seen=", ".join(unknown),
            do=f"There are {', '.join(Facts.__annotations__)}.",
        )
    given: dict[str, Any] = {name: value for name, value in facts.items() if value is not None}
    named: dict[str, Any] = {name: checked_name(given[name], option=name) for name in _NAMES if name in given}
    said = read_trigger_options({name: given[name] for name in _AS_AT_A_TRIGGER if name in given})
    at = moment_ms(given.get("at", _A_MOMENT), option="at")
    task = named.get("task", "a_task")
    nothing: dict[str, Any] = dict.fromkeys(Claimed._fields)
    usual = Claimed(**nothing)._replace(
        id="a_run",
        claim=1,
        task=task,
        queue=own_queue(task),
        payload="null",
        attempt=checked_count(given.get("attempt", 1), option="attempt"),
        created_at=at,
        started_at=at,
        priority_ms=0,
        root_id=named.get("parent_id"),
        options=codec.encode({"slot": facts_of(given["slot"])}) if "slot" in given else None,
    )
    attempt = Attempt(usual._replace(**named, **{name: said[name] for name in said if name in Claimed._fields}))
    if (parent := attempt.claimed.parent_id) is not None:
        attempt.teller.relatives[parent] = Metadata()
    return attempt
