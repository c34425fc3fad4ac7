"""What a shared task's own code sees of its run, and what it raises to have it tried again."""

from __future__ import annotations

from holdfast.codec import decode
from holdfast.context import Attempt
from holdfast.contrib.celery.options import UNLIMITED
from holdfast.errors import HoldfastError, RetryAfter

__all__ = ["MaxRetriesExceededError", "Request", "Retry"]


class Retry(RetryAfter):
    """Raised by ``self.retry()``: this attempt failed, and there will be another one."""


class MaxRetriesExceededError(HoldfastError):
    """The task asked for one more retry than it may have."""


class Request:
    """What ``self.request`` is: the run that the task's code is carrying out, if it is.

    ``id``, ``root_id`` and ``parent_id`` of the run, ``task``, ``retries`` so far, and ``called_directly``: then nobody
    triggered it, and there is no id.
    """

    __slots__ = ("_attempt", "task")

    def __init__(self, task: str, attempt: Attempt | None) -> None:
        self.task = task
        self._attempt = attempt

    @property
    def called_directly(self) -> bool:
        return self._attempt is None

    @property
    def id(self) -> str | None:
        return self._attempt.claimed.id if self._attempt is not None else None

    @property
    def root_id(self) -> str | None:
        return self._attempt.as_parent().root_id if self._attempt is not None else None

    @property
    def parent_id(self) -> str | None:
        return self._attempt.claimed.parent_id if self._attempt is not None else None

    @property
    def retries(self) -> int:
        """How often it was tried again so far; a crash or a deploy does not count."""
        return self._attempt.claimed.attempt - 1 if self._attempt is not None else 0

    def limit(self, max_retries: int | None) -> int:
        """How often it may be tried again: so often, unless its trigger said ``max_attempts``."""
        options = self._attempt.claimed.options if self._attempt is not None else None
        said: int | None = decode(options).get("max_attempts") if options is not None else None
        if said is not None:
            return said - 1
        return UNLIMITED - 1 if max_retries is None else max_retries
