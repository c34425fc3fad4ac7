"""A Holdfast task that is called, and retried, in Celery's words.

A `SharedTask` is a `Task` whose payload is an object of the function's arguments. Its own verbs (``trigger``,
``batch_trigger``, hooks, ``jobs.run``) take that payload, which ``send.payload("ada", subject="Hi")`` makes.

An exception ends the run, unless it is one of ``autoretry_for``; ``self.retry()`` raises what asks for another attempt.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, Unpack, cast

from holdfast.client import Client
from holdfast.context import running
from holdfast.contrib.celery.arguments import Arguments
from holdfast.contrib.celery.options import (
    ApplyOptions,
    checked_moment,
    read_apply,
    read_shared,
    to_epoch_ms,
)
from holdfast.contrib.celery.refused import OF_A_TASK, PAGE
from holdfast.contrib.celery.request import MaxRetriesExceededError, Request, Retry
from holdfast.contrib.celery.result import AsyncResult, EagerResult
from holdfast.duration import Duration, to_ms
from holdfast.errors import HoldfastError, InvalidOption, NotBound, shown
from holdfast.signature import ABSENT, Signature
from holdfast.task import SyncTask, Verbs

__all__ = ["SharedTask"]

P = ParamSpec("P")
R = TypeVar("R")


class SharedTask(SyncTask[dict[str, Any], R, P], Generic[P, R]):
    """A task that was Celery's. Made by ``@shared_task``.

    >>> send.delay("ada@example.com", subject="Hi").get(timeout=10)
    'sent'
    >>> send.apply_async(("ada@example.com",), {"subject": "Hi"}, countdown=60)
    >>> send.trigger(send.payload("ada@example.com"), idempotency_key="welcome-1")
    """

    MaxRetriesExceededError: Final = MaxRetriesExceededError

    def __init__(self, fn: Callable[..., Any], name: str, options: Mapping[str, Any], *, bound: bool) -> None:
        said = read_shared(options, name)
        self._arguments = Arguments(fn, name, bound=bound)
        self._said, self._is_bound = said, bound
        signature = Signature(
            is_async=False,
            payload="arguments",
            annotation=self._arguments.type,
            default={} if self._arguments.optional else ABSENT,
            context=None,
            output=None if said.ignore_result else self._arguments.output,
            call=self._carry_out,
        )
        super().__init__(fn, signature, said.task)

    # -- calling it --

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return cast("R", self.fn(self, *args, **kwargs) if self._is_bound else self.fn(*args, **kwargs))

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> AsyncResult[R]:
        """Make a run with these arguments. When this returns, it is on disk.

        Raises:
            What `Task.trigger` raises; PayloadInvalid also if the function cannot be called like this.
        """
        return AsyncResult(self.trigger(self.payload(*args, **kwargs)))

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[ApplyOptions],
    ) -> AsyncResult[R]:
        """`delay` with options. See `ApplyOptions`.

        Raises:
            InvalidOption: an option cannot be honoured, or has a value that cannot be used.
            What `delay` raises.

        >>> send.apply_async(("ada@example.com",), countdown=60, expires=300)
        """
        said = read_apply(options, self._now)
        return AsyncResult(self.trigger(self._pack(args, kwargs), **said))

    def apply(
        self, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] | None = None, *, throw: bool = False
    ) -> EagerResult[R]:
        """Call the function, here and now. What it raises is kept for ``.get()``, unless it is to ``throw``. Nothing is
        tried again."""
        given = self._arguments.unpack(self._pack(args, kwargs))
        try:
            return EagerResult(self(*given.args, **given.kwargs), None)
        except Exception as error:
            if throw:
                raise
            return EagerResult(None, error)

    def payload(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, Any]:
        """These arguments as the payload that the verbs of every task take.

        Raises:
            PayloadInvalid: the function cannot be called like this.

        >>> send.batch_trigger([send.payload(user.email) for user in users])
        """
        return self._arguments.pack(args, kwargs)

    # -- inside --

    @property
    def name(self) -> str:
        """Its id."""
        return self.id

    @property
    def max_retries(self) -> int | None:
        """How often it is tried again; None is for ever."""
        return self._said.max_retries

    @property
    def default_retry_delay(self) -> float:
        """Seconds until ``self.retry()`` has it tried again, if that does not say."""
        return self._said.retry_delay_ms / 1000

    @property
    def request(self) -> Request:
        """The run whose attempt is running here; see `Request`."""
        attempt = running.get()
        return Request(self.id, attempt if attempt is not None and attempt.claimed.task == self.id else None)

    def retry(
        self,
        args: None = None,
        kwargs: None = None,
        exc: Exception | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: Duration | None = None,
        max_retries: int | None = None,
    ) -> Retry:
        """Have this run tried again: raises `Retry`, or returns it with ``throw=False``, for ``raise self.retry(…)``.

        It is tried again in ``countdown`` seconds, at the ``eta``, or after the task's ``default_retry_delay``.

        Raises:
            Exception: ``exc``, or the exception that is being handled, if there were ``max_retries`` retries already or
                nobody triggered this call.
            MaxRetriesExceededError: the same, where there is no such exception.
            InvalidOption: an option cannot be honoured.
        """
        given: tuple[object, object] = args, kwargs
        if given != (None, None):
            raise InvalidOption(
                "retry() cannot change the arguments",
                seen=f"args={shown(args)}, kwargs={shown(kwargs)}",
                do="Trigger a new run with these.",
            )
        handled = exc if exc is not None else sys.exception()
        limit = self.request.limit(self.max_retries if max_retries is None else max_retries)
        if self.request.called_directly or self.request.retries >= limit:
            if handled is not None:
                raise handled
            raise MaxRetriesExceededError(
                f"Task {self.id} has no retry left", seen=f"max_retries={limit}", do="Allow more, or let it fail."
            )
        again = Retry(timedelta(milliseconds=self._retry_in_ms(eta, countdown)), _said(handled))
        again.max_attempts, again.__cause__ = limit + 1, handled
        if throw:
            raise again
        return again

    # -- for the app and the worker --

    def _carry_out(self, payload: Mapping[str, Any], _: object) -> Any:
        given = self._arguments.unpack(payload)
        output = self(*given.args, **given.kwargs)
        return None if self._said.ignore_result else output

    def _pack(self, args: object, kwargs: object) -> dict[str, Any]:
        if args is not None and not isinstance(args, list | tuple):
            raise InvalidOption("args is neither a list nor a tuple", seen=shown(args), do='Write args=("Ada",).')
        if kwargs is not None and not isinstance(kwargs, Mapping):
            raise InvalidOption("kwargs is not a dict", seen=shown(kwargs), do='Write kwargs={"name": "Ada"}.')
        return self._arguments.pack(args or (), kwargs or {})

    def _retry_in_ms(self, eta: datetime | None, countdown: Duration | None) -> int:
        if eta is not None:
            return max(0, to_epoch_ms(checked_moment(eta, "eta")) - self._now())
        return self._said.retry_delay_ms if countdown is None else to_ms(countdown, name="countdown")

    def _now(self) -> int:
        return cast("Client", self._bound()).read(lambda tx: tx.now())

    def _bound(self) -> Verbs:
        if self._verbs is None:
            raise NotBound(
                f"Task {self.id} belongs to no app yet",
                seen=self.place,
                do="Write app.include(shared_tasks) beside app = Holdfast(), and import that module here.",
            )
        return self._verbs

    def __repr__(self) -> str:
        return f"<SharedTask {self.id}>"

    if not TYPE_CHECKING:  # a checker is to report them

        def __getattr__(self, name: str) -> Any:
            if name in OF_A_TASK:
                raise HoldfastError(
                    f"task.{name} is not in Holdfast", seen=repr(self), do=f"{OF_A_TASK[name]} See {PAGE}."
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _said(error: BaseException | None) -> str | None:
    return f"{type(error).__name__}: {error}" if error is not None else None
