"""Mistakes with hooks and providers that a checker must report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from holdfast import Depends, Event, Failure, Holdfast, RetryAfter, Success

app = Holdfast()


class Session: ...


def session() -> Session:
    return Session()


@app.task
async def double(n: int, db: Annotated[Session, Depends(session)]) -> str:
    return str(2 * n)


@app.task
def nightly(*, db: Annotated[Session, Depends(session)]) -> None: ...


@double.on_failure  # E
def wrong_payload(failure: Failure[str]) -> None: ...


@double.on_success  # E
def wrong_output(success: Success[int, int]) -> None: ...


@double.on_success  # E
def wrong_event(failure: Failure[int]) -> None: ...


@double.on_failure  # E
def no_event() -> None: ...


@double.catch_error  # E
def decides_nothing(failure: Failure[int]) -> str:
    return "tomorrow"


@double.middleware  # E
async def no_next(event: Event[int]) -> None: ...


@double.middleware  # E
async def wrong_next(event: Event[int], call_next: Callable[[int], Awaitable[str]]) -> None: ...


@double.on_failure
def misspelt(failure: Failure[int]) -> None:
    print(failure.mesage)  # E


@double.on_start
def no_output_yet(event: Event[int]) -> None:
    print(event.output)  # E


Depends(session, scope="run")  # E
Depends(5)  # E
nightly()  # E
nightly.trigger(Session())  # E
double.retry_hook  # E
double.catch_error(lambda failure: RetryAfter())  # E
