"""What a task's code can do durably: steps, waits, children.

    ctx.step(fn, *args)              recorded once, never run again
    ctx.sleep("3d")                  no process, no slot, no memory meanwhile
    ctx.wait_for(token)              until somebody completes it
    ctx.trigger_and_wait(task, x)    the output of another run

Each has a key in its run's journal, which is taken when the method is called, not when it is awaited. What an attempt
does with them is the worker's (worker/durable.py); here is what users write, in both colours.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, TypeVarTuple, Unpack, cast, overload

from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.names import checked_key, checked_name
from holdfast.retry import Retry

if TYPE_CHECKING:
    from uuid import UUID

    from holdfast.batch import Item
    from holdfast.codec import Codec
    from holdfast.context import AsyncContext, Context
    from holdfast.model import Results
    from holdfast.options import TriggerOptions
    from holdfast.records import Entry, NewEntry, NewRun
    from holdfast.task import Task

__all__ = ["AsyncOperations", "Durable", "Operations", "StepOptions", "Token", "step", "step_options"]

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])
Ts = TypeVarTuple("Ts")
Coro = Coroutine[Any, Any, R]

NAME_LENGTH: Final = 200
_ATTRIBUTE: Final = "__holdfast_step__"
ONCE: Final = Retry(max_attempts=1)


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is carried out: its ``name`` and ``key`` in the journal, its own ``retry``, and how long one try may
    take, in milliseconds."""

    name: str
    key: str | None = None
    retry: Retry = ONCE
    timeout_ms: int | None = None


class Token(Generic[T]):
    """Something to wait for that somebody else completes, with a value.

    ``url`` takes the value as JSON by an HTTP POST; in code it is ``app.tokens.complete(token.id, value)``, and in a
    terminal ``holdfast tokens complete ID JSON``.
    """

    __slots__ = ("codec", "id", "url")

    def __init__(self, id: str, url: str, codec: Codec[Any]) -> None:
        self.id = id
        self.url = url
        self.codec = codec

    def __repr__(self) -> str:
        return f"<Token {self.id}>"


def step(*, name: str | None = None, retry: Retry | None = None, timeout: Duration | None = None) -> Callable[[F], F]:
    """Attach to a function how it is carried out as a step. What is said at ``ctx.step`` is stronger.

    >>> @step(retry=Retry(max_attempts=5), timeout="30s")
    ... def fetch(url: str) -> bytes: ...

    Raises:
        InvalidOption: an option has a value that cannot be used.
    """
    said = _said(name, None, retry, timeout)

    def attach(fn: F) -> F:
        if not callable(fn):
            raise InvalidOption("A step is a function", seen=shown(fn), do="Put @step(…) on a def or an async def.")
        setattr(fn, _ATTRIBUTE, said)
        return fn

    return attach


def step_options(fn: Callable[..., Any], **said: Any) -> StepOptions:
    """How this function is carried out as a step: as said at the call, else at the function.

    Raises:
        InvalidOption: it has no name, or an option has a value that cannot be used.
    """
    if not callable(fn):
        raise InvalidOption(
            "A step is a function, and its arguments come after it", seen=shown(fn), do="Write ctx.step(fn, argument)."
        )
    options: Mapping[str, Any] = {**getattr(fn, _ATTRIBUTE, {}), **_said(**said)}
    name = options.get("name") or _name_of(fn)
    return StepOptions(name, **{key: value for key, value in options.items() if key != "name"})


def _said(
    name: str | None = None, key: str | None = None, retry: Retry | None = None, timeout: Duration | None = None
) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if name is not None:
        said["name"] = checked_name(name, option="name", length=NAME_LENGTH)
    if key is not None:
        said["key"] = checked_key(key, option="key")
    if retry is not None:
        if not isinstance(retry, Retry):
            raise InvalidOption("retry is not a Retry", seen=shown(retry), do="Write retry=Retry(max_attempts=3).")
        said["retry"] = retry
    if timeout is not None:
        said["timeout_ms"] = to_ms(timeout, name="timeout")
    return said


def _name_of(fn: Any) -> str:
    while hasattr(fn, "func"):  # a partial
        fn = fn.func
    name = getattr(fn, "__name__", "<lambda>")
    if name == "<lambda>":
        raise InvalidOption("This step has no name", seen=shown(fn), do='Write ctx.step(fn, name="…").')
    return cast("str", name)


in_step: Final[ContextVar[str | None]] = ContextVar("holdfast_in_step", default=None)  # the step whose body runs here


class Asked(Protocol):
    """An operation that has taken its key, and what is recorded of it."""

    entry: Entry | None


class Durable(Protocol):
    """What an attempt does with the operations of its code. Each method takes the key now; the ``a`` ones answer with
    what is to be awaited, the others block the thread they are called in."""

    def step(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Any: ...
    def astep(self, fn: Callable[..., Any], args: tuple[Any, ...], options: StepOptions) -> Coro[Any]: ...
    def sleep(self, delay_ms: int | None, until_ms: int | None) -> None: ...
    def asleep(self, delay_ms: int | None, until_ms: int | None) -> Coro[None]: ...
    def token(self, type: Any, timeout_ms: int | None) -> Token[Any]: ...
    def atoken(self, type: Any, timeout_ms: int | None) -> Coro[Token[Any]]: ...
    def wait_for(self, token: Token[Any]) -> Any: ...
    def await_for(self, token: Token[Any]) -> Coro[Any]: ...
    def child(self, task: Task[Any, Any], payload: Any, options: Any) -> Any: ...
    def achild(self, task: Task[Any, Any], payload: Any, options: Any) -> Coro[Any]: ...
    def children(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Results[Any]: ...
    def achildren(self, entries: Iterable[Any], task: Task[Any, Any] | None) -> Coro[Results[Any]]: ...
    def now(self) -> datetime: ...
    def anow(self) -> Coro[datetime]: ...
    def random(self) -> float: ...
    def uuid(self) -> UUID: ...
    def knows(self, task: Any) -> bool: ...
    def let_go(self) -> bool: ...
    def repeats(self) -> bool: ...
    def recorded(self, runs: list[NewRun], name: str) -> tuple[Asked, NewEntry | None]: ...
    def keep(self, made: Any) -> Entry: ...
    def write(self, entry: NewEntry) -> Coro[Any]: ...


class Operations:
    """The operations of a ``def`` task: each blocks until it has its result."""

    __slots__ = ()

    @property
    def _durable(self) -> Durable:
        raise NotImplementedError

    def step(
        self,
        fn: Callable[[Unpack[Ts]], R],
        /,
        *args: *Ts,
        name: str | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> R:
        """Call ``fn(*args)`` and record what it returns; when the run is replayed, the record is returned instead.

        ``name`` is the function's own; ``key`` says which of several calls this is, where their order may change.
        ``retry`` tries it again, here and now; without one a failed step fails the attempt, and the next attempt tries
        it again. The value passes through JSON by the function's return annotation, also the first time.

        Raises:
            StepFailed: it failed, and there was no try left.
            JournalMismatch: something else was recorded at this place.
            NotSerializable, TooLarge: what it returned cannot be kept.

        >>> label = ctx.step(print_label, order.id)
        """
        options = step_options(fn, name=name, key=key, retry=retry, timeout=timeout)
        return cast("R", self._durable.step(fn, args, options))

    def sleep(self, duration: Duration, /) -> None:
        """Wait this long. The run holds no slot meanwhile, and after a while no thread."""
        self._durable.sleep(to_ms(duration, name="duration"), None)

    def sleep_until(self, moment: datetime, /) -> None:
        """Wait until then, an aware datetime."""
        self._durable.sleep(None, _milliseconds(moment))

    def token(self, type: type[T], /, *, timeout: Duration | None = None) -> Token[T]:
        """Make a token to wait for; a replay has the same token. Its value will be a ``type``; after ``timeout`` it is
        not waited for any more."""
        return self._durable.token(type, _limit(timeout))

    def wait_for(self, token: Token[T], /) -> T:
        """The value that somebody completes the token with.

        Raises:
            WaitTimedOut: the token's time is over.
        """
        return cast("T", self._durable.wait_for(_token(token)))

    @overload
    def trigger_and_wait(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> R: ...
    @overload
    def trigger_and_wait(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> R: ...
    def trigger_and_wait(self, task: Task[Any, Any], payload: Any = None, /, **options: Unpack[TriggerOptions]) -> Any:
        """Trigger another task as a child of this run, and wait for its output. Options as in ``task.trigger``.

        Raises:
            RunFailed: the child ended without an output; its kinds say how.
        """
        return self._durable.child(task, payload, options)

    @overload
    def batch_trigger_and_wait(self, task: Task[T, R], payloads: Iterable[T | Item[R]], /) -> Results[R]: ...
    @overload
    def batch_trigger_and_wait(self, items: Iterable[Item[R]], /) -> Results[R]: ...
    def batch_trigger_and_wait(self, *args: Any) -> Any:
        """Trigger many children, and wait until all have ended: finished runs, in order. Payloads of one task, or items
        of several."""
        return self._durable.children(*_batch(args))

    def now(self) -> datetime:
        """The time (UTC), recorded: a replay is told the same."""
        return self._durable.now()

    def random(self) -> float:
        """A random number from 0 to 1; a replay is given the same."""
        return self._durable.random()

    def uuid(self) -> UUID:
        """A random UUID; a replay is given the same."""
        return self._durable.uuid()


class AsyncOperations:
    """The operations of an ``async def`` task. What can wait is awaited; its key is taken when it is called."""

    __slots__ = ()

    @property
    def _durable(self) -> Durable:
        raise NotImplementedError

    @overload
    def step(
        self,
        fn: Callable[[Unpack[Ts]], Coro[R]],
        /,
        *args: *Ts,
        name: str | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> Coro[R]: ...
    @overload
    def step(
        self,
        fn: Callable[[Unpack[Ts]], R],
        /,
        *args: *Ts,
        name: str | None = None,
        key: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
    ) -> Coro[R]: ...
    def step(self, fn: Any, /, *args: Any, **said: Any) -> Any:  # type: ignore[misc]
        """Call ``fn(*args)`` and record what it returns; when the run is replayed, the record is returned instead.

        ``fn`` is an ``async def``, or a ``def``, which runs in a thread. ``name`` is the function's own; ``key`` says
        which of several calls this is, where their order may change. ``retry`` tries it again; without one a failed
        step fails the attempt, and the next attempt tries it again. The value passes through JSON by the function's
        return annotation, also the first time.

        Raises:
            StepFailed: it failed, and there was no try left.
            JournalMismatch: something else was recorded at this place.
            NotSerializable, TooLarge: what it returned cannot be kept.

        >>> await ctx.step(send_welcome, user)
        """
        return self._durable.astep(fn, args, step_options(fn, **said))

    def sleep(self, duration: Duration, /) -> Coro[None]:
        """Wait this long. The run holds no slot meanwhile, and after a while no memory.

        >>> await ctx.sleep("3d")
        """
        return self._durable.asleep(to_ms(duration, name="duration"), None)

    def sleep_until(self, moment: datetime, /) -> Coro[None]:
        """Wait until then, an aware datetime."""
        return self._durable.asleep(None, _milliseconds(moment))

    def token(self, type: type[T], /, *, timeout: Duration | None = None) -> Coro[Token[T]]:
        """Make a token to wait for; a replay has the same token. Its value will be a ``type``; after ``timeout`` it is
        not waited for any more."""
        return self._durable.atoken(type, _limit(timeout))

    def wait_for(self, token: Token[T], /) -> Coro[T]:
        """The value that somebody completes the token with.

        Raises:
            WaitTimedOut: the token's time is over.
        """
        return self._durable.await_for(_token(token))

    @overload
    def trigger_and_wait(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> Coro[R]: ...
    @overload
    def trigger_and_wait(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> Coro[R]: ...
    def trigger_and_wait(
        self, task: Task[Any, Any], payload: Any = None, /, **options: Unpack[TriggerOptions]
    ) -> Coro[Any]:
        """Trigger another task as a child of this run, and wait for its output. Options as in ``task.trigger``.

        Raises:
            RunFailed: the child ended without an output; its kinds say how.
        """
        return self._durable.achild(task, payload, options)

    @overload
    def batch_trigger_and_wait(self, task: Task[T, R], payloads: Iterable[T | Item[R]], /) -> Coro[Results[R]]: ...
    @overload
    def batch_trigger_and_wait(self, items: Iterable[Item[R]], /) -> Coro[Results[R]]: ...
    def batch_trigger_and_wait(self, *args: Any) -> Coro[Any]:
        """Trigger many children, and wait until all have ended: finished runs, in order. Payloads of one task, or items
        of several."""
        return self._durable.achildren(*_batch(args))

    def now(self) -> Coro[datetime]:
        """The time (UTC), recorded: a replay is told the same."""
        return self._durable.anow()

    def random(self) -> float:
        """A random number from 0 to 1; a replay is given the same."""
        return self._durable.random()

    def uuid(self) -> UUID:
        """A random UUID; a replay is given the same."""
        return self._durable.uuid()


def _milliseconds(moment: object) -> int:
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise InvalidOption(
            "sleep_until takes an aware datetime", seen=shown(moment), do="Write datetime(2027, 1, 1, tzinfo=UTC)."
        )
    return int(moment.timestamp() * 1000)


def _limit(timeout: Duration | None) -> int | None:
    return None if timeout is None else to_ms(timeout, name="timeout")


def _token(token: object) -> Token[Any]:
    if not isinstance(token, Token):
        raise InvalidOption("wait_for takes a token", seen=shown(token), do="Make one with ctx.token(Type).")
    return token


def _batch(args: tuple[Any, ...]) -> tuple[Iterable[Any], Task[Any, Any] | None]:
    match args:
        case [entries]:
            return entries, None
        case [task, entries]:
            return entries, task
    raise InvalidOption(
        "batch_trigger_and_wait takes a task and its payloads, or items",
        seen=f"{len(args)} arguments",
        do="Write ctx.batch_trigger_and_wait(task, payloads).",
    )
