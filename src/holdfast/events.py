"""What hooks are told: one typed event for each kind, so that what is added later breaks nobody.

    Event          init, on_start, on_attempt_start, middleware, cleanup
    Success        on_success
    Failure        catch_error, on_error, on_failure
    Cancellation   on_cancel
    Completion     on_complete

An event can be made by hand, so that a hook can be tested as the function that it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Generic, TypeVar, cast

from holdfast.errors import HoldfastError
from holdfast.model import Run, RunError

__all__ = ["Cancellation", "Completion", "Event", "Failure", "Success", "Unfit"]

T = TypeVar("T")
R = TypeVar("R")


class Unfit:
    """Stands for a payload that does not fit the task: who asks for it is given the reason."""

    __slots__ = ("error",)

    def __init__(self, error: HoldfastError) -> None:
        self.error = error


class Event(Generic[T]):
    """What every hook is told.

    ``run`` is a snapshot of the run as it is now; after an end it has the status of the end. ``state`` is a dict that
    the hooks and middleware of one attempt share, and nobody else: what ``init`` puts there, ``cleanup`` finds.
    """

    __slots__ = ("_payload", "run", "state")

    def __init__(self, run: Run[Any], payload: T, *, state: dict[str, Any] | None = None) -> None:
        self.run = run
        self._payload = payload
        self.state: dict[str, Any] = {} if state is None else state

    @property
    def payload(self) -> T:
        """The run's payload, as the task gets it.

        Raises:
            PayloadInvalid: it does not fit the task, which is why the run has failed.
        """
        if isinstance(self._payload, Unfit):
            raise self._payload.error
        return self._payload

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.run!r}>"


class Success(Event[T], Generic[T, R]):
    """An attempt has returned ``output``, and with it the run is completed."""

    __slots__ = ("output",)

    def __init__(self, run: Run[Any], payload: T, output: R, *, state: dict[str, Any] | None = None) -> None:
        super().__init__(run, payload, state=state)
        self.output = output


class Failure(Event[T]):
    """Something went wrong: an attempt, or the run for good.

    ``error`` describes it as it is recorded. ``exception`` is the exception itself, where an attempt has just raised
    one in this process. ``retry_in`` is how long it will be until the next attempt; None if there is none, or if that
    is not decided yet (``catch_error``).
    """

    __slots__ = ("error", "exception", "retry_in")

    def __init__(
        self,
        run: Run[Any],
        payload: T,
        error: RunError,
        *,
        exception: BaseException | None = None,
        retry_in: timedelta | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(run, payload, state=state)
        self.error = error
        self.exception = exception
        self.retry_in = retry_in


class Cancellation(Event[T]):
    """The run was canceled."""

    __slots__ = ()


class Completion(Event[T], Generic[T, R]):
    """The run has ended, in whatever way: ``run.status`` says which."""

    __slots__ = ()

    @property
    def ok(self) -> bool:
        """Whether it completed, so that there is an output."""
        return self.run.ok

    @property
    def output(self) -> R:
        """What the task returned.

        Raises:
            RunFailed: the run ended without one.
        """
        return cast("R", self.run.output)

    @property
    def error(self) -> RunError | None:
        """What ended it, if it ended without an output."""
        return self.run.error
