"""Why a run has no output, as the client is told it.

A run that is retrieved has a message, the name of the exception and its traceback. Rows of a subscription and results
tell apart whose fault it was: an exception of the task's own is a ``BUILT_IN_ERROR``, and what was done to it an
``INTERNAL_ERROR`` with a code that apps compare: ``TASK_PROCESS_OOM_KILLED``, ``MAX_DURATION_EXCEEDED``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast import codec
from holdfast.records import RunRecord

CODES: Final = {
    "canceled": "TASK_RUN_CANCELLED",
    "timed_out": "MAX_DURATION_EXCEEDED",
    "crashed": "TASK_RUN_CRASHED",
    "system_failure": "TASK_EXECUTION_FAILED",
}
MEMORY: Final = "OutOfMemory"  # however the attempt ended: killed, or with a MemoryError
EXPIRED: Final = "The run expired: its time to live was over before it had started"


class Error(msgspec.Struct, rename="camel", omit_defaults=True):
    """What ended a run. The code is that of an error which is none of the task's own."""

    message: str
    name: str | None = None
    stack_trace: str | None = None
    code: str | None = None


class Failure(msgspec.Struct, rename="camel", omit_defaults=True):
    """The same as rows and results have it."""

    type: str
    name: str | None = None
    message: str | None = None
    stack_trace: str | None = None
    code: str | None = None
    raw: str | None = None


def error_of(record: RunRecord) -> Error | None:
    """The error of a run as it is retrieved; None if there is none."""
    if record.error is None or record.status == "completed":
        return None
    stored = codec.masked(record.error, payload=record.payload)
    kind = stored["type"]
    return Error(stored["message"], kind, stored.get("traceback") or None, code_of(record.status, kind))


def code_of(status: str, kind: str) -> str | None:
    """The code of an error that is none of the task's own."""
    if kind == MEMORY and status in ("failed", "crashed"):
        return "TASK_PROCESS_OOM_KILLED"
    return CODES.get(status)


def failure_of(record: RunRecord) -> Failure | None:
    """The error of a run as rows and results have it; None if it has not failed."""
    if record.status == "expired":
        return Failure("STRING_ERROR", raw=EXPIRED)
    error = error_of(record)
    if error is None:
        code = CODES.get(record.status)
        return None if code is None else Failure("INTERNAL_ERROR", code=code)
    if error.code is not None:
        return Failure("INTERNAL_ERROR", message=error.message, stack_trace=error.stack_trace, code=error.code)
    return Failure("BUILT_IN_ERROR", error.name or "Error", error.message, error.stack_trace or "")
