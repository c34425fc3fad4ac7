"""A path with its task: judges what comes in, and makes the run of it."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
import typing
from collections.abc import Awaitable, Callable
from typing import Any, Final

from holdfast import secret
from holdfast.errors import InvalidOption, InvalidTask, shown
from holdfast.options import TaskOptions, new_run, read_trigger_options
from holdfast.records import NewRun
from holdfast.task import Task, TaskDecorator, check_options
from holdfast.webhooks.request import Webhook, WebhookRequest, body_as
from holdfast.webhooks.verify import NotVerified, Verified, Verifier

__all__ = ["Endpoint", "Verify", "checked_path", "receiving"]

Answer = bool | str | None
Verify = Callable[[WebhookRequest], "Verified | Answer | Awaitable[Answer]"]

PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)+")
PATH_LENGTH: Final = 200
KEY_LENGTH: Final = 200


class Endpoint:
    """Where a task's requests come in, and how they are verified."""

    def __init__(self, path: str, verify: Verify) -> None:
        self.path, self.verify = checked_path(path), checked_verify(verify)
        self.task: Task[Any, Any] | None = None

    @property
    def verified_by(self) -> str:
        """Who verifies, for people to read."""
        function = getattr(self.verify, "__qualname__", type(self.verify).__qualname__)
        return type(self.verify).__name__ if isinstance(self.verify, Verifier) else str(function)

    @property
    def success(self) -> int:
        """The status of an answer to a request that has become a run."""
        return self.verify.success if isinstance(self.verify, Verifier) else 202

    def attach(self, task: Task[Any, Any]) -> None:
        """Belong to a task. Raises InvalidTask: it takes something else than a Webhook."""
        annotation = task.signature.annotation
        if task.signature.payload is not None and annotation is not Any and origin(annotation) is not Webhook:
            raise InvalidTask(
                f"Task {task.id} has a webhook, and takes something else",
                seen=f"{shown(annotation)} at {task.place}",
                do="Let it take a Webhook[Event], where Event is what the body is; or nothing.",
            )
        self.task = task
        task.webhook = self

    async def judge(self, request: WebhookRequest) -> Verified:
        """Verify a request. Raises NotVerified, and whatever a function of the user's raises."""
        if isinstance(self.verify, Verifier):
            return self.verify(request)
        if inspect.iscoroutinefunction(self.verify):
            found = await self.verify(request)
        else:
            found = await asyncio.to_thread(self.verify, request)
        if inspect.isawaitable(found):
            found = await found
        if isinstance(found, str) and found:
            return Verified(found)
        if found is not True:
            raise NotVerified(f"{self.verified_by} did not verify it")
        return Verified()

    def run(self, request: WebhookRequest, id: str | None) -> NewRun:
        """The run that a request becomes: never a second one with the same id of the sender's."""
        assert self.task is not None
        said = {} if id is None else read_trigger_options({"idempotency_key": key_of(id)})
        return new_run(self.task.target(), self.payload(request, id), said)

    def payload(self, request: WebhookRequest, id: str | None) -> str:
        assert self.task is not None
        if self.task.signature.payload is None:
            return "null"
        arguments = typing.get_args(self.task.signature.annotation)
        found = {
            "body": body_as(arguments[0] if arguments else Any, request),
            "id": id,
            "path": request.path,
            "headers": self.masked(request),
            "query": dict(request.query),
            "received_at": request.received_at.isoformat(),
        }
        return self.task.unchecked(found)

    def masked(self, request: WebhookRequest) -> dict[str, str]:
        """The headers to keep: what is a credential is stars."""
        hidden = self.verify.secret_headers if isinstance(self.verify, Verifier) else ()
        return {
            name: secret.STARS if name in hidden or secret.is_secret_header(name) else value
            for name, value in request.headers.items()
        }


def receiving(
    path: str, verify: Verify, options: TaskOptions, register: Callable[[Task[Any, Any]], None]
) -> TaskDecorator:
    """What ``app.webhook`` and ``blueprint.webhook`` are: makes a function a task with an endpoint, and has it
    registered.

    Raises:
        InvalidOption: the path, the verifier or an option of the task cannot be used.
    """
    endpoint = Endpoint(path, verify)

    def take(task: Task[Any, Any]) -> None:
        endpoint.attach(task)
        register(task)

    check_options(options)
    return TaskDecorator(take, options)


def key_of(id: str) -> str:
    """The idempotency key of a sender's id, which may be long, or have characters that a key may not have."""
    if len(id) <= KEY_LENGTH and id.isprintable() and id == id.strip():
        return id
    return "sha256:" + hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()


def checked_path(path: object) -> str:
    """``path`` if requests can come in there. Raises InvalidOption."""
    if not isinstance(path, str) or len(path) > PATH_LENGTH or not PATH.fullmatch(path):
        raise InvalidOption("path is not one that can be served", seen=shown(path), do='Write it like "/stripe".')
    if any(part in (".", "..") for part in path.split("/")):
        raise InvalidOption("path leads elsewhere", seen=shown(path), do='Write it like "/stripe".')
    return path


def checked_verify(verify: object) -> Any:
    if not callable(verify) or isinstance(verify, type):
        raise InvalidOption(
            "verify is not a function that verifies a request",
            seen=shown(verify),
            do="Write verify=Stripe(secret), or give a function of a WebhookRequest that answers True.",
        )
    return verify


def origin(annotation: object) -> object:
    return typing.get_origin(annotation) or annotation
