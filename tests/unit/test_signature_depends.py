"""What a task asks of providers is settled when it is defined: what cannot work is refused there."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from holdfast import AsyncContext, Context, Depends, InvalidOption, InvalidTask
from holdfast.task import define


class Pool: ...


class Session: ...


def open_pool() -> Iterator[Pool]:
    yield Pool()


def session(pool: Annotated[Pool, Depends(open_pool, scope="worker")]) -> Iterator[Session]:
    yield Session()


DB = Annotated[Session, Depends(session)]


async def later() -> AsyncIterator[int]:
    yield 1


def of(fn: Callable[..., Any]) -> Any:
    return define(fn, {"id": "x"}).signature


def test_the_payload_the_context_and_what_providers_give() -> None:
    def charge(user: str, ctx: Context, db: DB) -> int:
        return 1

    signature = of(charge)
    assert (signature.payload, signature.context) == ("user", "ctx")
    assert [(name, provider.fn) for name, provider in signature.plan.parameters] == [("db", session)]
    assert [(provider.fn, provider.scope) for provider in signature.plan.worker] == [(open_pool, "worker")]


def test_a_task_may_ask_for_nothing_but_providers() -> None:
    def nightly(*, db: DB) -> None: ...

    assert (of(nightly).payload, of(nightly).context) == (None, None)


def test_a_task_that_asks_for_none_has_no_plan() -> None:
    def plain(user: str, ctx: Context) -> None: ...

    assert of(plain).plan is None


def test_each_parameter_gets_its_own_value_wherever_it_stands() -> None:
    def before(user: str, db: DB, ctx: Context) -> Any:
        return user, ctx, db

    def after(user: str, ctx: Context, db: DB) -> Any:
        return user, ctx, db

    def by_name(user: str, *, db: DB, ctx: Context) -> Any:
        return user, ctx, db

    def by_position(user: str, ctx: Context, /, db: DB) -> Any:
        return user, ctx, db

    for fn in (before, after, by_name, by_position):
        assert of(fn).call("Ada", "context", db="session") == ("Ada", "context", "session")

    def without_context(user: str, db: DB) -> Any:
        return user, db

    def without_payload(ctx: Context, db: DB) -> Any:
        return ctx, db

    def alone(*, db: DB) -> Any:
        return db

    assert of(without_context).call("Ada", "context", db="session") == ("Ada", "session")
    assert of(without_payload).call(None, "context", db="session") == ("context", "session")
    assert of(alone).call(None, "context", db="session") == "session"


def test_parameters_may_have_the_names_that_we_use() -> None:
    def awkward(value: str, c: Context, payload: DB, context: DB, fn: DB) -> Any:
        return value, c, payload, context, fn

    assert of(awkward).call("Ada", 1, payload=2, context=3, fn=4) == ("Ada", 1, 2, 3, 4)


def test_called_plainly_it_still_takes_everything() -> None:
    def charge(user: str, db: DB) -> Any:
        return user, db

    task: Any = define(charge, {})
    mine = Session()
    assert task("Ada", mine) == task("Ada", db=mine) == ("Ada", mine)


class Opener:
    def open(self) -> Iterator[int]:
        yield 1

    def __call__(self) -> int:
        return 1


class Later:
    async def __call__(self) -> AsyncIterator[int]:
        yield 1


class Settings:
    def __init__(self, retries: int = 3) -> None: ...


async def fetch() -> int:
    return 1


def wraps(fn: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper


@pytest.mark.parametrize(
    ("provider", "kind"),
    [
        (Settings, "def"),
        (Pool, "def"),
        (dict, "def"),
        (lambda: 1, "def"),
        (Opener(), "def"),
        (functools.partial(open_pool), "generator"),
        (open_pool, "generator"),
        (wraps(open_pool), "generator"),
        (Opener().open, "generator"),
        (fetch, "async"),
        (later, "async generator"),
        (Later(), "async generator"),
    ],
)
def test_what_may_be_a_provider(provider: Any, kind: str) -> None:
    async def task(*, value: Annotated[Any, Depends(provider)]) -> None: ...

    assert of(task).plan.parameters[0][1].kind == kind


def test_whoever_asks_for_the_same_provider_is_given_the_same() -> None:
    def other(db: DB) -> Session:
        return db

    def task(*, a: DB, b: DB, c: Annotated[Session, Depends(other)]) -> None: ...

    (_, a), (_, b), (_, c) = of(task).plan.parameters
    assert a is b is c.needs[0][1]


def test_a_provider_may_ask_for_the_context() -> None:
    def sync(ctx: Context) -> int: ...  # type: ignore[empty-body]
    async def asynchronous(here: AsyncContext) -> int: ...  # type: ignore[empty-body]
    async def task(*, a: Annotated[int, Depends(sync)], b: Annotated[int, Depends(asynchronous)]) -> None: ...

    assert [provider.context for _, provider in of(task).plan.parameters] == ["ctx", "here"]


# -- what is refused --------------------------------------------------------------------------------------------------


def count() -> int: ...  # type: ignore[empty-body]
def here(ctx: Context) -> int: ...  # type: ignore[empty-body]
def for_good(db: DB) -> int: ...  # type: ignore[empty-body]
async def async_with_context(ctx: Context) -> int: ...  # type: ignore[empty-body]
def wants_payload(user: str) -> int: ...  # type: ignore[empty-body]
def wants_nowhere(db: Nowhere) -> int: ...  # type: ignore[name-defined, empty-body]  # noqa: F821


@contextlib.contextmanager
def managed() -> Iterator[int]:
    yield 1


def needs_async(*, n: Annotated[int, Depends(later)]) -> None: ...
def needs_hidden_async(*, n: Annotated[int, Depends(lambda: 1)], m: Annotated[int, Depends(fetch)]) -> None: ...
def needs_longer(*, n: Annotated[int, Depends(for_good, scope="worker")]) -> None: ...
def needs_worker_context(*, n: Annotated[int, Depends(here, scope="worker")]) -> None: ...
async def needs_wrong_context(*, n: Annotated[int, Depends(async_with_context)]) -> None: ...
def needs_payload(*, n: Annotated[int, Depends(wants_payload)]) -> None: ...
def needs_nowhere(*, n: Annotated[int, Depends(wants_nowhere)]) -> None: ...
def needs_managed(*, n: Annotated[int, Depends(managed)]) -> None: ...
def countproviders(*, n: Annotated[int, Depends(open_pool), Depends(session)]) -> None: ...
def no_provider(*, n: Annotated[int, Depends]) -> None: ...
def as_default(user: str, n: int = Depends(count)) -> None: ...  # type: ignore[assignment]
def first(db: DB) -> None: ...
def by_position(user: str, db: DB, /) -> None: ...
def many(user: str, *db: DB) -> None: ...
def named(user: str, **db: DB) -> None: ...
def second(user: str, subject: str, db: DB) -> None: ...


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (needs_async, r"needs_async is a def and depends on later, which is async .*Make the task an async def"),
        (needs_hidden_async, "is a def and depends on fetch, which is async"),
        (needs_longer, r'for_good has scope worker and depends on session.*Give session scope="worker"'),
        (needs_worker_context, "here has scope worker and asks for the context of an attempt"),
        (needs_wrong_context, "async_with_context is an async def and asks for Context .*Write ctx: AsyncContext"),
        (needs_payload, r"wants_payload is a provider with a parameter that nobody can fill: user .*give it a default"),
        (needs_nowhere, "wants_nowhere has an annotation that names Nowhere"),
        (needs_managed, r"managed is a context manager .*Leave the decorator off"),
        (countproviders, "asks two providers for n"),
        (no_provider, r"names no provider for n .*Write Depends\(open_pool\)"),
        (as_default, r"has a provider as the default of n .*Write n: Annotated\[…, Depends\(count\)\]"),
        (first, r"asks for db where its payload stands .*Write \(\*, db\)"),
        (by_position, "asks for db by position only"),
        (many, r"asks a provider for \*db"),
        (named, r"asks a provider for \*\*db"),
        (second, "nobody can fill: subject"),
    ],
)
def test_what_cannot_work_is_refused_where_it_is_written(fn: Any, message: str) -> None:
    with pytest.raises(InvalidTask, match=message) as caught:
        of(fn)
    assert caught.value.seen
    assert caught.value.do


def test_providers_that_wait_for_each_other() -> None:
    def a(b: int) -> int: ...  # type: ignore[empty-body]
    def b(c: int) -> int: ...  # type: ignore[empty-body]
    def c(b: int) -> int: ...  # type: ignore[empty-body]

    a.__annotations__["b"] = Annotated[int, Depends(b)]
    b.__annotations__["c"] = Annotated[int, Depends(c)]
    c.__annotations__["b"] = Annotated[int, Depends(b)]

    def task(*, n: Annotated[int, Depends(a)]) -> None: ...

    with pytest.raises(InvalidTask, match=r"wait for each other: \S*\.b -> \S*\.c -> \S*\.b"):
        of(task)


def test_a_provider_is_something_to_call_and_a_scope_one_of_two() -> None:
    with pytest.raises(InvalidTask, match=r"A provider is a function \(5\)"):
        Depends(5)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match=r"scope is neither attempt nor worker \('run'\)"):
        Depends(open_pool, scope="run")  # type: ignore[arg-type]
