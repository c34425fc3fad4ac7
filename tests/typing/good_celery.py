"""Shared tasks, as files from Celery have them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

from holdfast import Failure, Holdfast, Queue, RunHandle
from holdfast.contrib.celery import AsyncResult, EagerResult, MaxRetriesExceededError, Task, shared_task, shared_tasks

app = Holdfast(imports=["json"])
app.include(shared_tasks)


@shared_task
def send(to: str, subject: str = "Hi", *, urgent: bool = False) -> int:
    return len(to)


assert_type(send("ada", urgent=True), int)
assert_type(send.delay("ada", subject="Hello"), AsyncResult[int])
assert_type(send.delay("ada").get(timeout=10), int)
assert_type(
    send.apply_async(("ada",), {"urgent": True}, countdown=60, expires=datetime(2027, 1, 1, tzinfo=UTC)).id, str
)
assert_type(send.apply(("ada",)), EagerResult[int])
assert_type(send.payload("ada", "Hello"), dict[str, Any])
assert_type(send.trigger(send.payload("ada"), idempotency_key="k"), RunHandle[int])
assert_type(send.batch_trigger([send.payload(name) for name in ("ada", "grace")]).results().outputs(), list[int])
assert_type(AsyncResult("r1"), AsyncResult[Any])
assert_type(send.delay("ada").handle, RunHandle[int])


@shared_task(bind=True, autoretry_for=(ConnectionError,), max_retries=None, retry_backoff=True, queue=Queue("mail"))
def fetch(self: Task[..., Any], url: str) -> bytes | None:
    try:
        return url.encode()
    except ValueError as error:
        raise self.retry(exc=error, countdown=60) from error
    except MaxRetriesExceededError:
        return str(self.request.retries).encode()


assert_type(fetch.delay("https://example.com"), AsyncResult[bytes | None])
assert_type(fetch("https://example.com"), bytes | None)


@shared_task(name="nightly", acks_late=True, ignore_result=True, rate_limit="10/m", time_limit=60, expires=300)
def nightly() -> None: ...


assert_type(nightly.delay(), AsyncResult[None])


@fetch.on_failure
def tell(failure: Failure[dict[str, Any]]) -> None:
    print(failure.payload["url"])


def view(result: AsyncResult[int]) -> str:
    if result.ready() and result.successful():
        return str(result.get())
    result.revoke()
    return result.state
