"""A task: what its function may ask for, and the runs that its verbs make."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypedDict

import pytest
from pydantic import BaseModel

from holdfast import codec
from holdfast.context import AsyncContext, Attempt, Context, running
from holdfast.errors import InvalidOption, InvalidTask, NotBound, NotSerializable, PayloadInvalid
from holdfast.options import Rules
from holdfast.queue import Queue
from holdfast.retry import Retry
from holdfast.task import AsyncTask, SyncTask, define
from tests.unit.fakes import CLAIMED, FakeVerbs, factory

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForCheckers


class User(BaseModel):
    id: int
    email: str = "a@example.com"


@dataclass
class Point:
    x: int
    y: int = 0


class Row(TypedDict):
    n: int


verbs = FakeVerbs()
task = factory(verbs)


@task
def greet(name: str) -> str:
    """Say hello."""
    return f"Hello, {name}!"


@task
async def onboard(user: User, ctx: AsyncContext) -> timedelta:
    return timedelta(seconds=user.id)


@task
def nothing() -> None: ...


@task
def only_ctx(ctx: Context) -> int:
    return 1


# -- a task is still its function -------------------------------------------------------------------------------------


def test_a_task_is_still_its_function() -> None:
    assert greet("Ada") == "Hello, Ada!"
    assert greet(name="Ada") == "Hello, Ada!"  # type: ignore[call-arg]
    assert (inspect.unwrap(greet).__name__, greet.__doc__, greet.__module__) == ("greet", "Say hello.", __name__)
    assert str(inspect.signature(greet)) == "(name: 'str') -> 'str'"
    assert asyncio.run(onboard(User(id=5), AsyncContext())) == timedelta(seconds=5)
    assert isinstance(greet, SyncTask)
    assert isinstance(onboard, AsyncTask)
    assert repr(greet) == "<Task greet>"


def test_a_task_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(greet)) is greet


def test_a_task_knows_where_it_was_written() -> None:
    assert greet.place.startswith(f"{__file__}:")


# -- what a function may ask for --------------------------------------------------------------------------------------


def shape(fn: Callable[..., Any]) -> tuple[str | None, str | None]:
    signature = define(fn, {}).signature
    return signature.payload, signature.context


def test_the_first_parameter_is_the_payload_unless_it_is_the_context() -> None:
    def keyword(user: User, *, ctx: Context) -> None: ...
    def context_by_keyword(*, ctx: Context) -> None: ...
    def positional(user: User, /, ctx: Context) -> None: ...
    def maybe(user: User, ctx: Context | None = None) -> None: ...
    def annotated(user: User, c: Annotated[Context, "x"]) -> None: ...
    def bare(payload, ctx): ...  # type: ignore[no-untyped-def]
    def bare_context(ctx): ...  # type: ignore[no-untyped-def]

    assert shape(greet.fn) == ("name", None)
    assert shape(onboard.fn) == ("user", "ctx")
    assert shape(nothing.fn) == (None, None)
    assert shape(only_ctx.fn) == (None, "ctx")
    assert shape(keyword) == ("user", "ctx")
    assert shape(context_by_keyword) == (None, "ctx")
    assert shape(positional) == ("user", "ctx")
    assert shape(maybe) == ("user", "ctx")
    assert shape(annotated) == ("user", "c")
    assert shape(bare) == ("payload", "ctx")
    assert shape(bare_context) == (None, "ctx")


def test_the_worker_passes_what_is_asked_for() -> None:
    def keyword(user: str, *, ctx: Context) -> Any:
        return user, ctx

    def positional(user: str, c: Context, /) -> Any:
        return user, c

    def context_by_keyword(*, ctx: Context) -> Any:
        return ctx

    def payload_only(user: str, /) -> Any:
        return user

    ctx = Context()
    both: list[Callable[..., Any]] = [keyword, positional]
    for fn in both:
        assert define(fn, {}).signature.call("Ada", ctx) == ("Ada", ctx)
    context_only: list[Callable[..., Any]] = [context_by_keyword, lambda ctx: ctx]
    for fn in context_only:
        assert define(fn, {"id": "x"}).signature.call(None, ctx) is ctx
    assert define(payload_only, {}).signature.call("Ada", ctx) == "Ada"
    assert define(lambda: 5, {"id": "x"}).signature.call(None, ctx) == 5


def two(to: str, subject: str) -> None: ...
def two_with_default(to: str, subject: str = "") -> None: ...
def keyword_only(*, to: str) -> None: ...
def many(*names: str) -> None: ...
def named(user: str, **more: str) -> None: ...
def context_first(ctx: Context, user: User) -> None: ...
def contexts(user: User, a: Context, b: Context) -> None: ...
def context_list(user: User, *ctx: Context) -> None: ...
async def wrong_in_async(user: User, ctx: Context) -> None: ...
def wrong_in_sync(user: User, ctx: AsyncContext) -> None: ...
async def wrong_maybe(ctx: Context | None = None) -> None: ...
def unknown(user: OnlyForCheckers) -> None: ...
def unknown_output() -> list[Nowhere]: ...  # type: ignore[name-defined, empty-body]  # noqa: F821
def broken(user: list[5]) -> None: ...  # type: ignore[valid-type]
def generator(n: int) -> Iterator[int]:
    yield n


async def async_generator(n: int) -> AsyncIterator[int]:
    yield n


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (two, "A task has one payload; make it a model, dataclass or TypedDict"),
        (two_with_default, "nobody can fill: subject"),
        (keyword_only, "nobody can fill: to"),
        (many, r"takes \*names.*one payload"),
        (named, r"takes \*\*more.*one payload"),
        (context_first, r"has its parameter user after the context.*The payload comes first: \(user, ctx\)"),
        (contexts, "asks for the context twice, as a and b"),
        (context_list, r"takes its context as \*ctx"),
        (wrong_in_async, "is an async def and asks for Context.*Write ctx: AsyncContext"),
        (wrong_in_sync, "is a def and asks for AsyncContext.*Write ctx: Context"),
        (wrong_maybe, "is an async def and asks for Context"),
        (unknown, "names OnlyForCheckers, which does not exist.*not only under TYPE_CHECKING"),
        (unknown_output, "names Nowhere"),
        (broken, "cannot be turned into JSON|cannot be read"),
        (generator, "is a generator"),
        (async_generator, "is a generator"),
        (User, "A task is a function"),
        (5, "A task is a function"),
        (lambda: None, "A task needs a name"),
        (functools.partial(two, "a"), "A task needs a name|nobody can fill"),
    ],
)
def test_what_cannot_be_a_task_is_refused_at_import(fn: Any, message: str) -> None:
    with pytest.raises(InvalidTask, match=message) as caught:
        task(fn)
    assert isinstance(caught.value, TypeError)


def test_a_refusal_says_where_the_function_is() -> None:
    with pytest.raises(InvalidTask, match=rf"^two has a parameter .* \({re.escape(__file__)}:\d+\)\."):
        task(two)


def test_an_annotation_that_json_cannot_say_is_refused_with_the_place() -> None:
    class Socket:
        pass

    def send(socket: Socket) -> None: ...

    with pytest.raises(InvalidTask, match=r"The annotation .*Socket cannot be turned into JSON") as caught:
        task(send)
    assert "payload of the task at" in caught.value.__notes__[0]


def test_classes_defined_in_a_function_are_found() -> None:
    class Order(BaseModel):
        n: int

    def outer() -> Any:
        class User(BaseModel):  # hides the module's own
            local: str

        @task
        def ship(order: list[Order]) -> Order:
            return order[0]

        @task
        def mail(user: User) -> None: ...

        return ship, mail

    ship, mail = outer()
    assert ship.load('[{"n":1}]') == [Order(n=1)]
    assert ship.signature.output is Order
    assert mail.load('{"local":"x"}').local == "x"


def test_decorated_functions_and_callables() -> None:
    def logged(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    @task
    @logged
    def wrapped(user: User) -> int:
        return user.id

    class Greeter:
        def hello(self, user: User) -> int:
            return user.id

        async def __call__(self, user: User) -> int:
            return user.id

        @staticmethod
        def static(user: User) -> int:
            return user.id

    assert wrapped.load('{"id":1}') == User(id=1)
    assert wrapped.id == "wrapped"
    bound: Any = task(Greeter().hello)
    assert bound.signature.call(bound.load('{"id":7}'), None) == 7
    called: Any = task(id="called")(Greeter())
    assert isinstance(called, AsyncTask)
    assert called.load('{"id":7}') == User(id=7)
    static: Any = task(Greeter.__dict__["static"])
    assert static.load('{"id":7}') == User(id=7)


# -- options ----------------------------------------------------------------------------------------------------------


def test_options_of_a_task() -> None:
    orders = Queue("orders", concurrency_limit=5)

    @task(id="ship-it", retry=Retry(max_attempts=5), queue=orders, max_duration="15m", ttl="1h", max_crashes=1)
    def ship(n: int) -> None: ...

    assert (ship.id, ship.queue) == ("ship-it", orders)
    assert ship.rules == Rules(retry=Retry(max_attempts=5), max_duration_ms=900_000, ttl_ms=3_600_000, max_crashes=1)


def test_a_task_without_a_queue_has_its_own() -> None:
    assert greet.queue == Queue("task/greet")


def test_a_queue_may_be_a_name() -> None:
    assert task(id="x", queue="orders")(lambda: None).queue == Queue("orders")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": ""}, "id cannot be used as a name"),
        ({"id": "x" * 129}, "id cannot be used as a name"),
        ({"id": 5}, "id is not a string"),
        ({"queue": 5}, "queue is neither a Queue nor a name"),
        ({"retries": 5}, r"retries is not an option of a task. Did you mean retry\?"),
        ({"max_duration": "long"}, "max_duration is not a duration"),
    ],
)
def test_options_are_checked_where_they_are_written(options: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        task(**options)(greet.fn)


def test_a_function_and_options_at_once_are_refused() -> None:
    with pytest.raises(InvalidTask, match="a function or options"):
        task(greet.fn, id="x")  # type: ignore[call-overload]


def test_the_apps_defaults_stand_under_the_tasks_options() -> None:
    usual = factory(verbs, Rules(retry=Retry(max_attempts=9), ttl_ms=1000))

    @usual(ttl="2s")
    def ship() -> None: ...

    ship.trigger()
    assert verbs.last.ttl_ms == 2000
    assert ship.governing(None).max_attempts == 9


def test_what_governs_an_attempt() -> None:
    @task(retry=Retry(max_attempts=5), max_duration="1m")
    def ship() -> None: ...

    assert ship.governing(None) == (Retry(max_attempts=5), 5, 60_000)
    assert ship.governing('{"max_attempts":1}') == (Retry(max_attempts=5), 1, 60_000)
    assert ship.governing('{"max_duration_ms":5}') == (Retry(max_attempts=5), 5, 5)
    assert greet.governing(None) == (Retry(), 3, None)


def test_the_entry_for_the_catalogue() -> None:
    entry = onboard.entry(version="1")
    assert (entry.id, entry.queue, entry.version) == ("onboard", "task/onboard", "1")
    assert codec.decode(entry.options) == {"max_attempts": 3}
    assert codec.decode(entry.schema or "")["properties"].keys() == {"id", "email"}
    assert nothing.entry().schema is None


# -- triggering -------------------------------------------------------------------------------------------------------


def test_trigger_hands_a_run_over() -> None:
    handle = greet.trigger("Ada", delay="5s", tags=["signup"])
    run = verbs.last
    assert handle.id == run.id
    assert (run.task, run.queue, run.payload, run.delay_ms, run.tags) == (
        "greet",
        "task/greet",
        '"Ada"',
        5000,
        '["signup"]',
    )


async def test_atrigger_does_the_same() -> None:
    handle = await onboard.atrigger(User(id=1), priority=10)
    assert handle.id == verbs.last.id
    assert codec.decode(verbs.last.payload) == {"id": 1, "email": "a@example.com"}
    assert verbs.last.priority_ms == 10_000


def test_a_queue_given_at_the_trigger_is_declared() -> None:
    slow = Queue("slow", concurrency_limit=1)
    greet.trigger("Ada", queue=slow)
    assert (verbs.last.queue, verbs.queues[-1]) == ("slow", slow)


@pytest.mark.parametrize("payload", [{"email": "x"}, "Ada", 5, None])
def test_a_payload_that_does_not_fit_is_refused_where_it_is_triggered(payload: Any) -> None:
    before = len(verbs.runs)
    with pytest.raises(PayloadInvalid, match="The payload does not fit User"):
        onboard.trigger(payload)
    assert len(verbs.runs) == before


def test_a_payload_nobody_asked_for_is_refused() -> None:
    with pytest.raises(PayloadInvalid, match="Task nothing takes no payload"):
        nothing.trigger(5)  # type: ignore[call-overload]
    with pytest.raises(PayloadInvalid, match="Task only_ctx takes no payload"):
        only_ctx.trigger(5)  # type: ignore[call-overload]


def test_payloads_that_are_no_json_are_refused() -> None:
    @task
    def anything(payload: Any) -> None: ...

    with pytest.raises(NotSerializable):
        anything.trigger(float("nan"))


def test_a_task_without_payload() -> None:
    nothing.trigger()
    assert verbs.last.payload == "null"
    only_ctx.trigger(delay=3)
    assert verbs.last.payload == "null"
    assert nothing.load("null") is None
    assert nothing.load('{"left": "over"}') is None


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (int, 3, "3"),
        (int | None, 3, "null"),
        (int | None, None, "null"),
        (Any, 3, "3"),
        (Point, Point(1), '{"x":1,"y":0}'),
    ],
)
def test_no_payload_means_the_default(annotation: Any, default: Any, text: str) -> None:
    def fn(payload: Any = default) -> None: ...

    fn.__annotations__["payload"] = annotation
    defaulted: Any = task(fn)
    defaulted.trigger()
    assert verbs.last.payload == text
    assert defaulted.load("null") == (None if text == "null" else default)


def test_payloads_come_back_as_they_are_annotated() -> None:
    def check(annotation: Any, value: Any) -> None:
        def fn(payload: Any) -> None: ...

        fn.__annotations__["payload"] = annotation
        checked: Any = task(fn)
        checked.trigger(value)
        assert checked.load(verbs.last.payload) == value

    check(User, User(id=1))
    check(Point, Point(1, 2))
    check(Row, {"n": 1})
    check(list[Point], [Point(1)])
    check(dict[str, int], {"a": 1})
    check(bytes, b"\x00\xff")
    check(timedelta, timedelta(hours=1))
    check(User | Point, Point(1))


def test_a_task_that_never_returns() -> None:
    @task
    def fail() -> NoReturn:
        raise ValueError

    assert fail.output_codec.load("null") is None


def test_without_an_app_there_are_no_verbs() -> None:
    alone = define(greet.fn, {})
    for verb in (lambda: alone.trigger("Ada"), lambda: alone.handle("x"), lambda: alone.batch_trigger([])):
        with pytest.raises(NotBound, match="Task greet belongs to no app yet"):
            verb()


# -- parents ----------------------------------------------------------------------------------------------------------


def inside(attempt: Attempt, fn: Callable[[], Any]) -> Any:
    token = running.set(attempt)
    try:
        return fn()
    finally:
        running.reset(token)


def test_a_trigger_inside_a_task_knows_its_parent() -> None:
    inside(Attempt(CLAIMED, home=verbs), lambda: greet.trigger("Ada"))
    run = verbs.last
    assert (run.parent_id, run.parent_claim, run.root_id, run.depth) == ("r1", 2, "r1", 1)
    inside(Attempt(CLAIMED._replace(root_id="r0"), home=verbs), lambda: greet.batch_trigger(["Ada"]))
    assert verbs.last.root_id == "r0"


def test_a_trigger_through_another_app_has_no_parent() -> None:
    inside(Attempt(CLAIMED, home=FakeVerbs()), lambda: greet.trigger("Ada"))
    assert verbs.last.parent_id is None
    greet.trigger("Ada")
    assert verbs.last.parent_id is None


# -- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_of_payloads_and_items() -> None:
    batch = onboard.batch_trigger([User(id=1), onboard.item(User(id=2), priority=10)])
    runs = verbs.runs[-2:]
    assert [handle.id for handle in batch.runs] == [run.id for run in runs]
    assert [codec.decode(run.payload)["id"] for run in runs] == [1, 2]
    assert [run.priority_ms for run in runs] == [0, 10_000]
    assert {run.batch_id for run in runs} == {batch.id}
    assert len(batch) == 2


def test_an_item_may_be_used_again() -> None:
    item = greet.item("Ada", idempotency_key="k")
    first, second = greet.batch_trigger([item]), greet.batch_trigger([item])
    assert first.runs[0].id != second.runs[0].id


async def test_a_batch_may_be_empty_and_may_be_a_generator() -> None:
    assert len(greet.batch_trigger([])) == 0
    assert len(await greet.abatch_trigger(str(n) for n in range(3))) == 3


@pytest.mark.parametrize("entries", ["Ada", b"Ada", {"a": 1}])
def test_a_single_payload_is_no_batch(entries: Any) -> None:
    with pytest.raises(InvalidOption, match="A batch is a list of payloads"):
        greet.batch_trigger(entries)


def test_a_bad_entry_is_named_and_nothing_is_triggered() -> None:
    before = len(verbs.runs)
    with pytest.raises(PayloadInvalid) as caught:
        onboard.batch_trigger([User(id=1), User(id=2), "x"])  # type: ignore[list-item]
    assert "It is item 2 of the batch, counted from 0. Nothing was triggered." in caught.value.__notes__
    assert len(verbs.runs) == before


def test_an_item_of_another_app_is_refused() -> None:
    @factory(FakeVerbs())
    def elsewhere(name: str) -> str:
        return name

    with pytest.raises(InvalidOption, match="belongs to another app"):
        greet.batch_trigger([elsewhere.item("Ada")])


def test_an_item_is_checked_where_it_is_made() -> None:
    with pytest.raises(PayloadInvalid):
        onboard.item("x")  # type: ignore[arg-type]
    with pytest.raises(InvalidOption):
        greet.item("Ada", delay="soon")
