"""Hooks: functions that are told what becomes of runs, and functions that wrap every attempt, unasked.

    @fulfill.on_failure                         for one task
    @app.on_failure                             for every task of the app
    def tell_support(failure: Failure[Order]) -> None: ...

A hook is a ``def``, which runs in a thread, or an ``async def``. It takes one event (events.py). On the way in, the
app's hooks come before the task's, each in the order in which they were written; on the way out it is exactly the other
way round. docs/hooks.md has the whole order, and what becomes of a hook that raises, hangs or is cancelled.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Generic, TypeVar, overload

from holdfast.annotations import invalid
from holdfast.errors import AbortRun, InvalidTask, RetryAfter, shown
from holdfast.events import Cancellation, Completion, Event, Failure, Success

__all__ = ["ENDS", "ENDS_ELSEWHERE", "Hook", "Hooked", "Hooks", "ends_of", "in_order"]

T = TypeVar("T")
R = TypeVar("R")
X = TypeVar("X")
F = TypeVar("F", bound=Callable[..., Any])

Hook = Callable[..., Any]
Hooks = Mapping[str, tuple[Hook, ...]]
Decision = RetryAfter | AbortRun | None

WAY_IN: Final = ("init", "on_start", "on_attempt_start", "on_resume", "middleware")
WAY_OUT: Final = (
    "on_wait",
    "catch_error",
    "on_success",
    "on_error",
    "on_failure",
    "on_cancel",
    "on_complete",
    "cleanup",
)

# Which ends a hook is for that may come without a worker, as bits: 1 is canceled, 2 is any other but completed …
ENDS: Final[Mapping[str, int]] = {"on_cancel": 1, "on_failure": 2, "on_complete": 3}
# … and 4 is completed, which only what runs elsewhere can be.
ENDS_ELSEWHERE: Final[Mapping[str, int]] = {"on_cancel": 1, "on_failure": 2, "on_success": 4, "on_complete": 7}


class Hooked(Generic[T, R]):
    """What takes hooks: a task with payload ``T`` and output ``R``, or an app, for all its tasks."""

    @property
    def hooks(self) -> dict[str, list[Hook]]:
        """The hooks defined here so far, by their kind, in the order in which they were written."""
        found: dict[str, list[Hook]] = vars(self).setdefault("_hooks", {})
        return found

    def init(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """Before everything else of an attempt. What it returns is not used; ``event.state`` keeps things."""
        return self._add("init", hook)

    def on_start(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """Before the first attempt of a run."""
        return self._add("on_start", hook)

    def on_attempt_start(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """Before every attempt."""
        return self._add("on_attempt_start", hook)

    @overload
    def middleware(  # type: ignore[overload-overlap]
        self, hook: Callable[[Event[T], Callable[[], Awaitable[R]]], Coroutine[Any, Any, X]], /
    ) -> Callable[[Event[T], Callable[[], Awaitable[R]]], Coroutine[Any, Any, X]]: ...
    @overload
    def middleware(
        self, hook: Callable[[Event[T], Callable[[], R]], X], /
    ) -> Callable[[Event[T], Callable[[], R]], X]: ...
    def middleware(self, hook: Any, /) -> Any:
        """Around every attempt: ``call_next()`` goes on to the next middleware, and at last to the task.

        It gives, or raises, what the task gives or raises. What a middleware returns replaces the output, unless it is
        None. A ``def`` middleware calls ``call_next()``, an ``async def`` one awaits it.

        >>> @app.middleware
        ... async def timed(event: Event[Any], call_next: Callable[[], Awaitable[Any]]) -> None:
        ...     with timer(event.run.task):
        ...         await call_next()
        """
        return self._add("middleware", hook)

    @overload
    def catch_error(
        self, hook: Callable[[Failure[T]], Coroutine[Any, Any, Decision]], /
    ) -> Callable[[Failure[T]], Coroutine[Any, Any, Decision]]: ...
    @overload
    def catch_error(self, hook: Callable[[Failure[T]], Decision], /) -> Callable[[Failure[T]], Decision]: ...
    def catch_error(self, hook: Any, /) -> Any:
        """When an attempt has raised: returns RetryAfter or AbortRun, or None to leave it to the task's ``Retry``.

        The first hook that returns something decides. ``max_attempts`` holds all the same.
        """
        return self._add("catch_error", hook)

    def on_success(self, hook: Callable[[Success[T, R]], X], /) -> Callable[[Success[T, R]], X]:
        """When the task has returned."""
        return self._add("on_success", hook)

    def on_error(self, hook: Callable[[Failure[T]], X], /) -> Callable[[Failure[T]], X]:
        """When an attempt has ended with an error, whether there will be another one or not."""
        return self._add("on_error", hook)

    def on_failure(self, hook: Callable[[Failure[T]], X], /) -> Callable[[Failure[T]], X]:
        """When the run has failed for good: failed, timed out, expired, crashed, or a failure of the system."""
        return self._add("on_failure", hook)

    def on_cancel(self, hook: Callable[[Cancellation[T]], X], /) -> Callable[[Cancellation[T]], X]:
        """When the run was canceled."""
        return self._add("on_cancel", hook)

    def on_complete(self, hook: Callable[[Completion[T, R]], X], /) -> Callable[[Completion[T, R]], X]:
        """When the run has ended, in whatever way."""
        return self._add("on_complete", hook)

    def on_wait(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """When the run waits, and has given up its slot."""
        return self._add("on_wait", hook)

    def on_resume(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """When the run goes on, in this process or from its journal in another one."""
        return self._add("on_resume", hook)

    def cleanup(self, hook: Callable[[Event[T]], X], /) -> Callable[[Event[T]], X]:
        """After everything else of an attempt that got as far as ``init``, however it ended."""
        return self._add("cleanup", hook)

    def _add(self, kind: str, hook: F) -> F:
        _check(kind, hook)
        self.hooks.setdefault(kind, []).append(hook)
        return hook


def in_order(shared: Mapping[str, list[Hook]], own: Mapping[str, list[Hook]]) -> Hooks:
    """The hooks for one task, by kind, in the order in which they are called: ``shared`` are the app's."""
    ordered: dict[str, tuple[Hook, ...]] = {}
    for kind in {*shared, *own}:
        inward = (*shared.get(kind, ()), *own.get(kind, ()))
        ordered[kind] = inward if kind in WAY_IN else inward[::-1]
    return ordered


def ends_of(hooks: Hooks, ends: Mapping[str, int] = ENDS) -> int:
    """Which ends these hooks want to be told of, as the bits of `ENDS`."""
    bits = 0
    for kind, bit in ends.items():
        bits |= bit if hooks.get(kind) else 0
    return bits


def _check(kind: str, hook: Any) -> None:
    takes = "an event and call_next" if kind == "middleware" else "one event"
    if not callable(hook):
        raise InvalidTask(f"{kind} is given what is no function", seen=shown(hook), do=f"Write @task.{kind} above one.")
    if inspect.isgeneratorfunction(hook) or inspect.isasyncgenfunction(hook):
        do = "Call call_next() where it yields." if kind == "middleware" else "Return instead."
        raise invalid(hook, f"is a generator, and {kind} would never run it", do)
    try:
        inspect.signature(hook).bind(*([None, None] if kind == "middleware" else [None]))
    except TypeError:
        raise invalid(hook, f"cannot be a hook: {kind} takes {takes}", f"Write ({_example(kind)}).") from None
    except ValueError:  # C code that does not say what it takes
        return


def _example(kind: str) -> str:
    return "event, call_next" if kind == "middleware" else "event"
