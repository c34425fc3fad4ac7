"""A request as it came in, and the payload that a task gets of it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl

from holdfast import codec
from holdfast.errors import PayloadInvalid

__all__ = ["Webhook", "WebhookRequest", "body_as"]

T = TypeVar("T")

FORM: Final = "application/x-www-form-urlencoded"


@dataclasses.dataclass(frozen=True)
class Webhook(Generic[T]):
    """The payload of a webhook task: a request that was verified.

    ``body`` is what the annotation says: ``Webhook[Event]`` reads JSON (or a form) as an ``Event``, ``Webhook[str]`` is
    the text and ``Webhook[bytes]`` the bytes that came in. ``id`` is the sender's for this delivery, if it gives one.
    Names of ``headers`` are in lower case; what looks like a credential in them is stars.

    >>> jobs.run(paid, Webhook(Event(type="paid"), id="evt_1"))  # in a test
    """

    body: T
    id: str | None = None
    path: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    query: Mapping[str, str] = dataclasses.field(default_factory=dict)
    received_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))


@dataclasses.dataclass(frozen=True)
class WebhookRequest:
    """A request that is to be verified, as it came in: ``body`` is raw, the names of ``headers`` are in lower case."""

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes
    received_at: datetime

    @cached_property
    def data(self) -> Any:
        """The body as JSON, or the fields of a form, or text; None if there is none, or it is none of these."""
        try:
            text = self.body.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
            return dict(parse_qsl(text, keep_blank_values=True))
        try:
            return codec.decode(text) if text.strip() else None
        except PayloadInvalid:
            return text


def body_as(wanted: object, request: WebhookRequest) -> Any:
    """The body as a task that takes a ``Webhook[wanted]`` gets it, in JSON. What does not fit is found where the task
    is run, and can be replayed there once the code is right."""
    if wanted is bytes:
        return base64.b64encode(request.body).decode("ascii")
    if wanted is str:
        return request.body.decode("utf-8", "replace")
    return request.data
