"""HTTP tasks: a request, and what has to be known to have it sent by a pusher.

    app.push("https://example.com/jobs", json={"n": 1})          one request: a run of the task ``http``
    notify = app.http_task("notify", "https://…", User)          a task like any other: its payload is the body

No code of the user's runs for their attempts. What the app answered is the run's output. Hooks for the end of a run are
called by a worker that knows the task, as they are for any run that has ended without one.
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, TypedDict, TypeVar

import msgspec

from holdfast import codec
from holdfast.annotations import check_type
from holdfast.codec import AnyCodec, Codec, codec_for
from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, InvalidTask, shown
from holdfast.hooks import ENDS_ELSEWHERE, Hooks, ends_of
from holdfast.names import ID_LENGTH, checked_name
from holdfast.options import Parent, Rules, Target, TriggerOptions, encode_rules, new_run, read_trigger_options
from holdfast.queue import Queue
from holdfast.records import NewRun, TaskEntry
from holdfast.request import (
    HTTP_QUEUE,
    HTTP_RETRY,
    HTTP_TASK,
    Body,
    Request,
    RetryRecord,
    checked_headers,
    checked_method,
    checked_url,
    request_in,
)
from holdfast.retry import Retry
from holdfast.schedule import Recurring
from holdfast.secret import masked_url
from holdfast.signature import read_signature
from holdfast.task import Governing, Task

__all__ = [
    "RESPONSE",
    "HttpTask",
    "HttpTaskOptions",
    "Invocation",
    "PushOptions",
    "PushResponse",
    "http_entry",
    "new_push",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

RULES: Final = ("id", "retry", "queue", "ttl", "priority", "schedule")
SHORTEST_TIMEOUT_MS: Final = 1
LONGEST_TIMEOUT_MS: Final = 24 * 3_600_000


@dataclasses.dataclass(frozen=True, slots=True)
class PushResponse:
    """What an app answered to a request: its status, its headers with names in lower case, and its body as text, up to
    the limit of what is read.

    >>> notify.trigger(ada).result().status
    200
    """

    status: int
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    body: str = ""
    truncated: bool = False

    def json(self) -> Any:
        """The body, decoded. Raises ValueError if it is no JSON."""
        return codec.decode(self.body)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A request that was sent, and what came back. Without an answer there is no ``status`` but an ``error``.

    ``dns``, ``connect``, ``first_byte`` and ``total`` are how long after its beginning the name was looked up, the
    connection stood, the first byte came and all was over; None for what was not reached, or not needed on a connection
    that was ``reused``. What looks like a credential in headers is stars.
    """

    attempt: int
    at: datetime
    method: str
    url: str
    status: int | None
    error: str | None
    dns: timedelta | None
    connect: timedelta | None
    first_byte: timedelta | None
    total: timedelta
    reused: bool
    request_headers: Mapping[str, str]
    response_headers: Mapping[str, str]
    body: str
    truncated: bool


class PushOptions(TriggerOptions, total=False):
    """What `Holdfast.push` may be told. All of it is optional, and all that a trigger may say is among it.

    - ``method``: default ``POST``; ``headers``: sent along.
    - ``timeout``: how long the app may take, from the look-up of its name to the last byte. Default 15 minutes.
    - ``retry``: when it is sent again. Default: after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h.
    - ``any_2xx``: any 2xx is success, and not only 200 and 201.
    - ``name``: while a request of this name waits or is being sent, there is no second one.
    """

    method: str
    headers: Mapping[str, str]
    timeout: Duration
    retry: Retry
    any_2xx: bool
    name: str


class HttpTaskOptions(TypedDict, total=False):
    """What an HTTP task may say of itself: as in `TaskOptions` and `PushOptions`."""

    method: str
    headers: Mapping[str, str]
    timeout: Duration
    retry: Retry
    any_2xx: bool
    queue: Queue | str
    ttl: Duration
    priority: float
    schedule: Recurring | Sequence[Recurring]


class HttpTask(Task[T, PushResponse]):
    """A task whose attempt is a request. Made by ``app.http_task``; triggered, scheduled and waited for like any other.

    Of hooks it has those for the end of a run: ``on_success``, ``on_failure``, ``on_cancel``, ``on_complete``. A worker
    that knows the task calls them, soon after the end.
    """

    heard = True  # nobody has to be told of the end of its runs

    def __init__(self, id: str, request: Request, payload: Any, place: str, options: Mapping[str, Any]) -> None:
        function = _stand_in(payload)
        try:
            super().__init__(function, read_signature(function), {"id": id, **options})  # type: ignore[typeddict-item]
        except InvalidTask as error:
            error.add_note(f"It is the HTTP task defined at {place}.")
            raise
        self.place, self.request = place, request

    @classmethod
    def announced(cls, id: str, queue: str, options: str, *, heard: bool = True) -> HttpTask[Any]:
        """The task as it was announced, for whoever carries its runs out. Not ``heard``: it has hooks for their end."""
        said = codec.decode(options)
        request = request_in(said)
        task: HttpTask[Any] = cls(id, request, Any, "the catalogue", {"queue": queue})
        task.rules = Rules(retry=request.retry.retry() if request.retry else HTTP_RETRY)
        task.heard = heard
        task._settle()
        return task

    @property
    def retry(self) -> Retry:
        return self.rules.retry or HTTP_RETRY

    def governing(self, overrides: str | None) -> Governing:
        usual = self._governing
        if overrides is None:
            return usual
        said = codec.decode(overrides)
        own = request_in(said).retry
        retry = own.retry() if own else usual.retry
        return Governing(retry, said.get("max_attempts", retry.max_attempts), said.get("max_duration_ms"))

    def entry(self, version: str | None = None) -> TaskEntry:
        entry = super().entry(version)
        request = msgspec.structs.replace(self.request, retry=RetryRecord.of(self.retry))
        rules = codec.decode(encode_rules(dataclasses.replace(self.rules, retry=self.retry)))
        entry.options, entry.kind = codec.encode({**rules, "http": msgspec.to_builtins(request)}), "http"
        return entry

    def _settle(self) -> None:
        super()._settle()
        self._governing = Governing(self.retry, self.retry.max_attempts, None)

    def hooks_in_order(self) -> Hooks:
        """Those for the end of a run: of its attempts, nothing runs where hooks could be called."""
        return {kind: hooks for kind, hooks in super().hooks_in_order().items() if kind in ENDS_ELSEWHERE}

    def ends(self) -> int:
        return ends_of(self.hooks_in_order(), ENDS_ELSEWHERE)

    def _add(self, kind: str, hook: F) -> F:
        if kind not in ENDS_ELSEWHERE:
            raise InvalidTask(
                f"Task {self.id} is a request: its attempts do not run here, and have no hooks",
                seen=f"{kind}, for the task defined at {self.place}",
                do=f"There are hooks for its end: {', '.join(ENDS_ELSEWHERE)}.",
            )
        return super()._add(kind, hook)

    def __repr__(self) -> str:
        return f"<Task {self.id}, {self.request.method or 'POST'} {masked_url(self.request.url or '')}>"


def http_task(id: str, url: str, payload: Any, place: str, options: Mapping[str, Any]) -> HttpTask[Any]:
    """The HTTP task that these options make, belonging to no app yet.

    Raises:
        InvalidTask, InvalidOption
    """
    said = dict(options)
    rules = {name: said.pop(name) for name in RULES if said.get(name) is not None}
    if isinstance(retry := rules.get("retry"), Retry):
        RetryRecord.of(retry)
    checked_name(id, option="The id of a task", length=ID_LENGTH)
    check_type(payload, f"The payload of task {id}")
    body: Body = "none" if payload is None else "json"
    return HttpTask(id, read_request(url, body, said), payload, place, rules)


def http_entry() -> TaskEntry:
    """The task of requests that belong to none, as whoever pushes announces it."""
    options = {"max_attempts": HTTP_RETRY.max_attempts, "http": {}}
    return TaskEntry(id=HTTP_TASK, queue=HTTP_QUEUE, options=codec.encode(options), kind="http")


def new_push(
    url: str, json: Any, content: str | bytes | None, options: Mapping[str, Any], parent: Parent, usual: Rules
) -> NewRun:
    """The run that has this request sent.

    Raises:
        InvalidOption, NotSerializable
    """
    said = dict(options)
    request_options = {name: said.pop(name) for name in PUSH_READERS if name in said}
    name, retry = said.pop("name", None), said.pop("retry", None)
    payload, body = body_of(json, content)
    retry = usual.retry if retry is None else retry
    record = None if retry is None else RetryRecord.of(checked_retry(retry))
    request = msgspec.structs.replace(
        read_request(url, body, request_options), retry=record, name=None if name is None else checked_push_name(name)
    )
    found = read_trigger_options(said)
    governing = codec.decode(found["options"]) if "options" in found else {}
    found = {**found, "options": codec.encode({**governing, "http": msgspec.to_builtins(request)})}
    run = new_run(Target(HTTP_TASK, HTTP_QUEUE, usual.ttl_ms), payload, found, parent=parent)
    if request.name is not None:
        make_unique(run, request.name, said)
    return run


def make_unique(run: NewRun, name: str, said: Mapping[str, Any]) -> None:
    """No other run of this name, until this one has ended."""
    for option in ("idempotency_key", "debounce", "connection"):
        if said.get(option) is not None:
            raise InvalidOption(f"name and {option} are both given", seen=shown(name), do="Keep one of them.")
    run.idempotency_key, run.idempotency_ttl_ms, run.unique_until_end = name, None, True


class Sent(NamedTuple):
    """A body: the run's payload as JSON text, and how that is to be sent."""

    payload: str
    body: Body


def body_of(json: Any, content: object) -> Sent:
    if json is not None and content is not None:
        raise InvalidOption("json and content are both given", do="Keep one of them.")
    if content is None:
        return Sent("null", "none") if json is None else Sent(AnyCodec().dump(json), "json")
    if isinstance(content, str):
        checked_body(content)
        return Sent(codec.encode(content), "text")
    if isinstance(content, bytes | bytearray | memoryview):
        return Sent(codec.encode(base64.b64encode(content).decode("ascii")), "bytes")
    raise InvalidOption("content is neither text nor bytes", seen=shown(content), do="Give what is data as json=.")


def checked_body(content: str) -> None:
    try:
        content.encode()
    except UnicodeEncodeError:
        do = "Leave it out, or give bytes."
        raise InvalidOption("content has a lone surrogate, which cannot be sent", seen=shown(content), do=do) from None


# -- reading options --------------------------------------------------------------------------------------------------


def read_request(url: object, body: Body, options: Mapping[str, Any]) -> Request:
    """The request in these options. Raises InvalidOption."""
    found: dict[str, Any] = {}
    for option, value in options.items():
        if option not in PUSH_READERS:
            raise InvalidOption(f"{option} is not an option of a request", do=f"There are {', '.join(PUSH_READERS)}.")
        if value is not None:
            field, read = PUSH_READERS[option]
            found[field] = read(value, option)
    return Request(url=checked_url(url), body=body, **found)


def read_timeout(value: Any, option: str) -> int:
    milliseconds = to_ms(value, name=option)
    if not SHORTEST_TIMEOUT_MS <= milliseconds <= LONGEST_TIMEOUT_MS:
        raise InvalidOption(f"{option} is no time or more than a day", seen=shown(value), do='Write, say, "1m".')
    return milliseconds


def read_flag(value: Any, option: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidOption(f"{option} is neither True nor False", seen=shown(value), do="Write True.")
    return value


def checked_push_name(value: Any) -> str:
    return checked_name(value, option="name")


def checked_retry(value: Any) -> Retry:
    if not isinstance(value, Retry):
        raise InvalidOption("retry is not a Retry", seen=shown(value), do="Write Retry(max_attempts=5).")
    return value


PUSH_READERS: Final[Mapping[str, tuple[str, Any]]] = {
    "method": ("method", lambda value, option: checked_method(value, option=option)),
    "headers": ("headers", lambda value, option: checked_headers(value, option=option)),
    "timeout": ("timeout_ms", read_timeout),
    "any_2xx": ("any_2xx", read_flag),
}


def _stand_in(payload: Any) -> Any:
    """A function with the task's signature. It is called in tests only, where nothing is sent: it says that all is
    well."""

    async def without() -> PushResponse:
        return PushResponse(200)

    async def with_payload(payload: Any) -> PushResponse:
        return PushResponse(200)

    function = without if payload is None else with_payload
    function.__annotations__ = {"return": PushResponse} | ({} if payload is None else {"payload": payload})
    return function


RESPONSE: Final[Codec[PushResponse]] = codec_for(PushResponse, role="output")
