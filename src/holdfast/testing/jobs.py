"""Jobs: the verbs of a test, over an app in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, Unpack, overload

from holdfast.clock import moment_ms
from holdfast.codec import Codec
from holdfast.context import AsyncContext, Context
from holdfast.depends import key_of
from holdfast.duration import Duration, to_ms
from holdfast.errors import HoldfastError, InvalidOption, shown
from holdfast.model import Run, at
from holdfast.options import TriggerOptions
from holdfast.task import Task
from holdfast.testing.stage import Stage
from holdfast.testing.told import Payloads, instead, told
from holdfast.testing.watched import Watched
from holdfast.worker.steps import output_codec

if TYPE_CHECKING:
    from holdfast.app import Holdfast

__all__ = ["Jobs"]

T = TypeVar("T")
R = TypeVar("R")


class Function(Protocol):
    """What is carried out as a step. A task has no such name, or a checker would take it for one."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


class Jobs:
    """An app in a test. Made by ``app.testing()``; enter it with ``with``, in sync and in async tests alike.

    Meanwhile all that the app does goes to a database in memory that only this test knows, and the clock stands still.
    Nothing is carried out by itself: `run`, `advance` and `work` carry out whatever is due, one run after the other, in
    order, with a real worker, and return when nothing is due any more. So does ``handle.result()``. In async tests use
    their twins `arun`, `aadvance`, `awork`, which carry out on the test's own event loop.

    >>> with app.testing() as jobs:
    ...     run = jobs.run(onboard, ada)
    ...     jobs.advance("3d")
    ...     assert run.output == "active" and jobs.payloads(send_mail) == [mail]
    """

    def __init__(self, app: Holdfast, *, at: datetime | None = None, patience: Duration = "30s") -> None:
        self._app = app
        self._start_ms = moment_ms(datetime.now(UTC) if at is None else at, option="at")
        self._patience_ms = to_ms(patience, name="patience")
        if self._patience_ms == 0:
            raise InvalidOption("patience is no time at all", seen=shown(patience), do='Write it like "30s".')
        self._entered: Stage | None = None
        self._runs: list[Watched[Any]] = []

    def __enter__(self) -> Self:
        if self._entered is not None:
            raise HoldfastError("This test is under way already", do="Call app.testing() once more.")
        stage = Stage(self._app, self._start_ms, self._patience_ms)
        stage.open()
        self._entered = stage
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stage = self._stage
        for run in self._runs:
            run.keep()
        self._runs, self._entered = [], None
        stage.close()

    # -- carrying out --

    @overload
    def run(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> Run[R]: ...
    @overload
    def run(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> Run[R]: ...
    def run(self, task: Task[Any, Any], payload: Any = None, /, **options: Unpack[TriggerOptions]) -> Run[Any]:
        """Trigger a task, and carry out whatever is due, until it ends or nothing is due any more.

        The run that comes back shows how it stands whenever it is looked at, also after ``advance``.

        Raises:
            What ``task.trigger`` raises.
            Stuck: for 30 s of real time (``app.testing(patience=…)``) nothing has moved, or there is no end to it.
        """
        _check_task(task)
        self._stage.refuse_to_block()
        handle = task.trigger(payload, **options)
        self._stage.work()
        return self._watched(handle.id, task.output_codec)

    @overload
    async def arun(
        self,
        task: Task[None, R] | Task[Context, R] | Task[AsyncContext, R],
        payload: None = None,
        /,
        **options: Unpack[TriggerOptions],
    ) -> Run[R]: ...
    @overload
    async def arun(self, task: Task[T, R], payload: T, /, **options: Unpack[TriggerOptions]) -> Run[R]: ...
    async def arun(self, task: Task[Any, Any], payload: Any = None, /, **options: Unpack[TriggerOptions]) -> Run[Any]:
        """`run` for async tests."""
        _check_task(task)
        stage = self._stage
        handle = await task.atrigger(payload, **options)
        await stage.awork()
        return self._watched(handle.id, task.output_codec)

    def advance(self, duration: Duration, /) -> None:
        """Move the clock, and carry out what becomes due until then, each at its own time: a retry that is due in a
        second and the one after it are both behind us after ``advance("1h")``."""
        self._stage.advance(to_ms(duration, name="duration"))

    async def aadvance(self, duration: Duration, /) -> None:
        """`advance` for async tests."""
        await self._stage.aadvance(to_ms(duration, name="duration"))

    def work(self) -> None:
        """Carry out whatever is due now: what the code under test has triggered."""
        self._stage.work()

    async def awork(self) -> None:
        """`work` for async tests."""
        await self._stage.awork()

    # -- looking --

    @property
    def now(self) -> datetime:
        """What the clock says."""
        return at(self._stage.clock.now())

    def payloads(self, task: Task[T, Any], /) -> Payloads[T]:
        """The payloads this task was triggered with, in order, whoever did it."""
        _check_task(task)
        records = self._stage.records()
        found = [task.load(record.payload) for record in records if record.task == task.id]
        return Payloads(found, told(records))

    def triggered(self, task: Task[Any, R], /) -> Sequence[Run[R]]:
        """The runs of this task, in order."""
        _check_task(task)
        return [
            self._watched(record.id, task.output_codec) for record in self._stage.records() if record.task == task.id
        ]

    def assert_triggered(self, task: Task[T, Any], /, *payload: T, times: int | None = None) -> None:
        """Fail unless the task was triggered: with this payload if one is given, and so many ``times`` if that is.

        >>> jobs.assert_triggered(send_mail, mail, times=1)
        """
        _check_times(times)
        payloads = self.payloads(task)
        count = len([each for each in payloads if each == payload[0]]) if payload else len(payloads)
        if count == times if times is not None else count > 0:
            return
        wanted = f"{task.id}({shown(payload[0], 200)})" if payload else task.id
        how = "not triggered" if times is None or not count else f"triggered {count} times and not {times}"
        raise AssertionError("\n".join([f"{wanted} was {how}.", *instead(payloads)]))

    def assert_not_triggered(self, task: Task[T, Any], /, *payload: T) -> None:
        """Fail if the task was triggered, with this payload if one is given."""
        self.assert_triggered(task, *payload, times=0)

    # -- arranging --

    @overload
    def replace(self, target: Task[Any, R], output: R | BaseException | type[BaseException], /) -> None: ...
    @overload
    def replace(self, target: Function, output: Any, /) -> None: ...
    def replace(self, target: Task[Any, Any] | Callable[..., Any], output: Any, /) -> None:
        """Let a task, or a function that is carried out as a step, answer this, or raise it if it is an exception,
        instead of being called.

        Raises:
            NotSerializable: the task, or the step, cannot return that.

        >>> jobs.replace(train, Model(loss=0.1))
        >>> jobs.replace(has_logged_in, True)
        >>> jobs.replace(charge, ConnectionError("no network"))
        """
        raises = issubclass(output if isinstance(output, type) else type(output), BaseException)
        if isinstance(target, Task):
            if not raises:
                target.output_codec.dump(output)
            self._stage.replaced[target.id] = target, output
        elif callable(target):
            if not raises:
                output_codec(target).dump(output)
            self._stage.stand_ins[target] = partial(answered, output)
        else:
            raise InvalidOption(
                "Only a task and a function of a step can be replaced",
                seen=shown(target),
                do="Name the function itself: jobs.replace(send_mail, None).",
            )

    def override(self, provider: Callable[..., Any], value: object, /) -> None:
        """Hand this in wherever a task, or another provider, asks for what ``provider`` gives. It is not opened, nor is
        what only it would have needed.

        Raises:
            InvalidOption: no task asks for it.

        >>> jobs.override(session, FakeSession())
        """
        if not any(_asks_for(task, provider) for task in self._app.tasks.values()):
            raise InvalidOption(
                "No task depends on this provider", seen=shown(provider), do="Name the function that stands in Depends."
            )
        self._stage.overrides[key_of(provider, "attempt")[1]] = value

    # -- inside --

    @property
    def _stage(self) -> Stage:
        if self._entered is None:
            raise HoldfastError("No test is under way", do="Write: with app.testing() as jobs.")
        return self._entered

    def _watched(self, run_id: str, output: Codec[R]) -> Run[R]:
        run: Watched[R] = Watched(run_id, output, self._app.client)
        self._runs.append(run)
        return run


def _asks_for(task: Task[Any, Any], provider: object) -> bool:
    if not callable(provider):
        return False
    plan = task.signature.plan
    asked = [each for _, each in plan.parameters] if plan is not None else []
    while asked:
        each = asked.pop()
        if each.fn == provider:
            return True
        asked += [need for _, need in each.needs]
    return False


def _check_times(times: object) -> None:
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 0):
        raise InvalidOption("times is not a whole number", seen=shown(times), do="Write, say, times=1.")


def _check_task(task: object) -> None:
    if not isinstance(task, Task):
        raise InvalidOption("This is not a task", seen=shown(task), do="Give what @app.task has made of a function.")


def answered(output: object, *_: object, **__: object) -> object:
    """What stands in for a step."""
    if isinstance(output, BaseException) or (isinstance(output, type) and issubclass(output, BaseException)):
        raise output
    return output
