"""What users see of a run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from holdfast import model, records
from holdfast.codec import codec_for
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
from holdfast.model import FINAL, STATUSES, Results, Run, RunError, RunStatus

EMPTY = records.RunRecord(
    id="r1",
    status="completed",
    task="greet",
    queue="task/greet",
    payload='"Ada"',
    output='"Hello"',
    error=None,
    attempts=1,
    crashes=0,
    created_at=1_767_225_600_123,
    started_at=None,
    finished_at=None,
    due_at=None,
    expire_at=None,
    concurrency_key=None,
    priority_ms=0,
    tags=None,
    metadata=None,
    options=None,
    version=None,
    idempotency_key=None,
    parent_id=None,
    root_id=None,
    batch_id=None,
    worker_id=None,
    cancel_at=None,
    claim=1,
)


def run_of(annotation: Any = str, logs: Callable[[], list[records.LogLine]] = list, **changes: Any) -> Run[Any]:
    return Run(EMPTY._replace(**changes), codec_for(annotation), logs)


def test_every_status_has_a_meaning() -> None:
    assert set(STATUSES) == set(get_args(RunStatus))
    assert set(STATUSES) > FINAL


def test_the_engine_has_the_same_final_words() -> None:
    from holdfast.engine import states

    assert set(FINAL) == set(states.FINAL)


def test_a_completed_run() -> None:
    run = run_of(started_at=1_767_225_600_456, tags='["a"]', metadata='{"n":1}', priority_ms=1500)
    assert run.ok
    assert run.finished
    assert (run.output, run.payload, run.tags, run.metadata, run.priority) == ("Hello", "Ada", ["a"], {"n": 1}, 1.5)
    assert run.created_at == datetime(2026, 1, 1, 0, 0, 0, 123_000, tzinfo=UTC)
    assert run.started_at == datetime(2026, 1, 1, 0, 0, 0, 456_000, tzinfo=UTC)
    assert run.finished_at is None
    assert repr(run) == "<Run r1 greet completed>"


def test_nothing_is_an_empty_list_or_mapping() -> None:
    run = run_of()
    assert (run.tags, run.metadata, run.logs, run.error) == ([], {}, [], None)


def test_the_output_has_the_type_of_the_task() -> None:
    assert run_of(timedelta, output='"PT5S"').output == timedelta(seconds=5)
    assert run_of(None, output=None).output is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("failed", RunFailed),
        ("system_failure", SystemFailure),
        ("canceled", RunCanceled),
        ("expired", RunExpired),
        ("timed_out", RunTimedOut),
        ("crashed", RunCrashed),
    ],
)
def test_a_run_that_did_not_complete_has_no_output(status: str, kind: type[RunFailed]) -> None:
    error = RunError("ValueError", "no", "Traceback…")
    run = run_of(status=status, output=None, error=error.text())
    with pytest.raises(RunFailed) as caught:
        _ = run.output
    assert type(caught.value) is kind
    assert (caught.value.run_id, caught.value.status, caught.value.error) == ("r1", status, error)
    assert not run.ok


def test_a_failure_without_a_recorded_error_says_what_its_status_means() -> None:
    with pytest.raises(RunExpired, match="time to live") as caught:
        _ = run_of(status="expired", output=None).output
    assert caught.value.error.type == "RunExpired"


@pytest.mark.parametrize("status", sorted(set(STATUSES) - FINAL))
def test_an_open_run_has_no_output_yet(status: str) -> None:
    with pytest.raises(RunUnfinished, match=status) as caught:
        _ = run_of(status=status, output=None).output
    assert isinstance(caught.value, HoldfastError)


def test_logs_are_read_once_and_only_when_asked_for() -> None:
    reads: list[int] = []

    def read() -> list[records.LogLine]:
        reads.append(1)
        return [records.LogLine("r1", 1, 1, 1000, "INFO", 1, "shop", r'"sent \u0000"')]

    run = run_of(logs=read)
    assert not reads
    assert [(line.message, line.level, line.attempt, line.logger) for line in run.logs] == [
        ("sent \0", "INFO", 1, "shop")
    ]
    assert run.logs[0].at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert len(reads) == 1


# -- results ----------------------------------------------------------------------------------------------------------


def test_results_are_a_sequence_of_runs() -> None:
    results: Results[str] = Results([run_of(id="a"), run_of(id="b", status="failed", output=None)])
    assert len(results) == 2
    assert [run.id for run in results] == ["a", "b"]
    assert results[-1].id == "b"
    assert isinstance(results[:1], Results)
    assert results[:1].outputs() == ["Hello"]
    assert [run.id for run in results.failed] == ["b"]


def test_outputs_raise_for_the_first_that_has_none() -> None:
    results: Results[str] = Results([run_of(), run_of(id="b", status="canceled", output=None)])
    with pytest.raises(RunCanceled) as caught:
        results.outputs()
    assert caught.value.run_id == "b"


# -- describing an exception ------------------------------------------------------------------------------------------


class Rude(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Cut(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


def caught_by(fail: Callable[[], object]) -> RunError:
    try:
        fail()
    except BaseException as error:
        return RunError.of(error)
    raise AssertionError("nothing was raised")


def raising(error: BaseException) -> Callable[[], object]:
    def fail() -> None:
        raise error

    return fail


def test_an_exception_is_described() -> None:
    error = caught_by(raising(ValueError("no such user")))
    assert (error.type, error.message) == ("ValueError", "no such user")
    assert error.traceback.startswith("Traceback (most recent call last):")
    assert "in fail\n    raise error\nValueError: no such user" in error.traceback


def test_a_class_of_a_module_has_its_module() -> None:
    assert caught_by(raising(RunUnfinished())).type == "holdfast.errors.RunUnfinished"


@pytest.mark.parametrize("error", [Rude(), Cut()])
def test_an_exception_whose_text_cannot_be_had_is_described_all_the_same(error: Exception) -> None:
    described = caught_by(raising(error))
    assert described.type.endswith(type(error).__name__)
    assert "cannot be had" in described.message
    assert "in fail" in described.traceback


@pytest.mark.parametrize("message", ["NUL \0", "lone \ud800 surrogate", "Grüße", "x" * 1_000_000])
def test_whatever_its_text_it_can_be_stored(message: str) -> None:
    error = caught_by(raising(ValueError(message)))
    text = error.text()
    assert RunError.read(text) == error
    assert len(text.encode()) < 100_000
    assert "\0" not in text


def test_a_deep_recursion_has_a_short_traceback() -> None:
    def deeper() -> None:
        deeper()

    error = caught_by(deeper)
    assert error.type == "RecursionError"
    assert len(error.traceback) < 70_000


def test_the_frames_of_holdfast_above_the_task_are_left_out() -> None:
    ours = str(Path(model.__file__).parent / "worker" / "attempt.py")
    names: dict[str, Any] = {}
    exec(compile("def carry_out(f):\n  try: f()\n  except Exception as error: return error", ours, "exec"), names)
    error = RunError.of(names["carry_out"](raising(ValueError("x"))))
    assert "in fail" in error.traceback
    assert "carry_out" not in error.traceback


def test_a_task_of_the_demo_is_a_task() -> None:
    here = Path(model.__file__).parent
    names: dict[str, Any] = {}
    exec(compile("def charge(): raise ValueError('x')", str(here / "demo" / "shop.py"), "exec"), names)
    source = "def carry_out(f):\n  try: f()\n  except Exception as error: return error"
    exec(compile(source, str(here / "worker" / "attempt.py"), "exec"), names)
    error = RunError.of(names["carry_out"](names["charge"]))
    assert "in charge" in error.traceback
    assert "carry_out" not in error.traceback


def test_a_cause_is_in_the_traceback() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    assert "KeyError: 'inner'" in caught_by(fail).traceback
