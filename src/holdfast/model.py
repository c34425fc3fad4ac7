"""What users see of a run: its status, its snapshot, its error, its log.

A `Run` is a snapshot; it does not change by itself. It is read from one record, and what is costly about that record
(its output, its metadata, its log) is decoded when it is asked for. `Results` is what a batch comes to: finished runs
in the order of the batch.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar, cast, overload

from holdfast import codec, records
from holdfast.clock import utc
from holdfast.codec import AnyCodec, Codec
from holdfast.errors import (
    HoldfastError,
    RunCanceled,
    RunCrashed,
    RunExpired,
    RunFailed,
    RunTimedOut,
    RunUnfinished,
    SystemFailure,
)
from holdfast.idempotency import shown_key
from holdfast.machine import Machine, machine_in, machine_of

__all__ = [
    "FINAL",
    "STATUSES",
    "Chunk",
    "JournalEntry",
    "LogLine",
    "Progress",
    "Results",
    "Run",
    "RunError",
    "RunStatus",
    "Usage",
    "failure",
]

R_co = TypeVar("R_co", covariant=True)

RunStatus = Literal[
    "pending_version",
    "delayed",
    "queued",
    "executing",
    "waiting",
    "completed",
    "failed",
    "canceled",
    "expired",
    "timed_out",
    "crashed",
    "system_failure",
]

STATUSES: Final[Mapping[RunStatus, str]] = {
    "pending_version": "queued, and no live worker knows the task",
    "delayed": "its time has not come, or a retry backs off",
    "queued": "ready, or waiting for a slot",
    "executing": "an attempt holds it",
    "waiting": "suspended in a durable wait, without a slot",
    "completed": "its function returned",
    "failed": "its function raised, and there was no retry left",
    "canceled": "somebody asked for its end",
    "expired": "its time to live passed before it started",
    "timed_out": "it took longer than its max_duration",
    "crashed": "its processes died, as often as max_crashes allows",
    "system_failure": "Holdfast itself could not go on with it",
}

FINAL: Final[frozenset[RunStatus]] = frozenset(
    ("completed", "failed", "canceled", "expired", "timed_out", "crashed", "system_failure")
)

_LAST: Final = 2**31
_HERE: Final = str(Path(__file__).parent)
_DEMO: Final = str(Path(__file__).parent / "demo")  # its tasks are no part of how they are carried out
_MESSAGE_LIMIT: Final = 16_384
_TRACEBACK_LIMIT: Final = 65_536


@dataclass(frozen=True, slots=True)
class RunError:
    """What ended an attempt: the exception's ``type`` (``"ValueError"``, ``"shop.CardDeclined"``), its ``message``, and
    its ``traceback`` as text, from the task's own code down."""

    type: str
    message: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> RunError:
        """Describe an exception. Never raises, whatever the exception does when it is asked for its text."""
        return cls(_type_name(type(error)), _message(error), _traceback(error))

    @classmethod
    def read(cls, text: str) -> RunError:
        """From the JSON text that `text` made."""
        stored = codec.decode(text)
        return cls(stored["type"], stored["message"], stored.get("traceback", ""))

    def text(self) -> str:
        """As JSON text, the way it is stored."""
        return codec.encode({"type": self.type, "message": self.message, "traceback": self.traceback})


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt has used: seconds of CPU, seconds that passed, and how much memory it had at most, in bytes; its
    children included. CPU and memory are known of runs in processes of their own, and None of others."""

    cpu_seconds: float | None
    wall_seconds: float
    peak_memory: int | None

    @classmethod
    def read(cls, text: str) -> Usage:
        """From the JSON text that is stored."""
        stored = codec.decode(text)
        return cls(stored["cpu_ms"] / 1000, stored["wall_ms"] / 1000, stored["memory_bytes"])


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a run logged or printed. ``level`` is logging's name for it, ``attempt`` counts from 1."""

    at: datetime
    level: str
    attempt: int
    logger: str
    message: str


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One thing that a run has done durably, or waits for.

    ``kind`` is step, sleep, token, wait, child, children, trigger or value; ``key`` is unique in the run. ``status`` is
    done, failed, expired (its time was over), waiting, or retrying. ``until`` is when a wait ends by itself, or a step
    is tried again. ``result`` is a plain JSON value; ``run_ids`` are the runs that it made, ``token_id`` the token that
    it made or waits for.
    """

    key: str
    kind: str
    name: str
    status: str
    tries: int
    started_at: datetime
    finished_at: datetime | None
    until: datetime | None
    result: Any
    error: RunError | None
    run_ids: list[str]
    token_id: str | None


def entry_status(kind: str, state: str) -> str:
    """How an entry of a journal stands, in the word that users see."""
    if state in ("open", "again"):
        return "retrying" if kind == "step" else "waiting"
    return state


class Progress(NamedTuple):
    """How far a run is, as its task has told: so much ``done`` of a ``total``, which is None if nobody knows, and a
    ``note``."""

    done: float
    total: float | None = None
    note: str = ""

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Progress | None:
        """The progress in a run's metadata; None if there is none, or the entry is something else of the task's own."""
        entry = metadata.get("progress")
        if not isinstance(entry, dict) or set(entry) != set(cls._fields):
            return None
        done, total, note = (entry[name] for name in cls._fields)
        numbers = isinstance(done, int | float) and isinstance(total, int | float | None)
        return cls(done, total, note) if numbers and isinstance(note, str) else None


class Chunk(NamedTuple, Generic[R_co]):
    """One piece of a stream: its ``value``, its ``offset`` from the stream's beginning, the number of the ``attempt``
    that wrote it, and when. It is the ``first`` of a new beginning: what stands before it was written by an attempt of
    which nothing is left."""

    value: R_co
    offset: int
    attempt: int
    first: bool
    at: datetime


class Run(Generic[R_co]):
    """A snapshot of a run.

    Times are aware datetimes in UTC, or None for what has not happened. ``payload`` and ``metadata`` are plain JSON
    values; ``output`` has the type that the task's function returns.

    >>> run = handle.retrieve()
    >>> run.status, run.attempts, [line.message for line in run.logs]
    ('completed', 1, ['sent'])
    """

    __slots__ = ("_journal", "_logs", "_output", "_read_journal", "_read_logs", "_record")

    def __init__(
        self,
        record: records.RunRecord,
        output: Codec[Any],
        logs: Callable[[], Iterable[records.LogLine]],
        journal: Callable[[], Iterable[records.Recorded]] = tuple,
    ) -> None:
        self._record = record
        self._output = output
        self._read_logs = logs
        self._read_journal = journal
        self._logs: list[LogLine] | None = None
        self._journal: list[JournalEntry] | None = None

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def task(self) -> str:
        """The id of its task."""
        return self._record.task

    @property
    def queue(self) -> str:
        return self._record.queue

    @property
    def crashes(self) -> int:
        """How often its process died; that uses up no attempt."""
        return self._record.crashes

    @property
    def machine(self) -> Machine | None:
        """The machine that it asked for; None if it did not."""
        word = machine_in(self._record.options)
        return None if word is None else machine_of(word)

    @property
    def usage(self) -> Usage | None:
        """What its last attempt has used, if it had a process of its own and has ended."""
        return None if self._record.usage is None else Usage.read(self._record.usage)

    @property
    def status(self) -> RunStatus:
        """What `RunStatus` tells."""
        return cast("RunStatus", self._record.status)

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self._record.status in FINAL

    @property
    def ok(self) -> bool:
        """Whether it completed, so that there is an output."""
        return self._record.status == "completed"

    @property
    def output(self) -> R_co:
        """What the task returned.

        Raises:
            RunFailed: it ended without one; RunCanceled, RunExpired, RunTimedOut, RunCrashed, SystemFailure say how.
            RunUnfinished: it has not ended.
        """
        if not self.ok:
            raise self._no_output()
        text = self._record.output or "null"
        if isinstance(self._output, AnyCodec) and self._output.shows:
            return cast("R_co", codec.masked(text, payload=self._record.payload))
        return cast("R_co", self._output.load(text))

    @property
    def error(self) -> RunError | None:
        """What ended it, if it ended without an output."""
        return RunError.read(self._record.error) if self._record.error is not None else None

    @property
    def attempts(self) -> int:
        """How many attempts were started, not counting those that were handed back or lost their process."""
        held = self._record.worker_id is not None  # else the record has the number of the attempt that comes next
        return self._record.attempts if held else self._record.attempts - 1

    @property
    def logs(self) -> list[LogLine]:
        """The lines it wrote, in order. Read when first asked for; `RunHandle.aretrieve` has read them already."""
        if self._logs is None:
            self._logs = [_line(line) for line in self._read_logs()]
        return self._logs

    @property
    def journal(self) -> list[JournalEntry]:
        """What it has done durably, and waits for, in the order in which that was begun. Read when first asked for;
        `RunHandle.aretrieve` has read it already."""
        if self._journal is None:
            found = sorted(self._read_journal(), key=lambda each: (each.started_at, each.settled or _LAST, each.seq))
            self._journal = [_entry(each, self._record.payload) for each in found if each.kind != "replay"]
        return self._journal

    @property
    def payload(self) -> Any:
        """As plain JSON, with ``**********`` for what is secret in it: only the task gets that."""
        return codec.masked(self._record.payload)

    @property
    def metadata(self) -> dict[str, Any]:
        return cast("dict[str, Any]", _decoded(self._record.metadata, {}))

    @property
    def progress(self) -> Progress | None:
        """How far it is, if its task tells: see ``ctx.progress`` and ``ctx.track``."""
        return Progress.read(self.metadata)

    @property
    def tags(self) -> list[str]:
        return cast("list[str]", _decoded(self._record.tags, []))

    @property
    def created_at(self) -> datetime:
        return at(self._record.created_at)

    @property
    def started_at(self) -> datetime | None:
        return _maybe_at(self._record.started_at)

    @property
    def finished_at(self) -> datetime | None:
        return _maybe_at(self._record.finished_at)

    @property
    def due_at(self) -> datetime | None:
        """When it may start at the earliest."""
        return _maybe_at(self._record.due_at)

    @property
    def expires_at(self) -> datetime | None:
        """When its ttl ends."""
        return _maybe_at(self._record.expire_at)

    @property
    def priority(self) -> float:
        """Seconds of head start."""
        return self._record.priority_ms / 1000

    @property
    def concurrency_key(self) -> str | None:
        return self._record.concurrency_key

    @property
    def idempotency_key(self) -> str | None:
        return shown_key(self._record.idempotency_key)

    @property
    def version(self) -> str | None:
        return self._record.version

    @property
    def parent_id(self) -> str | None:
        """The run whose code triggered it."""
        return self._record.parent_id

    @property
    def root_id(self) -> str | None:
        """The run at the top of the family it belongs to; None if it is that itself."""
        return self._record.root_id

    @property
    def batch_id(self) -> str | None:
        return self._record.batch_id

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.task} {self.status}>"

    def _no_output(self) -> HoldfastError:
        if self.finished:
            return failure(self._record)
        return RunUnfinished(
            f"Run {self.id} has no output yet", seen=self.status, do="Wait for it with handle.result()."
        )


class Results(Sequence[Run[R_co]]):
    """The finished runs of a batch, in its order.

    >>> results = batch.results(timeout="1h")
    >>> for run in results.failed:
    ...     print(run.id, run.error)
    """

    __slots__ = ("_runs",)

    def __init__(self, runs: Iterable[Run[R_co]]) -> None:
        self._runs = list(runs)

    def outputs(self) -> list[R_co]:
        """The outputs of all runs.

        Raises:
            RunFailed: for the first run that has none.
        """
        return [run.output for run in self._runs]

    @property
    def failed(self) -> list[Run[R_co]]:
        """The runs that did not complete, however they ended."""
        return [run for run in self._runs if not run.ok]

    @overload
    def __getitem__(self, index: int, /) -> Run[R_co]: ...
    @overload
    def __getitem__(self, index: slice, /) -> Results[R_co]: ...
    def __getitem__(self, index: int | slice, /) -> Run[R_co] | Results[R_co]:
        return Results(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def __repr__(self) -> str:
        return f"<Results of {len(self)} runs, {len(self.failed)} failed>"


_FAILURES: Final[Mapping[str, type[RunFailed]]] = {
    "canceled": RunCanceled,
    "expired": RunExpired,
    "timed_out": RunTimedOut,
    "crashed": RunCrashed,
    "system_failure": SystemFailure,
}


def failure(record: records.RunRecord) -> RunFailed:
    """The exception that stands for a run that ended without an output."""
    kind = _FAILURES.get(record.status, RunFailed)
    if record.error is not None:
        return kind(record.id, record.status, RunError.read(record.error))
    meaning = STATUSES.get(cast("RunStatus", record.status), "")
    return kind(record.id, record.status, RunError(kind.__name__, meaning))


def at(ms: int) -> datetime:
    """Milliseconds since the epoch as an aware datetime, exactly."""
    return utc(ms)


def _entry(entry: records.Recorded, payload: str) -> JournalEntry:
    value = codec.masked(entry.result or "null", payload=payload)
    makes = entry.kind in ("child", "children", "trigger")
    return JournalEntry(
        key=entry.key,
        kind=entry.kind,
        name=entry.name,
        status=entry_status(entry.kind, entry.state),
        tries=entry.tries,
        started_at=at(entry.started_at),
        finished_at=_maybe_at(entry.done_at),
        until=_maybe_at(entry.due_at),
        result=None if makes else value,
        error=None if entry.error is None else RunError.read(entry.error),
        run_ids=[each if isinstance(each, str) else each[0] for each in value] if makes else [],
        token_id=entry.target if entry.kind in ("token", "wait") else None,
    )


def _line(line: records.LogLine) -> LogLine:
    # Messages are stored as JSON, so that what no text column takes comes back, too.
    return LogLine(at(line.at), line.level, line.attempt, line.logger, str(codec.decode(line.message)))


def _maybe_at(ms: int | None) -> datetime | None:
    return None if ms is None else at(ms)


def _decoded(text: str | None, default: Any) -> Any:
    return default if text is None else codec.decode(text)


# -- describing an exception ------------------------------------------------------------------------------------------


def _type_name(kind: type[BaseException]) -> str:
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except (Exception, SystemExit):  # the error that is reported must not be replaced by the one its text raises
        text = f"<{type(error).__name__} whose text cannot be had>"
    return _cut(text, _MESSAGE_LIMIT)


def _traceback(error: BaseException) -> str:
    own = _own_frames(error.__traceback__)
    try:
        lines = traceback.TracebackException(type(error), error, own, compact=True).format()
        return _cut("".join(lines), _TRACEBACK_LIMIT)
    except (Exception, SystemExit):  # exceptions can overwrite anything that formatting touches
        return _cut("".join(traceback.format_tb(own)), _TRACEBACK_LIMIT)


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    """Without the frames of Holdfast that led to the task's code, unless there are no others."""
    frame = trace
    while frame is not None and _leads_to_tasks(frame.tb_frame.f_code.co_filename):
        frame = frame.tb_next
    return frame or trace


def _leads_to_tasks(file: str) -> bool:
    return file.startswith(_HERE) and not file.startswith(_DEMO)


def _cut(text: str, limit: int) -> str:
    # Both ends say something: the first frames are where it began, the last line is the error itself.
    return text if len(text) <= limit else f"{text[: limit // 4]}\n… cut …\n{text[-3 * limit // 4 :]}"
