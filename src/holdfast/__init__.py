"""Holdfast: background jobs that hold.

from holdfast import Holdfast

app = Holdfast()

@app.task
def greet(name: str) -> str:
    return f"Hello, {name}!"

greet.trigger("Ada", delay="5s").result()
"""

from holdfast.app import Holdfast
from holdfast.batch import Item
from holdfast.context import AsyncContext, Context
from holdfast.duration import Duration
from holdfast.errors import (
    AbortRun,
    AppNotFound,
    AttemptLost,
    DatabaseError,
    DatabaseForeign,
    DatabaseFull,
    DatabaseNotOurs,
    DatabaseReadOnly,
    DatabaseTooNew,
    DatabaseUnavailable,
    DatabaseUrlInvalid,
    DuplicateTask,
    HoldfastError,
    IdempotencyBusy,
    InvalidOption,
    InvalidTask,
    MigrationNeeded,
    NotBound,
    NotSerializable,
    PayloadInvalid,
    ResultTimeout,
    RetryAfter,
    RunCanceled,
    RunCrashed,
    RunExpired,
    RunFailed,
    RunNotFound,
    RunTimedOut,
    TooLarge,
    UnknownTask,
)
from holdfast.handle import BatchHandle, BatchIncomplete, RunHandle
from holdfast.metadata import Metadata
from holdfast.model import LogLine, Results, Run, RunError, RunStatus, RunUnfinished
from holdfast.options import TaskOptions, TriggerOptions
from holdfast.queue import Queue
from holdfast.retry import Retry
from holdfast.task import AsyncTask, SyncTask, Task

__all__ = [
    "AbortRun",
    "AppNotFound",
    "AsyncContext",
    "AsyncTask",
    "AttemptLost",
    "BatchHandle",
    "BatchIncomplete",
    "Context",
    "DatabaseError",
    "DatabaseForeign",
    "DatabaseFull",
    "DatabaseNotOurs",
    "DatabaseReadOnly",
    "DatabaseTooNew",
    "DatabaseUnavailable",
    "DatabaseUrlInvalid",
    "DuplicateTask",
    "Duration",
    "Holdfast",
    "HoldfastError",
    "IdempotencyBusy",
    "InvalidOption",
    "InvalidTask",
    "Item",
    "LogLine",
    "Metadata",
    "MigrationNeeded",
    "NotBound",
    "NotSerializable",
    "PayloadInvalid",
    "Queue",
    "ResultTimeout",
    "Results",
    "Retry",
    "RetryAfter",
    "Run",
    "RunCanceled",
    "RunCrashed",
    "RunError",
    "RunExpired",
    "RunFailed",
    "RunHandle",
    "RunNotFound",
    "RunStatus",
    "RunTimedOut",
    "RunUnfinished",
    "SyncTask",
    "Task",
    "TaskOptions",
    "TooLarge",
    "TriggerOptions",
    "UnknownTask",
]
