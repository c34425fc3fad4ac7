"""Every error Holdfast raises on purpose.

    HoldfastError
    ├── InvalidOption (ValueError)      an option, a duration, a setting
    ├── InvalidTask (TypeError)         a function that cannot be a task
    ├── DuplicateTask · UnknownTask · AppNotFound · NotBound
    ├── PayloadInvalid · NotSerializable (TypeError) · TooLarge
    ├── IdempotencyBusy · BatchIncomplete · AttemptLost
    ├── RunNotFound · UnknownQueue · UnknownSchedule
    ├── ResultTimeout (TimeoutError) · RunUnfinished · HookTimedOut (TimeoutError)
    ├── RunFailed
    │   └── RunCanceled · RunExpired · RunTimedOut · RunCrashed · SystemFailure
    ├── StepFailed · WaitTimedOut (TimeoutError) · TokenUnknown
    ├── JournalMismatch · JournalFull · NotDurable · OutOfMemory
    └── DatabaseError
        ├── DatabaseUnavailable · DatabaseReadOnly · DatabaseFull · DatabaseForeign
        └── DatabaseUrlInvalid · DatabaseNotOurs · DatabaseTooNew · MigrationNeeded

    AbortRun · RetryAfter               what a task raises to say how its run goes on; not errors of ours
    Suspended (BaseException)           raised where a run waits, when it leaves memory

A message has three parts: what is wrong, the value seen, what to do. The first paragraph of a class's docstring is its
message when none is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

if TYPE_CHECKING:
    from holdfast.handle import BatchHandle

__all__ = [
    "AbortRun",
    "AppNotFound",
    "AttemptLost",
    "BatchIncomplete",
    "DatabaseError",
    "DatabaseForeign",
    "DatabaseFull",
    "DatabaseNotOurs",
    "DatabaseReadOnly",
    "DatabaseTooNew",
    "DatabaseUnavailable",
    "DatabaseUrlInvalid",
    "DuplicateTask",
    "HoldfastError",
    "HookTimedOut",
    "IdempotencyBusy",
    "InvalidOption",
    "InvalidTask",
    "JournalFull",
    "JournalMismatch",
    "MigrationNeeded",
    "NotBound",
    "NotDurable",
    "NotSerializable",
    "OutOfMemory",
    "PayloadInvalid",
    "ResultTimeout",
    "RetryAfter",
    "RunCanceled",
    "RunCrashed",
    "RunExpired",
    "RunFailed",
    "RunNotFound",
    "RunTimedOut",
    "RunUnfinished",
    "StepFailed",
    "Suspended",
    "SystemFailure",
    "TokenUnknown",
    "TooLarge",
    "UnknownQueue",
    "UnknownSchedule",
    "UnknownTask",
    "WaitTimedOut",
]

_ABSENT: Final = object()
_SEEN_LIMIT: Final = 500


def shown(value: object, limit: int = 80) -> str:
    """``repr(value)``, cut to ``limit`` characters, for use in a message. Never raises, whatever ``value`` does.

    >>> shown("x" * 100, limit=10)
    "'xxxxxx..."
    """
    try:
        text = repr(value)
    except (Exception, SystemExit):  # a broken __repr__ must not replace the error that wants to show the value
        text = f"<{type(value).__name__} that cannot be shown>"
    return _cut(text, limit)


def _cut(text: str, limit: int) -> str:
    printable = text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\x00", "\\x00")
    return printable if len(printable) <= limit else printable[: limit - 3] + "..."


class HoldfastError(Exception):
    """Something in Holdfast went wrong.

    ``what`` is wrong, the value ``seen`` (text as it is, anything else by its repr, cut to a sane length), and what to
    ``do``. All three are kept as attributes, as text, so that an error can be pickled and holds nothing alive.

    >>> str(HoldfastError("The delay is negative", seen=-5, do='Write a duration such as "5s".'))
    'The delay is negative (-5). Write a duration such as "5s".'
    """

    def __init__(self, what: str | None = None, *, seen: object = _ABSENT, do: str | None = None) -> None:
        self.what = what if what is not None else default_message(type(self))
        self.seen = _seen_text(seen)
        self.do = do
        super().__init__(self.what)

    def __str__(self) -> str:
        if self.seen is None and self.do is None:
            return self.what
        seen = f" ({self.seen})" if self.seen is not None else ""
        do = f" {self.do}" if self.do else ""
        return f"{self.what.rstrip('.')}{seen}.{do}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def default_message(error: type[BaseException]) -> str:
    """The first paragraph of the class's docstring as one line; under ``python -OO`` the class's name."""
    first, _, _ = inspect.cleandoc(error.__doc__ or error.__name__).partition("\n\n")
    return " ".join(first.split())


def _seen_text(seen: object) -> str | None:
    if seen is _ABSENT:
        return None
    return _cut(seen, _SEEN_LIMIT) if isinstance(seen, str) else shown(seen, _SEEN_LIMIT)


def _rebuild(kind: type[HoldfastError], args: tuple[Any, ...], state: dict[str, Any]) -> HoldfastError:
    # Not kind(*args): the subclasses' constructors take other arguments than the message.
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


# -- what a user wrote ------------------------------------------------------------------------------------------------


class InvalidOption(HoldfastError, ValueError):
    """An option has a value that cannot be used."""


class InvalidTask(HoldfastError, TypeError):
    """This function cannot be a task."""


class DuplicateTask(HoldfastError):
    """Two tasks have the same id."""


class UnknownTask(HoldfastError):
    """No task has this id."""


class AppNotFound(HoldfastError):
    """No Holdfast app was found."""


class NotBound(HoldfastError):
    """This task belongs to no app yet."""


# -- payloads and outputs ---------------------------------------------------------------------------------------------


class PayloadInvalid(HoldfastError):
    """The payload does not fit the task's annotation.

    ``problems`` holds one line for each thing that does not fit, as ``"field: reason"``.
    """

    def __init__(
        self,
        what: str | None = None,
        *,
        seen: object = _ABSENT,
        do: str | None = None,
        problems: tuple[str, ...] = (),
    ) -> None:
        super().__init__(what, seen=seen, do=do)
        self.problems = problems


class NotSerializable(HoldfastError, TypeError):
    """This value cannot be written as JSON."""


class TooLarge(HoldfastError):
    """The value is larger than the limit.

    ``limit`` is the name of the setting that was exceeded, ``size`` and ``allowed`` are in bytes.
    """

    def __init__(
        self,
        what: str | None = None,
        *,
        seen: object = _ABSENT,
        do: str | None = None,
        limit: str | None = None,
        size: int | None = None,
        allowed: int | None = None,
    ) -> None:
        if seen is _ABSENT and size is not None:
            seen = f"{size} bytes, and {limit or 'the limit'} is {allowed}"
        super().__init__(what, seen=seen, do=do)
        self.limit = limit
        self.size = size
        self.allowed = allowed


# -- runs -------------------------------------------------------------------------------------------------------------


class IdempotencyBusy(HoldfastError):
    """The idempotency key is held by a transaction that is still open, so it cannot be said which run it stands for."""


class RunNotFound(HoldfastError):
    """There is no run with this id."""


class UnknownQueue(HoldfastError):
    """There is no queue with this name."""


class UnknownSchedule(HoldfastError):
    """There is no schedule with this id."""


class AttemptLost(HoldfastError):
    """This attempt no longer holds its run: the run went on elsewhere, or has ended. Nothing was written."""


class ResultTimeout(HoldfastError, TimeoutError):
    """The run did not finish within the timeout. It goes on; only the waiting has ended."""


class HookTimedOut(HoldfastError, TimeoutError):
    """A hook took longer than the limit for hooks and was cancelled."""


class RecordedError(Protocol):
    """What is known of the exception that ended a run."""

    @property
    def type(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def traceback(self) -> str: ...


class RunUnfinished(HoldfastError):
    """The run is not finished, so it has no output yet."""


class RunFailed(HoldfastError):
    """The run did not complete.

    ``run_id``, its final ``status``, and the recorded ``error`` (``.type``, ``.message``, ``.traceback``).
    """

    advice: ClassVar[str] = "Its traceback is in .error."

    def __init__(self, run_id: str, status: str, error: RecordedError) -> None:
        reason = f"{error.type}: {error.message}" if error.message else error.type
        super().__init__(f"Run {run_id} ended as {status}", seen=reason, do=self.advice)
        self.run_id = run_id
        self.status = status
        self.error = error


class RunCanceled(RunFailed):
    """The run was canceled."""

    advice = "Somebody asked for its end; replay it if that was a mistake."


class RunExpired(RunFailed):
    """The run's time to live passed before it started."""

    advice = "Give it a longer ttl, or start more workers."


class RunTimedOut(RunFailed):
    """The run took longer than its max_duration."""

    advice = "Give it more max_duration, or let it do less."


class RunCrashed(RunFailed):
    """The processes that carried the run out died, as often as max_crashes allows."""

    advice = "Look for a signal or for memory in the logs of its workers."


class SystemFailure(RunFailed):
    """Holdfast itself could not go on with the run."""

    advice = "The reason is in .error; replay it once that is mended."


class StepFailed(HoldfastError):
    """A step of a run failed, and was tried as often as its ``Retry`` says.

    ``step`` is its name, ``error`` what it raised (``.type``, ``.message``, ``.traceback``). It is the same when the
    run is replayed, where the exception itself is gone: `matches` tells what kind it was.

    >>> except StepFailed as failed:
    ...     raise RetryAfter("10m") if failed.matches(ConnectionError) else failed
    """

    def __init__(self, step: str, error: RecordedError, kinds: Sequence[str] = ()) -> None:
        reason = f"{error.type}: {error.message}" if error.message else error.type
        super().__init__(f"The step {step} failed", seen=reason, do="Its traceback is in .error.")
        self.step = step
        self.error = error
        self.kinds = tuple(kinds)

    def matches(self, *kinds: type[BaseException]) -> bool:
        """Whether what the step raised is one of these exceptions, or of a class below one."""
        return any(f"{kind.__module__}.{kind.__qualname__}" in self.kinds for kind in kinds)


class WaitTimedOut(HoldfastError, TimeoutError):
    """What was waited for did not come in time."""


class JournalMismatch(HoldfastError):
    """The code asks for something else than what its run has recorded at this place."""


class JournalFull(HoldfastError):
    """A run has recorded more than its journal may hold."""


class NotDurable(HoldfastError):
    """A durable operation was asked for where there can be none."""


class OutOfMemory(HoldfastError):
    """The run needs more memory than there is.

    A task may raise it, as may anything below it raise ``MemoryError``: both are recorded as this, and so is a process
    that was killed for its memory. ``Retry(out_of_memory="large-1x")`` runs the next attempt on a larger machine.

    >>> if size > 2 * GIGABYTE:
    ...     raise OutOfMemory("This file is too large to be read at once")
    """


class TokenUnknown(HoldfastError):
    """There is no token with this id."""


class Suspended(BaseException):
    """Raised where a run waits, when it leaves the worker's memory: it goes on later, from the top, with what it has
    recorded. Let it pass; ``finally`` and ``with`` around a wait run then, and again later."""


class BatchIncomplete(HoldfastError):
    """Some items of the batch could not be triggered.

    All others were: ``batch`` is their handle. ``errors`` has the error of each missing item under its place in the
    batch, counted from 0.
    """

    def __init__(self, batch: BatchHandle[Any], errors: dict[int, Exception]) -> None:
        place, error = next(iter(errors.items()))
        super().__init__(
            f"{len(errors)} of {len(errors) + len(batch)} items of the batch could not be triggered",
            seen=f"item {place}: {type(error).__name__}: {error}",
            do="The others were triggered, see .batch; the errors are in .errors by place.",
        )
        self.batch = batch
        self.errors = errors


# -- the database -----------------------------------------------------------------------------------------------------


class DatabaseError(HoldfastError):
    """The database refused."""


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached."""


class DatabaseReadOnly(DatabaseError):
    """The database can only be read."""


class DatabaseFull(DatabaseError):
    """The disk of the database is full; nothing was written."""


class DatabaseForeign(DatabaseError):
    """This process already has the database file open through another SQLite library.

    Two SQLite libraries in one process drop each other's file locks, and committed rows get lost.
    """


class DatabaseUrlInvalid(DatabaseError, ValueError):
    """The database URL cannot be understood."""


class DatabaseNotOurs(DatabaseError):
    """The database holds something else than Holdfast's tables."""


class DatabaseTooNew(DatabaseError):
    """The database was written by a newer version of Holdfast than this one."""


class MigrationNeeded(DatabaseError):
    """The database's tables are older than this version of Holdfast."""


# -- what a task raises -----------------------------------------------------------------------------------------------


class AbortRun(Exception):
    """Raised in a task: the run fails now and is not retried. Example: ``raise AbortRun("nobody approved")``."""


class RetryAfter(Exception):
    """Raised in a task: this attempt failed, the next one starts after ``delay`` (a duration; seconds if a number).

    Example: ``raise RetryAfter("10m")``.
    """

    max_attempts: int | None = None  # of a subclass that counts for itself; else it is what governs the attempt

    def __init__(self, delay: str | float | timedelta, message: str | None = None) -> None:
        super().__init__(delay, message)
        self.delay = delay
        self.message = message

    def __str__(self) -> str:
        return self.message if self.message is not None else f"retry after {shown(self.delay)}"
