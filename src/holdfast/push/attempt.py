"""One attempt at an HTTP task: from the claimed run to its invocation and its outcome.

    put the request together → sign it → send it → judge the answer → note both

200 and 201 are success, any 2xx if the request says so. Everything else fails the attempt: another status, redirects
among them, a dropped connection, no answer in time. The task's own retry decides what comes next; a ``Retry-After`` of
the app may put that off, by no more than a day.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

import msgspec

from holdfast import codec, secret, tracing
from holdfast.http_task import HttpTask
from holdfast.ids import as_uuid
from holdfast.push import mail
from holdfast.push.deliver import USER_AGENT, Answer, Call, Sender
from holdfast.push.mail import MailServer
from holdfast.records import Again, Claimed, Ended, Invocation
from holdfast.request import Request, host_of, merged, request_in
from holdfast.sign import Signer
from holdfast.task import Task
from holdfast.worker import outcome as outcomes
from holdfast.worker.live import Host, Live
from holdfast.worker.outcome import Outcome

SUCCESS: Final = frozenset((200, 201))
LONGEST_RETRY_AFTER_MS: Final = 24 * 3_600_000
TOLD: Final = 300  # characters of a failed answer's body that its error tells
HEADERS_TOLD: Final = 100


class Sending(Host, Protocol):
    """What an attempt needs of the pusher that carries it."""

    sender: Sender
    signer: Signer
    mail: MailServer | None
    push: Any


class Push(Live):
    """An attempt that sends a request."""

    host: Sending
    task: HttpTask[Any]

    __slots__ = ("answer", "invocation", "request", "sent_to")

    def __init__(self, claimed: Claimed, task: Task[Any, Any], host: Any) -> None:
        super().__init__(claimed, task, host)
        self.request = request_of(claimed, task)
        self.sent_to = host_of(self.request.url or "")
        self.invocation: Invocation | None = None
        self.answer: Answer | None = None

    def defer(self, seconds: float) -> None:
        """It cannot be sent now: back in line for a while, with its attempt."""
        run = self.claimed
        self.end(Again(run.id, run.claim, max(1, round(seconds * 1000)), False, "deferred"))

    def end(self, outcome: Outcome | None) -> None:
        if isinstance(outcome, Ended):
            outcome.unheard = not self.task.heard
        super().end(outcome)

    async def outcome(self) -> Outcome | None:
        body = body_bytes(await self.payload_text(), self.request)
        call = Call(
            url=self.request.url or "",
            method=self.request.method or "POST",
            headers=self.headers(body),
            body=body,
            timeout=(self.request.timeout_ms or self.host.push.timeout_ms) / 1000,
        )
        began = time.perf_counter()
        try:
            self.answer = await self.sent(call)
        except asyncio.CancelledError:
            reason = self.reason or "returned"
            total = round((time.perf_counter() - began) * 1e6)
            stopped = Answer(int(time.time() * 1000 - total / 1000), error=STOPPED[reason], total_us=total)
            self.invocation = invocation(self.claimed, call, stopped, self.lines.hushed)
            return outcomes.interrupted(self.claimed, reason, self.governing)
        tracing.observe(self.claimed, call, self.answer)
        self.invocation = invocation(self.claimed, call, self.answer, self.lines.hushed)
        return self.judged(self.answer)

    async def sent(self, call: Call) -> Answer:
        if mail.is_mail(call.url):
            return Answer(**await mail.send(self.host.mail, call.url, call.body, self.claimed.id))
        return await self.host.sender.send(call)

    async def payload_text(self) -> str:
        text = await super().payload_text()
        said = secret.secrets_in(self.request.url or "", self.request.headers or {})
        self.lines.hush([*self.task.secrets(text), *said])
        return text

    def headers(self, body: bytes) -> dict[str, str]:
        """What the task says, and what is ours to say."""
        run = self.claimed
        usual = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if self.request.body == "json":
            usual["Content-Type"] = "application/json"
        ours = {
            "X-Mergent-Task": as_uuid(run.id),
            "X-Holdfast-Attempt": str(run.attempt),
            **self.host.signer.headers(run.id, body, time.time()),
        }
        trace = tracing.trace_of(run.options) or {}
        return {**merged({**usual, **trace}, self.request.headers or {}), **ours}

    def judged(self, answer: Answer) -> Outcome:
        run = self.claimed
        if answer.status is not None and succeeded(answer.status, self.request):
            return outcomes.completed(run, self.lines.hushed_json(output_of(answer)))
        error = self.lines.hushed_json(outcomes.plain_error("PushFailed", told(answer)))
        if run.attempt >= self.governing.max_attempts:
            return Ended(run.id, run.claim, "failed", None, error)
        return Again(run.id, run.claim, self.delay_ms(answer), True, "failed", error)

    def delay_ms(self, answer: Answer) -> int:
        usual = outcomes.backoff(self.claimed, Exception(), self.governing)
        asked = retry_after_ms(answer.headers.get("retry-after"), time.time())
        return max(usual, min(asked, LONGEST_RETRY_AFTER_MS))


STOPPED: Final = {
    "canceled": "the run was canceled",
    "timed_out": "the run's max_duration was over",
    "returned": "the pusher was stopped: it is sent again",
    "lost": "the pusher was taken for lost",
}


def request_of(claimed: Claimed, task: Task[Any, Any]) -> Request:
    """What this run has sent: what the call said, over what its task says."""
    usual = getattr(task, "request", Request())
    return request_in(codec.decode(claimed.options)).over(usual) if claimed.options else usual


def body_bytes(payload: str, request: Request) -> bytes:
    """The body as it goes over the wire, with the values of its secrets."""
    match request.body:
        case "none":
            return b""
        case "text":
            return str(codec.decode(payload)).encode("utf-8", "surrogatepass")
        case "bytes":
            return base64.b64decode(codec.decode(payload))
    if secret.KEY in payload:
        payload = codec.encode(secret.opened(codec.decode(payload)))
    return payload.encode("utf-8", "surrogatepass")


def succeeded(status: int, request: Request) -> bool:
    return 200 <= status < 300 if request.any_2xx else status in SUCCESS


def told(answer: Answer) -> str:
    """Why the attempt has failed, in a sentence."""
    if answer.status is None:
        return answer.error or "no answer"
    body = " ".join(text_of(answer.body).split())
    told = f"the app answered {answer.status}"
    if 300 <= answer.status < 400:
        told += ", and redirects are not followed"
    return f"{told}: {body[:TOLD]}" if body else told


def output_of(answer: Answer) -> str:
    """The run's output, as JSON text: a `PushResponse`."""
    output = {
        "status": answer.status,
        "headers": masked(answer.headers),
        "body": text_of(answer.body),
        "truncated": answer.truncated,
    }
    return msgspec.json.encode(output).decode()


def retry_after_ms(value: str | None, now: float) -> int:
    """What a ``Retry-After`` asks for: seconds, or a date. 0 if it says nothing that can be understood."""
    if value is None:
        return 0
    text = value.strip()
    if text.isascii() and text.isdigit():
        return int(text[:9]) * 1000
    try:
        return max(0, round((parsedate_to_datetime(text).timestamp() - now) * 1000))
    except (ValueError, TypeError, OverflowError):
        return 0


# -- what is kept -----------------------------------------------------------------------------------------------------


def invocation(claimed: Claimed, call: Call, answer: Answer, hushed: Any) -> Invocation:
    """The record of a request and its answer."""
    record = {
        "method": call.method,
        "url": secret.masked_url(call.url),
        "request_headers": masked(call.headers),
        "request_bytes": len(call.body),
        "response_headers": masked(answer.headers),
        "body": hushed(text_of(answer.body)),
        "truncated": answer.truncated,
        "error": answer.error,
        "dns_us": answer.dns_us,
        "connect_us": answer.connect_us,
        "first_byte_us": answer.first_byte_us,
        "reused": answer.reused,
    }
    text = msgspec.json.encode(record).decode()
    return Invocation(claimed.id, claimed.claim, claimed.attempt, answer.at, answer.status, answer.total_us, text)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers to keep: what looks like a credential is stars."""
    return secret.masked_headers(dict(list(headers.items())[:HEADERS_TOLD]))


def text_of(body: bytes) -> str:
    return body.decode("utf-8", "replace")
