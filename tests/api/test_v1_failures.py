"""Why a run has no output, in the words of Trigger.dev's client."""

from __future__ import annotations

import msgspec
import pytest

from holdfast import codec
from holdfast.api.v1.failures import error_of, failure_of
from holdfast.records import RunRecord

NOTHING = RunRecord(*(None for _ in RunRecord._fields))._replace(payload="null")


def ended(status: str, kind: str | None) -> RunRecord:
    error = None if kind is None else codec.encode({"type": kind, "message": "why", "traceback": "where"})
    return NOTHING._replace(status=status, error=error)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        ("crashed", "RunCrashed", "TASK_RUN_CRASHED"),
        ("crashed", "OutOfMemory", "TASK_PROCESS_OOM_KILLED"),
        ("failed", "OutOfMemory", "TASK_PROCESS_OOM_KILLED"),
        ("timed_out", "RunTimedOut", "MAX_DURATION_EXCEEDED"),
        ("system_failure", "SystemFailure", "TASK_EXECUTION_FAILED"),
        ("canceled", None, "TASK_RUN_CANCELLED"),
    ],
)
def test_what_is_not_the_tasks_own_fault_has_a_code(status: str, kind: str | None, code: str) -> None:
    failure = failure_of(ended(status, kind))
    assert failure is not None
    assert (failure.type, failure.code, failure.message) == ("INTERNAL_ERROR", code, kind and "why")


def test_an_exception_of_the_task_has_its_name_and_where_it_was_raised() -> None:
    failure, error = failure_of(ended("failed", "ValueError")), error_of(ended("failed", "ValueError"))
    said = {"type": "BUILT_IN_ERROR", "name": "ValueError", "message": "why", "stackTrace": "where"}
    assert msgspec.to_builtins(failure) == said
    assert msgspec.to_builtins(error) == {"message": "why", "name": "ValueError", "stackTrace": "where"}


def test_one_that_expired_says_so_and_one_that_completed_says_nothing() -> None:
    expired = failure_of(ended("expired", None))
    assert expired is not None
    assert expired.type == "STRING_ERROR"
    assert "expired" in (expired.raw or "")
    for status in ("completed", "queued", "executing"):
        assert failure_of(ended(status, None)) is None
