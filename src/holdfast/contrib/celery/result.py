"""Results in Celery's words: what ``.delay()`` gives back, and what ``.apply()`` does.

A `RunHandle` stands behind each of them: ``result.handle`` has all that Holdfast can do with a run.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any, Final, Generic, Literal, TypeVar, cast, overload

from holdfast.app import Holdfast
from holdfast.blueprint import Blueprint
from holdfast.contrib.celery.refused import PAGE
from holdfast.duration import Duration
from holdfast.errors import InvalidOption, NotBound, RunFailed, shown
from holdfast.handle import RunHandle
from holdfast.model import Run, RunStatus

__all__ = ["AsyncResult", "EagerResult", "shared_tasks"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

shared_tasks: Final = Blueprint()
"""The blueprint that every ``@shared_task`` is in: ``app.include(shared_tasks)`` gives them an app."""

State = Literal["PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED"]

_STATES: Final[Mapping[RunStatus, State]] = {
    "executing": "STARTED",
    "waiting": "STARTED",
    "completed": "SUCCESS",
    "canceled": "REVOKED",
    "expired": "REVOKED",
}


class AsyncResult(Generic[R_co]):
    """A run of a shared task. Made by ``.delay()`` and ``.apply_async()``, or from the id of any run.

    Each of its words asks the database. A run that is not there, or no longer, is a `RunNotFound`, where Celery says
    PENDING.

    >>> result = send.delay("ada@example.com")
    >>> result.id, result.get(timeout=10), result.state
    ('01jh…', 'sent', 'SUCCESS')
    """

    __slots__ = ("handle",)

    @overload
    def __init__(self: AsyncResult[Any], id: str, /) -> None: ...
    @overload
    def __init__(self, handle: RunHandle[R_co], /) -> None: ...
    def __init__(self, of: Any, /) -> None:
        self.handle: RunHandle[R_co] = of if isinstance(of, RunHandle) else _handle(of)

    @property
    def id(self) -> str:
        """The id of the run. Holdfast makes it."""
        return self.handle.id

    @property
    def task_id(self) -> str:
        return self.handle.id

    @overload
    def get(
        self, timeout: Duration | None = None, propagate: Literal[True] = True, interval: float | None = None
    ) -> R_co: ...
    @overload
    def get(
        self, timeout: Duration | None = None, *, propagate: bool, interval: float | None = None
    ) -> R_co | RunFailed: ...
    def get(self, timeout: Duration | None = None, propagate: bool = True, interval: float | None = None) -> Any:
        """Wait for the end of the run and return what its function returned. ``interval`` changes nothing: how often is
        asked follows how long has been waited.

        Raises:
            RunFailed: it ended without a result, and ``error`` says of which exception; not with ``propagate=False``,
                which returns it.
            ResultTimeout: it did not end within ``timeout`` (seconds). It goes on.
            RunNotFound: there is no such run, or no longer.
        """
        try:
            return self.handle.result(timeout)
        except RunFailed as failed:
            if propagate:
                raise
            return failed

    @property
    def state(self) -> State:
        """PENDING, STARTED, RETRY, SUCCESS, FAILURE, or REVOKED, which an expired run is, too."""
        run = self.handle.retrieve()
        if run.finished or run.status in _STATES:
            return _STATES.get(run.status, "FAILURE")
        return "RETRY" if run.attempts else "PENDING"

    @property
    def status(self) -> State:
        return self.state

    @property
    def result(self) -> R_co | RunFailed | None:
        """What the function returned, or the error of a run that has none, or None as long as it has not ended."""
        run = self.handle.retrieve()
        return _outcome(run) if run.finished else None

    @property
    def traceback(self) -> str | None:
        """The traceback of what ended the run, as text."""
        error = self.handle.retrieve().error
        return error.traceback if error is not None else None

    def ready(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self.handle.retrieve().finished

    def successful(self) -> bool:
        """Whether it has ended with a result."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Whether it has ended with an error."""
        return self.state == "FAILURE"

    def revoke(self, *, terminate: bool = False) -> None:
        """Ask for the end of the run, as `RunHandle.cancel`: one that waits in line ends at once. A ``def`` that
        executes goes on to its end, as in Celery.

        Raises:
            InvalidOption: ``terminate=True``, for a thread cannot be killed.
        """
        if terminate:
            raise InvalidOption(
                "terminate cannot be honoured: a thread cannot be killed",
                seen=f"terminate={shown(terminate)}",
                do=f"Leave it out, or make it an async def task, which cancel() interrupts. See {PAGE}.",
            )
        self.handle.cancel()

    def forget(self) -> None:
        """Does nothing: runs are removed with their results when their retention ends, 30 days by default."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<AsyncResult {self.id}>"


class EagerResult(Generic[R_co]):
    """What ``.apply()`` came to: the function was called here and now, and there is no run."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: R_co | None, error: Exception | None) -> None:
        self._value, self._error = value, error

    def get(self, timeout: Duration | None = None, propagate: bool = True) -> R_co:
        """What the function returned; raises what it raised."""
        if self._error is not None and propagate:
            raise self._error
        return cast("R_co", self.result)

    @property
    def result(self) -> R_co | Exception:
        """What the function returned, or raised."""
        return self._error if self._error is not None else cast("R_co", self._value)

    @property
    def state(self) -> State:
        return "SUCCESS" if self._error is None else "FAILURE"

    @property
    def status(self) -> State:
        return self.state

    @property
    def traceback(self) -> str | None:
        return "".join(traceback.format_exception(self._error)) if self._error is not None else None

    def ready(self) -> bool:
        return True

    def successful(self) -> bool:
        return self._error is None

    def failed(self) -> bool:
        return self._error is not None

    def __repr__(self) -> str:
        return f"<EagerResult {self.state}>"


def _outcome(run: Run[R]) -> R | RunFailed:
    try:
        return run.output
    except RunFailed as failed:
        return failed


def _handle(id: object) -> RunHandle[Any]:
    if not isinstance(id, str):
        raise InvalidOption("AsyncResult is not made of an id", seen=shown(id), do="Write AsyncResult(result.id).")
    home = shared_tasks._home
    if not isinstance(home, Holdfast):
        raise NotBound(
            "The shared tasks belong to no app yet, so no run can be found",
            seen=id,
            do="Write app.include(shared_tasks) beside app = Holdfast(), and import that module here.",
        )
    return home.handle(id)
