"""Holdfast: background jobs that hold.

    from holdfast import Holdfast

    app = Holdfast()

    @app.task
    def greet(name: str) -> str:
        return f"Hello, {name}!"

    greet.trigger("Ada", delay="5s").result()

What is named here is imported when it is first used, so that a command that needs little starts at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdfast.app import Holdfast
    from holdfast.batch import Item
    from holdfast.blueprint import Blueprint
    from holdfast.context import AsyncContext, Context
    from holdfast.debounce import Debounce
    from holdfast.depends import Depends
    from holdfast.durable import Token, step
    from holdfast.duration import Duration
    from holdfast.errors import (
        AbortRun,
        AppNotFound,
        AttemptLost,
        BatchIncomplete,
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
        HookTimedOut,
        IdempotencyBusy,
        InvalidOption,
        InvalidTask,
        JournalFull,
        JournalMismatch,
        MigrationNeeded,
        NotBound,
        NotDurable,
        NotSerializable,
        OutOfMemory,
        PayloadInvalid,
        ResultTimeout,
        RetryAfter,
        RunCanceled,
        RunCrashed,
        RunExpired,
        RunFailed,
        RunNotFound,
        RunTimedOut,
        RunUnfinished,
        StepFailed,
        Suspended,
        SystemFailure,
        TokenUnknown,
        TooLarge,
        UnknownQueue,
        UnknownSchedule,
        UnknownTask,
        WaitTimedOut,
    )
    from holdfast.events import Cancellation, Completion, Event, Failure, Success
    from holdfast.handle import BatchHandle, RunHandle
    from holdfast.http_task import Invocation, PushOptions, PushResponse
    from holdfast.machine import Machine
    from holdfast.metadata import FamilyMetadata, Metadata
    from holdfast.model import Chunk, JournalEntry, LogLine, Progress, Results, Run, RunError, RunStatus, Usage
    from holdfast.options import TaskOptions, TriggerOptions
    from holdfast.queue import Queue
    from holdfast.queues import Queues, QueueState
    from holdfast.retry import Retry
    from holdfast.runs import Bulk, ListedRun, RunFilter, RunPage, Runs
    from holdfast.schedule import Cron, RRule, Slot
    from holdfast.scheduled import FiredSlot, Schedule, ScheduleOptions
    from holdfast.schedules import Schedules
    from holdfast.secret import Secret
    from holdfast.stream import StreamReader, StreamWriter
    from holdfast.task import AsyncTask, SyncTask, Task
    from holdfast.tokens import TokenPage, Tokens, TokenState, TokenStatus
    from holdfast.webhooks import (
        GitHub,
        SharedSecret,
        Slack,
        StandardWebhooks,
        Stripe,
        Svix,
        Webhook,
        WebhookRequest,
    )

__all__ = [
    "AbortRun",
    "AppNotFound",
    "AsyncContext",
    "AsyncTask",
    "AttemptLost",
    "BatchHandle",
    "BatchIncomplete",
    "Blueprint",
    "Bulk",
    "Cancellation",
    "Chunk",
    "Completion",
    "Context",
    "Cron",
    "DatabaseError",
    "DatabaseForeign",
    "DatabaseFull",
    "DatabaseNotOurs",
    "DatabaseReadOnly",
    "DatabaseTooNew",
    "DatabaseUnavailable",
    "DatabaseUrlInvalid",
    "Debounce",
    "Depends",
    "DuplicateTask",
    "Duration",
    "Event",
    "Failure",
    "FamilyMetadata",
    "FiredSlot",
    "GitHub",
    "Holdfast",
    "HoldfastError",
    "HookTimedOut",
    "IdempotencyBusy",
    "InvalidOption",
    "InvalidTask",
    "Invocation",
    "Item",
    "JournalEntry",
    "JournalFull",
    "JournalMismatch",
    "ListedRun",
    "LogLine",
    "Machine",
    "Metadata",
    "MigrationNeeded",
    "NotBound",
    "NotDurable",
    "NotSerializable",
    "OutOfMemory",
    "PayloadInvalid",
    "Progress",
    "PushOptions",
    "PushResponse",
    "Queue",
    "QueueState",
    "Queues",
    "RRule",
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
    "RunFilter",
    "RunHandle",
    "RunNotFound",
    "RunPage",
    "RunStatus",
    "RunTimedOut",
    "RunUnfinished",
    "Runs",
    "Schedule",
    "ScheduleOptions",
    "Schedules",
    "Secret",
    "SharedSecret",
    "Slack",
    "Slot",
    "StandardWebhooks",
    "StepFailed",
    "StreamReader",
    "StreamWriter",
    "Stripe",
    "Success",
    "Suspended",
    "Svix",
    "SyncTask",
    "SystemFailure",
    "Task",
    "TaskOptions",
    "Token",
    "TokenPage",
    "TokenState",
    "TokenStatus",
    "TokenUnknown",
    "Tokens",
    "TooLarge",
    "TriggerOptions",
    "UnknownQueue",
    "UnknownSchedule",
    "UnknownTask",
    "Usage",
    "WaitTimedOut",
    "Webhook",
    "WebhookRequest",
    "step",
]

# The lightest first: what needs little imports little.
_MODULES = (
    "errors",
    "duration",
    "durable",
    "debounce",
    "retry",
    "machine",
    "queue",
    "schedule",
    "secret",
    "model",
    "events",
    "options",
    "metadata",
    "stream",
    "context",
    "batch",
    "depends",
    "handle",
    "task",
    "http_task",
    "blueprint",
    "runs",
    "queues",
    "scheduled",
    "schedules",
    "tokens",
    "webhooks",
    "app",
)


if not TYPE_CHECKING:  # a checker that saw this would take any misspelt name for one of ours

    def __getattr__(name: str) -> object:
        if name in __all__:
            for each in _MODULES:
                module = import_module(f"holdfast.{each}")
                if name in module.__all__:
                    globals()[name] = value = getattr(module, name)
                    return value
        if name == "push":  # holdfast.push.verify, for those who receive requests
            return import_module("holdfast.push")
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
