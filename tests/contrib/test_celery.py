"""`shared_task`: what files from Celery say, in memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

import pytest

from holdfast import (
    Blueprint,
    Context,
    Depends,
    Failure,
    Holdfast,
    HoldfastError,
    InvalidOption,
    InvalidTask,
    NotBound,
    NotSerializable,
    PayloadInvalid,
    Queue,
    Retry,
    RetryAfter,
    RunFailed,
    Secret,
)
from holdfast.contrib.celery import AsyncResult, MaxRetriesExceededError, SharedTaskFactory, Task
from holdfast.contrib.celery.options import UNLIMITED, read_apply
from holdfast.testing import Jobs

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def shared_task() -> SharedTaskFactory:
    """The decorator, for an app of the test's own."""
    return SharedTaskFactory(Blueprint())


@pytest.fixture
def app(shared_task: SharedTaskFactory) -> Holdfast:
    app = Holdfast("sqlite:///never-opened.db")
    app.include(shared_task.blueprint)
    return app


@pytest.fixture
def jobs(app: Holdfast) -> Iterator[Jobs]:
    with app.testing(at=NOON) as jobs:
        yield jobs


# -- arguments --------------------------------------------------------------------------------------------------------


def all_kinds(a: int, /, b: str, c: list[int] | None = None, *rest: int, flag: bool = False, **more: str) -> list[Any]:
    return [a, b, c, rest, flag, more]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, "x"), {}),
        ((1,), {"b": "x", "flag": True}),
        ((1, "x", [2]), {"colour": "red"}),
        ((1, "x", None, 7, 8), {"flag": True, "colour": "red", "size": "m"}),
    ],
)
def test_arguments_arrive_as_they_were_given(
    shared_task: SharedTaskFactory, jobs: Jobs, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    task: Any = shared_task(all_kinds)
    expected = all_kinds(*args, **kwargs)
    expected[3] = list(expected[3])
    assert task.delay(*args, **kwargs).get() == expected
    assert task.apply_async(list(args), kwargs).get() == expected


def test_the_payload_has_the_arguments_by_name(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def send(to: str, *cc: str, subject: str = "Hi", **headers: str) -> None: ...

    send.delay("ada", "grace", reply_to="x")
    assert jobs.payloads(send) == [{"to": "ada", "cc": ["grace"], "headers": {"reply_to": "x"}}]
    assert send.payload("ada", subject="Hi") == {"to": "ada", "subject": "Hi"}


def test_a_default_is_the_one_of_the_code_that_runs(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    defaults = ["old"]

    @shared_task
    def greet(name: str, greeting: str | None = None) -> str:
        return f"{greeting or defaults[0]}, {name}"

    result = greet.delay("Ada")
    defaults[0] = "new"
    assert result.get() == "new, Ada"


def test_annotations_say_what_arrives(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def remind(day: date, at: datetime, raw: bytes, limit: int = None) -> list[str]:  # type: ignore[assignment]  # noqa: RUF013
        return [type(each).__name__ for each in (day, at, raw, limit)]

    result = remind.delay(date(2027, 1, 1), NOON, b"\xff\x00", limit=None)  # type: ignore[arg-type]
    assert result.get() == ["date", "datetime", "bytes", "NoneType"]


@pytest.mark.parametrize("value", [NOON, b"x", {1, 2}, {1: "x"}, [{"at": NOON}], float("nan"), object()])
def test_what_would_arrive_as_something_else_is_refused(
    shared_task: SharedTaskFactory, jobs: Jobs, value: object
) -> None:
    @shared_task
    def remind(when): ...  # type: ignore[no-untyped-def]

    with pytest.raises(NotSerializable, match=r"when of task .*remind has no annotation"):
        remind.delay(value)
    remind.delay({"a": [1, 2.5, None, "x", (True,)]})
    assert len(jobs.triggered(remind)) == 1


def test_a_call_that_the_function_does_not_take_is_refused(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def send(to: str, subject: str) -> None: ...

    unchecked: Any = send
    for call in (
        lambda: unchecked.delay("ada"),
        lambda: unchecked.delay("ada", "Hi", "there"),
        lambda: unchecked.delay("ada", sbject="Hi"),
        lambda: unchecked.delay("ada", object()),
        lambda: unchecked.trigger({"to": "ada", "subject": "Hi", "bcc": "x"}),
        lambda: unchecked.trigger(),
    ):
        with pytest.raises(PayloadInvalid):
            call()
    for arguments in ("ada", {"to"}):
        with pytest.raises(InvalidOption, match="args is neither"):
            unchecked.apply_async(arguments)
    with pytest.raises(InvalidOption, match="kwargs is not a dict"):
        unchecked.apply_async((), ["ada"])
    jobs.assert_not_triggered(send)


def test_a_task_without_arguments_needs_no_payload(shared_task: SharedTaskFactory, app: Holdfast, jobs: Jobs) -> None:
    @shared_task(name="nightly")
    def nightly(days: int = 7) -> int:
        return days

    assert nightly.delay().get() == app.trigger("nightly").result() == 7
    assert app.trigger("nightly", {"days": 1}).result() == 1


# -- the task ---------------------------------------------------------------------------------------------------------


def test_its_id_is_that_of_celery(shared_task: SharedTaskFactory) -> None:
    @shared_task
    def send() -> None: ...

    @shared_task(name="mail.send")
    def other() -> None: ...

    assert (send.name, other.name) == (f"{__name__}.send", "mail.send")


def test_a_module_that_is_run_has_the_name_that_others_import_it_by(tmp_path: Any) -> None:
    text = "from holdfast.contrib.celery import shared_task\n@shared_task\ndef send(): ...\nprint(send.name)\n"
    (tmp_path / "mail.py").write_text(text)
    for arguments in (["mail.py"], ["-m", "mail"]):
        done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout == "mail.send\n"


def test_it_is_still_its_function(shared_task: SharedTaskFactory) -> None:
    @shared_task
    def add(a: int, b: int) -> int:
        return a + b

    @shared_task(bind=True)
    def who(self: Task[..., Any], name: str) -> list[Any]:
        return [self.name, name, self.request.id, self.request.retries, self.request.called_directly]

    assert add(1, b=2) == 3
    assert who("Ada") == [who.name, "Ada", None, 0, True]
    assert who.apply(kwargs={"name": "Ada"}).get() == who("Ada")


def test_apply_calls_it_here_and_now(shared_task: SharedTaskFactory) -> None:
    @shared_task
    def divide(a: int, b: int) -> float:
        return a / b

    half = divide.apply((1,), {"b": 2})
    assert (half.get(), half.result, half.state, half.ready(), half.successful()) == (0.5, 0.5, "SUCCESS", True, True)
    failed = divide.apply((1, 0))
    assert failed.failed()
    assert failed.status == "FAILURE"
    assert "ZeroDivisionError" in (failed.traceback or "")
    assert isinstance(failed.get(propagate=False), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        failed.get()
    with pytest.raises(ZeroDivisionError):
        divide.apply((1, 0), throw=True)


def test_self_knows_its_run_and_who_triggered_it(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True)
    def child(self: Task[..., Any]) -> list[Any]:
        return [self.request.id, self.request.parent_id, self.request.root_id, self.request.task]

    @shared_task(bind=True)
    def parent(self: Task[..., Any]) -> list[Any]:
        return [self.request.id, child.delay().get(), child()[0]]

    result = parent.delay()
    mine, (childs, its_parent, its_root, its_task), called = result.get()
    assert (mine, its_parent, its_root, its_task, called) == (result.id, mine, mine, child.name, None)
    assert childs not in (mine, None)


def test_everything_else_of_a_task_works_with_it(shared_task: SharedTaskFactory, app: Holdfast, jobs: Jobs) -> None:
    failed: list[str] = []

    @shared_task
    def send(to: str) -> str:
        if to == "nobody":
            raise ValueError(to)
        return f"sent to {to}"

    @send.on_failure
    def tell(failure: Failure[dict[str, Any]]) -> None:
        failed.append(failure.payload["to"])

    batch = send.batch_trigger([send.payload(to) for to in ("ada", "grace", "nobody")])
    assert [run.ok for run in batch.results()] == [True, True, False]
    assert failed == ["nobody"]
    handle = send.trigger(send.payload("ada"), idempotency_key="once", tags=["mail"])
    assert send.trigger(send.payload("ada"), idempotency_key="once").id == handle.id
    jobs.replace(send, "replaced")
    assert send.delay("ada").get() == "replaced"


def test_ignore_result_keeps_nothing(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(ignore_result=True)
    def make() -> object:
        return object()

    @shared_task
    def keep() -> Any:
        return object()

    assert make.delay().get() is None
    with pytest.raises(RunFailed, match="cannot be written as JSON"):
        keep.delay().get()


# -- trying again -----------------------------------------------------------------------------------------------------


def test_an_exception_ends_the_run(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def fail() -> None:
        raise ConnectionError("no answer")

    run = jobs.run(fail, {})
    assert (run.status, run.attempts) == ("failed", 1)


def test_self_retry_until_there_is_none_left(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True, max_retries=2, default_retry_delay=60)
    def fetch(self: Task[..., Any]) -> None:
        print(self.request.retries, self.max_retries, self.default_retry_delay)
        try:
            raise ConnectionError("no answer")
        except ConnectionError as error:
            raise self.retry(exc=error)  # noqa: B904 - as it is written with Celery

    run = jobs.run(fetch, {})
    assert run.status == "delayed"
    jobs.advance("59s")
    assert run.attempts == 1
    jobs.advance("1s")
    assert run.attempts == 2
    jobs.advance("60s")
    assert (run.status, run.attempts) == ("failed", 3)
    assert run.error is not None
    assert (run.error.type, run.error.message) == ("ConnectionError", "no answer")
    printed = [line.message for line in run.logs if line.message.endswith("60.0")]
    assert printed == ["0 2 60.0", "1 2 60.0", "2 2 60.0"]


def test_a_retry_says_what_it_is_for(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True)
    def fetch(self: Task[..., Any]) -> str:
        if self.request.retries:
            return "got it"
        try:
            raise ConnectionError("no answer")
        except ConnectionError:
            self.retry(countdown=5)
        return "not reached"

    run = jobs.run(fetch, {})
    jobs.advance("5s")
    assert run.output == "got it"
    assert any("Retry: ConnectionError: no answer" in line.message for line in run.logs)


@pytest.mark.parametrize("autoretry_for", [(), (ConnectionError,)])
def test_the_call_of_retry_may_allow_more_or_less(
    shared_task: SharedTaskFactory, jobs: Jobs, autoretry_for: tuple[type[Exception], ...]
) -> None:
    @shared_task(bind=True, autoretry_for=autoretry_for)
    def fetch(self: Task[..., Any], allowed: int) -> None:
        self.retry(countdown=1, max_retries=allowed)

    for allowed in (0, 1, 6):
        run = jobs.run(fetch, fetch.payload(allowed))
        jobs.advance("1m")
        assert (run.status, run.attempts) == ("failed", allowed + 1)
        assert run.error is not None
        assert run.error.type.endswith("MaxRetriesExceededError")


def test_max_attempts_at_a_trigger_holds_all_the_same(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True, max_retries=None)
    def fetch(self: Task[..., Any]) -> None:
        self.retry(countdown=1, exc=ConnectionError("no answer"))

    run = jobs.run(fetch, {}, max_attempts=2)
    jobs.advance("1m")
    assert (run.status, run.attempts) == ("failed", 2)
    assert run.error is not None
    assert run.error.type == "ConnectionError"


def test_what_else_asks_for_another_attempt_is_limited_by_the_task(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True, max_retries=1)
    def fetch(self: Task[..., Any]) -> None:
        raise ConnectionError("no answer")

    @fetch.catch_error
    def again(failure: Failure[dict[str, Any]]) -> RetryAfter:
        return RetryAfter(1)

    run = jobs.run(fetch, {})
    jobs.advance("1m")
    assert (run.status, run.attempts) == ("failed", 2)


def test_retry_at_a_time(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True)
    def fetch(self: Task[..., Any]) -> str:
        if not self.request.retries:
            raise self.retry(eta=NOON + timedelta(hours=1), throw=False)
        return "got it"

    run = jobs.run(fetch, {})
    assert run.due_at == NOON + timedelta(hours=1)
    jobs.advance("1h")
    assert run.output == "got it"


def test_retry_of_what_was_called_directly_raises(shared_task: SharedTaskFactory) -> None:
    @shared_task(bind=True)
    def fetch(self: Task[..., Any], fails: bool) -> None:
        if fails:
            try:
                raise ConnectionError("no answer")
            except ConnectionError as error:
                self.retry(exc=error)
        self.retry()

    with pytest.raises(ConnectionError):
        fetch(True)
    with pytest.raises(MaxRetriesExceededError):
        fetch(False)


def test_retry_refuses_what_it_cannot_do(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(bind=True)
    def fetch(self: Task[..., Any], how: str) -> None:
        unchecked: Any = self
        match how:
            case "args":
                unchecked.retry(args=["x"])
            case "naive":
                self.retry(eta=datetime(2027, 1, 1))

    for how in ("args", "naive"):
        run = jobs.run(fetch, fetch.payload(how))
        assert run.status == "failed"
        assert run.error is not None
        assert run.error.type.endswith("InvalidOption")


def test_autoretry(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(autoretry_for=(OSError,), dont_autoretry_for=(FileNotFoundError,), max_retries=2, retry_backoff=10)
    def read(path: str) -> None:
        raise FileNotFoundError(path) if path == "missing" else ConnectionError(path)

    run, missing = jobs.run(read, read.payload("x")), jobs.run(read, read.payload("missing"))
    assert (run.status, run.attempts, missing.status) == ("delayed", 1, "failed")
    jobs.advance("10s")
    assert run.attempts == 2
    jobs.advance("20s")
    assert (run.status, run.attempts) == ("failed", 3)


CONNECTION = (ConnectionError,)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Retry(4, never=BaseException)),
        ({"max_retries": 0}, Retry(1, never=BaseException)),
        ({"autoretry_for": CONNECTION}, Retry(4, 1, 180, 180, False, CONNECTION)),
        ({"autoretry_for": [OSError], "default_retry_delay": 5}, Retry(4, 1, 5, 5, False, (OSError,))),
        (
            {"autoretry_for": CONNECTION, "retry_kwargs": {"max_retries": 9, "countdown": 7}},
            Retry(10, 1, 7, 7, False, CONNECTION),
        ),
        (
            {"autoretry_for": CONNECTION, "retry_backoff": True, "max_retries": None},
            Retry(UNLIMITED, 2, 1, 600, True, CONNECTION),
        ),
        (
            {"autoretry_for": CONNECTION, "retry_backoff": 5, "retry_backoff_max": 3, "retry_jitter": False},
            Retry(4, 2, 3, 3, False, CONNECTION),
        ),
    ],
)
def test_retry_options_in_holdfasts_words(
    shared_task: SharedTaskFactory, options: dict[str, Any], expected: Retry
) -> None:
    task: Any = shared_task(**options)(some_function())
    found = task.rules.retry
    assert found == expected
    assert (found.min_delay_ms, found.max_delay_ms) == (expected.min_delay_ms, expected.max_delay_ms)


def some_function() -> Callable[[], None]:
    def task() -> None: ...

    return task


# -- options ----------------------------------------------------------------------------------------------------------


def test_other_options_of_a_task(shared_task: SharedTaskFactory, app: Holdfast) -> None:
    @shared_task(time_limit=60, expires=300, queue="mail", acks_late=True, reject_on_worker_lost=True)
    def one() -> None: ...

    @shared_task(rate_limit="10/m", track_started=True, serializer="json", pydantic=True)
    def two() -> None: ...

    @shared_task(rate_limit=5, queue=None)  # type: ignore[call-overload,untyped-decorator]
    def three() -> None: ...

    assert (one.rules.max_duration_ms, one.rules.ttl_ms, one.queue) == (60_000, 300_000, Queue("mail"))
    assert two.queue == Queue(f"task/{two.id}", rate_limit="10/m")
    assert three.queue.rate_limit == "5/s"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"acks_late": False}, "acks_late cannot be honoured"),
        ({"reject_on_worker_lost": False}, "reject_on_worker_lost cannot be honoured"),
        ({"soft_time_limit": 5}, "soft_time_limit cannot be honoured .*time_limit"),
        ({"priority": 9}, "priority cannot be honoured .*head start"),
        ({"serializer": "pickle"}, "serializer cannot be honoured"),
        ({"base": dict}, "base cannot be honoured .*hooks"),
        ({"on_failure": print}, "on_failure cannot be honoured .*hook"),
        ({"max_retires": 5}, "no option max_retires .*Did you mean max_retries"),
        ({"autoretry_for": ConnectionError}, "autoretry_for is not a tuple"),
        ({"max_retries": -1}, "max_retries is not a whole number"),
        ({"max_retries": 1_000_000}, "max_retries is not a whole number"),
        ({"max_retries": True}, "max_retries is not a whole number"),
        ({"default_retry_delay": "soon"}, "default_retry_delay is not a duration"),
        ({"retry_backoff": "soon", "autoretry_for": CONNECTION}, "retry_backoff is not a duration"),
        ({"retry_jitter": 3}, "retry_jitter is neither"),
        ({"retry_kwargs": {"queue": "x"}}, "retry_kwargs has more"),
        ({"rate_limit": 0.5}, "rate_limit is not a rate"),
        ({"rate_limit": "10/m", "queue": "mail"}, "rate_limit and queue are both given"),
        ({"time_limit": 0}, "time_limit is no time at all"),
        ({"expires": datetime(2027, 1, 1)}, "expires is not a duration"),
        ({"ignore_result": "yes"}, "ignore_result is neither"),
        ({"queue": 5}, "queue is neither"),
        ({"name": ""}, "cannot be used as a name"),
    ],
)
def test_what_a_task_cannot_say_is_refused_where_it_is_written(
    shared_task: SharedTaskFactory, options: dict[str, Any], said: str
) -> None:
    unchecked: Any = shared_task
    with pytest.raises(InvalidOption, match=said) as refused:
        unchecked(**options)(some_function())
    assert refused.value.seen
    assert refused.value.do
    assert not shared_task.blueprint.tasks


def test_options_of_a_call(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def send() -> None: ...

    later = send.apply_async(countdown=60, expires=100, queue="slow", time_limit=5, retry=False, serializer="json")
    run = later.handle.retrieve()
    assert run.due_at == NOON + timedelta(seconds=60)
    assert run.expires_at == NOON + timedelta(seconds=100)
    assert run.queue == "slow"
    eta, expires = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
    run = send.apply_async(eta=eta, expires=expires).handle.retrieve()
    assert (run.due_at, run.expires_at) == (eta, expires)
    run = send.apply_async(expires=expires, countdown=None).handle.retrieve()
    assert run.expires_at == expires


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"task_id": "x"}, "task_id cannot be honoured .*idempotency_key"),
        ({"priority": 0}, "priority cannot be honoured .*head start"),
        ({"soft_time_limit": 5}, "soft_time_limit cannot be honoured"),
        ({"link": 1}, "link cannot be honoured"),
        ({"link_error": 1}, "link_error cannot be honoured"),
        ({"retry_policy": {}}, "retry_policy cannot be honoured"),
        ({"serializer": "pickle"}, "serializer cannot be honoured"),
        ({"ignore_result": True}, "ignore_result cannot be honoured"),
        ({"countdwn": 5}, "Did you mean countdown"),
        ({"countdown": -1}, "countdown cannot be negative"),
        ({"countdown": 1, "eta": NOON}, "countdown and eta are both given"),
        ({"eta": datetime(2027, 1, 1)}, "eta is not an aware datetime"),
        ({"eta": 5}, "eta is not an aware datetime"),
        ({"expires": datetime(2027, 1, 1)}, "expires is not an aware datetime"),
        ({"expires": "soon"}, "expires is not a duration"),
        ({"expires": 60, "countdown": 60}, "expire before it may start"),
        ({"expires": NOON}, "expire before it may start"),
        ({"expires": 60, "eta": NOON + timedelta(minutes=2)}, "expire before it may start"),
    ],
)
def test_what_a_call_cannot_say_is_refused_where_it_is_written(
    shared_task: SharedTaskFactory, jobs: Jobs, options: dict[str, Any], said: str
) -> None:
    @shared_task
    def send() -> None: ...

    with pytest.raises(InvalidOption, match=said) as refused:
        send.apply_async(**options)
    assert refused.value.seen
    assert refused.value.do
    jobs.assert_not_triggered(send)


def test_the_clock_is_asked_only_where_it_matters() -> None:
    def no_clock() -> int:
        raise AssertionError("nobody needs it")

    assert read_apply({"countdown": 5, "expires": 15}, no_clock) == {
        "delay": timedelta(seconds=5),
        "ttl": timedelta(seconds=10),
    }


# -- results ----------------------------------------------------------------------------------------------------------


def test_states(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task(autoretry_for=(OSError,), default_retry_delay=1, max_retries=1)
    def work(fails: bool) -> str:
        if fails:
            raise ConnectionError("no answer")
        return "done"

    good, bad = work.delay(False), work.apply_async((True,))
    assert (good.state, good.ready(), good.result) == ("PENDING", False, None)
    assert good.get() == "done"
    assert (good.status, good.ready(), good.successful(), good.failed()) == ("SUCCESS", True, True, False)
    assert (good.result, good.traceback) == ("done", None)
    jobs.work()
    assert (bad.state, bad.ready()) == ("RETRY", False)
    jobs.advance("1s")
    assert (bad.state, bad.ready(), bad.successful(), bad.failed()) == ("FAILURE", True, False, True)
    assert isinstance(bad.result, RunFailed)
    assert isinstance(bad.get(propagate=False), RunFailed)
    assert "ConnectionError" in (bad.traceback or "")
    with pytest.raises(RunFailed, match="ConnectionError: no answer"):
        bad.get(timeout=1, interval=0.1)


def test_revoked_and_expired(shared_task: SharedTaskFactory, app: Holdfast, jobs: Jobs) -> None:
    @shared_task
    def send() -> None: ...

    send.delay()
    app.queues.pause(send.queue.name)
    expired = send.apply_async(expires=10)
    jobs.advance("11s")
    assert (expired.state, expired.failed(), expired.handle.retrieve().status) == ("REVOKED", False, "expired")

    revoked = send.apply_async(countdown=60)
    revoked.revoke()
    revoked.forget()
    assert (revoked.state, revoked.ready()) == ("REVOKED", True)
    with pytest.raises(InvalidOption, match="terminate cannot be honoured"):
        revoked.revoke(terminate=True)


def test_results_are_equal_by_their_run(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def send() -> None: ...

    result = send.delay()
    same = type(result)(result.handle)
    assert (result == same, hash(result) == hash(same), str(result), result.task_id) == (
        True,
        True,
        result.id,
        result.id,
    )
    assert result != send.delay()


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["s", "si", "starmap", "chunks", "map", "update_state", "AsyncResult"])
def test_canvas_is_refused_and_says_what_to_do(shared_task: SharedTaskFactory, name: str) -> None:
    task = shared_task(some_function())
    with pytest.raises(HoldfastError, match=f"task.{name} is not in Holdfast .*coming-from-celery.md"):
        getattr(task, name)
    assert not hasattr(task, "no_such_thing")


def test_a_task_without_an_app_says_how_to_get_one() -> None:
    shared_task = SharedTaskFactory(Blueprint())

    @shared_task
    def send() -> None: ...

    with pytest.raises(NotBound, match=r"belongs to no app yet .*app\.include\(shared_tasks\)"):
        send.delay()


def test_what_cannot_be_a_shared_task_is_refused(shared_task: SharedTaskFactory) -> None:
    async def coroutine() -> None: ...

    def generator() -> Iterator[int]:
        yield 1

    unchecked: Any = shared_task
    for fn, said in (
        (coroutine, "no plain def"),
        (generator, "no plain def"),
        (5, "is a function"),
        (dict, "is a function"),
    ):
        with pytest.raises(InvalidTask, match=said):
            unchecked(fn)
    with pytest.raises(InvalidTask, match="no parameter for the task"):
        unchecked(bind=True)(some_function())
    with pytest.raises(InvalidTask, match="takes a function or options"):
        unchecked(some_function(), name="x")


def test_what_a_shared_task_is_not_handed_is_refused(shared_task: SharedTaskFactory) -> None:
    def with_context(to: str, ctx: Context) -> None: ...

    def with_provider(to: str, n: Annotated[int, Depends(int)]) -> None: ...

    for fn, name in ((with_context, "ctx"), (with_provider, "n")):
        with pytest.raises(InvalidTask, match=rf"asks for {name}, .*Context\.current\(\)"):
            shared_task(fn)


def test_a_result_by_its_id_needs_an_app() -> None:
    with pytest.raises(NotBound, match=r"app\.include\(shared_tasks\)"):
        AsyncResult("01jh")
    unchecked: Any = AsyncResult
    with pytest.raises(InvalidOption, match="not made of an id"):
        unchecked(5)


def test_a_secret_argument_is_shown_to_nobody(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def login(user: str, pin: Annotated[str, Secret]) -> bool:
        print("the pin is", pin)
        return pin == "hunter2"

    result = login.delay("ada", "hunter2")
    assert result.get() is True
    run = result.handle.retrieve()
    assert run.payload == {"user": "ada", "pin": "**********"}
    assert "hunter2" not in str([line.message for line in run.logs])


async def test_async_code_triggers_with_the_payload(shared_task: SharedTaskFactory, jobs: Jobs) -> None:
    @shared_task
    def add(a: int, b: int) -> int:
        return a + b

    handle = await add.atrigger(add.payload(1, b=2))
    assert await handle.aresult() == 3


def test_an_annotation_that_is_no_json_is_refused_at_import(shared_task: SharedTaskFactory) -> None:
    class Connection: ...

    def send(to: Connection) -> None: ...

    with pytest.raises(InvalidTask, match="cannot be turned into JSON"):
        shared_task(send)
