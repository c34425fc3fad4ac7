"""Handles: what a trigger gives back, and all that can be done with a run from its id.

A handle holds an id and the verbs it goes through; it knows nothing of stores or threads. ``x`` is for sync code,
``ax`` for async code, and both do the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

from holdfast.codec import AnyCodec, Codec
from holdfast.duration import Duration
from holdfast.model import Results, Run
from holdfast.names import checked_text
from holdfast.stream import Numbered, StreamReader, checked_start, checked_stream, codec_of

__all__ = ["BatchHandle", "RunHandle", "RunVerbs"]

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class RunVerbs(Protocol):
    """What handles ask of a client. ``output`` is the codec that reads what the run returns."""

    def cancel(self, run_id: str) -> None: ...
    async def acancel(self, run_id: str) -> None: ...
    def replay(self, run_id: str, payload: str | None, from_step: str | None) -> str: ...
    async def areplay(self, run_id: str, payload: str | None, from_step: str | None) -> str: ...
    def retrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]: ...
    async def aretrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]: ...
    def finished(self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None) -> Results[Any]: ...
    async def afinished(
        self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None
    ) -> Results[Any]: ...
    def updates(self, run_id: str, output: Codec[Any]) -> Iterator[Run[Any]]: ...
    def aupdates(self, run_id: str, output: Codec[Any]) -> AsyncIterator[Run[Any]]: ...
    def chunks(self, run_id: str, name: str, start: int) -> Iterator[Numbered]: ...
    def achunks(self, run_id: str, name: str, start: int) -> AsyncIterator[Numbered]: ...


class RunHandle(Generic[R_co]):
    """A run, by its id.

    ``created`` is False if the trigger's idempotency key was known: then this is the earlier run. It says nothing on a
    handle that was made from an id.

    >>> handle = greet.trigger("Ada")
    >>> handle.result(timeout="1m")
    'Hello, Ada!'
    """

    __slots__ = ("_output", "_verbs", "created", "id")

    def __init__(self, id: str, created: bool, verbs: RunVerbs, output: Codec[Any]) -> None:
        self.id = id
        self.created = created
        self._verbs = verbs
        self._output = output

    def result(self, timeout: Duration | None = None) -> R_co:
        """Wait for the end of the run and return what its task returned.

        Raises:
            RunFailed: it ended without an output; its kinds say how: RunCanceled, RunExpired, RunTimedOut, RunCrashed,
                SystemFailure.
            ResultTimeout: it did not end within ``timeout``. It goes on.
            RunNotFound: there is no such run, or no longer.
        """
        output: R_co = self._verbs.finished([self.id], [self._output], timeout)[0].output
        return output

    async def aresult(self, timeout: Duration | None = None) -> R_co:
        """`result` for async code."""
        output: R_co = (await self._verbs.afinished([self.id], [self._output], timeout))[0].output
        return output

    def retrieve(self) -> Run[R_co]:
        """A snapshot of the run as it is now.

        Raises:
            RunNotFound: there is no such run, or no longer.
        """
        return self._verbs.retrieve(self.id, self._output)

    async def aretrieve(self) -> Run[R_co]:
        """`retrieve` for async code. The snapshot's log is read with it, so that looking at it does not block."""
        return await self._verbs.aretrieve(self.id, self._output)

    def updates(self) -> Iterator[Run[R_co]]:
        """Snapshots of the run: as it is now, and then whenever it has changed, until it is final.

        Raises:
            RunNotFound: there is no such run, or no longer.
            ResultTimeout: in a test (``app.testing()``), when it has not ended and nothing is due any more.
        """
        return self._verbs.updates(self.id, self._output)

    def aupdates(self) -> AsyncIterator[Run[R_co]]:
        """`updates` for async code."""
        return self._verbs.aupdates(self.id, self._output)

    @overload
    def stream(self, name: str, /, *, start: int = 0) -> StreamReader[Any]: ...
    @overload
    def stream(self, name: str, type: type[T], /, *, start: int = 0) -> StreamReader[T]: ...
    def stream(self, name: str, type: Any = None, /, *, start: int = 0) -> StreamReader[Any]:
        """What the run writes to ``ctx.stream(name)``: iterate over it, in sync or in async code.

        It gives what is there from the offset ``start`` on, and then each piece as it comes, until the run has ended.
        Each says its own offset, so that a reader that was cut off can go on with the next. With a ``type``, pieces are
        read as that.

        Raises:
            InvalidOption: a name or an offset that cannot be one.

        >>> for chunk in handle.stream("tokens", str):
        ...     print(chunk.value, end="")
        """
        return StreamReader(self.id, checked_stream(name), codec_of(type), checked_start(start), self._verbs)

    def cancel(self) -> None:
        """Ask for the end of the run. One that waits in line ends at once; one that executes is asked to stop, and is
        canceled when it has. Nothing happens to a run that has ended.

        Raises:
            RunNotFound: there is no such run, or no longer.
        """
        self._verbs.cancel(self.id)

    async def acancel(self) -> None:
        """`cancel` for async code."""
        await self._verbs.acancel(self.id)

    def replay(self, *, payload: Any = ..., from_step: str | None = None) -> RunHandle[R_co]:
        """Trigger the same task again with the same payload and options, as a new run.

        With another ``payload``, if one is given, which is checked by what the task has announced. With ``from_step``,
        the name of a step or of a child's task, the new run has what this one had recorded when that step began, and
        carries out that step and what comes after it.

        Raises:
            RunNotFound: there is no such run, or no longer.
            InvalidOption: the run has recorded no such step.
            PayloadInvalid: the payload does not fit the task.
            NotSerializable, TooLarge: the payload cannot be kept.

        >>> handle.replay(from_step="charge").result(timeout="1m")
        """
        run_id = self._verbs.replay(self.id, *replay_options(payload, from_step))
        return RunHandle(run_id, True, self._verbs, self._output)

    async def areplay(self, *, payload: Any = ..., from_step: str | None = None) -> RunHandle[R_co]:
        """`replay` for async code."""
        run_id = await self._verbs.areplay(self.id, *replay_options(payload, from_step))
        return RunHandle(run_id, True, self._verbs, self._output)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunHandle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<RunHandle {self.id}>"


def replay_options(payload: Any, from_step: str | None) -> tuple[str | None, str | None]:
    """What a replay says: another payload as JSON text, and from which step on it is.

    Raises:
        InvalidOption, NotSerializable: one of them cannot be used.
    """
    step = None if from_step is None else checked_text(from_step, option="from_step")
    return None if payload is ... else AnyCodec().dump(payload), step


class BatchHandle(Generic[R_co]):
    """The runs of one batch, in its order.

    >>> batch = greet.batch_trigger(["Ada", "Grace"])
    >>> batch.results(timeout="1m").outputs()
    ['Hello, Ada!', 'Hello, Grace!']
    """

    __slots__ = ("_outputs", "_verbs", "id", "runs")

    def __init__(
        self, id: str, runs: Sequence[RunHandle[R_co]], verbs: RunVerbs, outputs: Sequence[Codec[Any]]
    ) -> None:
        self.id = id
        self.runs = runs
        self._verbs = verbs
        self._outputs = outputs

    def results(self, timeout: Duration | None = None) -> Results[R_co]:
        """Wait for the end of all runs and return them, however they ended.

        Raises:
            ResultTimeout: not all ended within ``timeout``. They go on.
            RunNotFound: one of them no longer exists.
        """
        return self._verbs.finished([run.id for run in self.runs], self._outputs, timeout)

    async def aresults(self, timeout: Duration | None = None) -> Results[R_co]:
        """`results` for async code."""
        return await self._verbs.afinished([run.id for run in self.runs], self._outputs, timeout)

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        return f"<BatchHandle {self.id} of {len(self.runs)} runs>"
