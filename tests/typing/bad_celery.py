"""Mistakes with shared tasks that a checker must report."""

from __future__ import annotations

from typing import Any

from holdfast.contrib.celery import Task, shared_task


@shared_task
def send(to: str, subject: str = "Hi") -> int:
    return len(to)


@shared_task(bind=True)
def fetch(self: Task[..., Any], url: str) -> str:
    self.request.idd  # E
    return url


send.delay()  # E
send.delay(5)  # E
send.delay("ada", sbject="Hi")  # E
send.apply_async(("ada",), countdwon=5)  # E
send.apply_async(("ada",), task_id="x")  # E
send.apply_async(("ada",), priority=9)  # E
send.delay("ada").get().upper()  # E
send.s("ada")  # E
fetch.delay("a", "b")  # E
fetch.delay(url=5)  # E
fetch.retry(kwargs={"url": "x"})  # E
send.payload("ada", 5)  # E
shared_task(acks_late=False)  # E
shared_task(soft_time_limit=5)  # E
shared_task(max_retries="3")  # E
