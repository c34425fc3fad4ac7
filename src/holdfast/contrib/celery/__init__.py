"""For files that come from Celery: change the import, and the tasks in them are Holdfast's.

    from holdfast.contrib.celery import shared_task         was: from celery import shared_task

    @shared_task(bind=True, max_retries=5)
    def send(self, to: str, subject: str = "Hi") -> str: ...

    send.delay("ada@example.com")                           as before

    app = Holdfast(imports=["shop.mail"])                   once, where the app is
    app.include(shared_tasks)                               every shared task is in this blueprint

A shared task is a `Task` whose payload is an object of its arguments by name, so everything else of Holdfast works with
it, too. What Celery has and Holdfast cannot do as it is said there is refused by name. docs/coming-from-celery.md has
the answer to each of Celery's ideas. Celery itself is not needed.

    factory.py     shared_task, the decorator
    options.py     what may be written there and at apply_async, in Holdfast's words
    refused.py     what may not, and what to write instead
    arguments.py   arguments to payload and back
    task.py        SharedTask: delay, apply_async, retry
    request.py     self.request, and what self.retry() raises
    result.py      AsyncResult, EagerResult, and the blueprint shared_tasks
"""

from holdfast.contrib.celery.factory import SharedTaskFactory, shared_task
from holdfast.contrib.celery.options import ApplyOptions, SharedOptions
from holdfast.contrib.celery.request import MaxRetriesExceededError, Retry
from holdfast.contrib.celery.result import AsyncResult, EagerResult, shared_tasks
from holdfast.contrib.celery.task import SharedTask
from holdfast.contrib.celery.task import SharedTask as Task  # for `self: Task`, as files from Celery have it

__all__ = [
    "ApplyOptions",
    "AsyncResult",
    "EagerResult",
    "MaxRetriesExceededError",
    "Retry",
    "SharedOptions",
    "SharedTask",
    "SharedTaskFactory",
    "Task",
    "shared_task",
    "shared_tasks",
]
