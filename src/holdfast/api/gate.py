"""What stands before every route: who calls, how often, and what becomes of an error that nobody foresaw.

Where there are keys a call brings one of them: ``HOLDFAST_API_KEY``, or a stored one. Without a key only programs on
this machine are served: a page that a browser has open may not call its visitor's own machine, under whatever name, nor
may what a proxy passes on.

It is plain ASGI, so that a stream is passed on piece by piece, and a client that goes away is seen at once.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast import tracing
from holdfast.api import auth
from holdfast.api.auth import THIS_MACHINE
from holdfast.api.body import Body
from holdfast.api.keyring import Keyring
from holdfast.api.limit import Limits, Verdict
from holdfast.api.refused import Refused, path_of
from holdfast.api.tokens import loggable
from holdfast.engine import audit
from holdfast.errors import DatabaseError, HoldfastError, IdempotencyBusy, TooLarge
from holdfast.sizes import MIB

LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
PASSED_ON: Final = ("forwarded", "x-forwarded-", "x-real-ip", "via", "cf-connecting-ip", "true-client-ip")
NO_KEY: Final = "This server has no API key, so it serves loopback only: set HOLDFAST_API_KEY"
UNCOUNTED: Final = ("/healthz", "/readyz")  # for whoever looks whether it is up
BAD: Final = 400
LARGEST_BATCH: Final = 20  # payloads of the largest size, in one body
WRONG_KEY: Final = "The API key is missing or wrong"
log = logging.getLogger("holdfast")


class Gate:
    """An ASGI application before another one."""

    def __init__(self, app: ASGIApp, *, keys: Keyring, limits: Limits | None, origins: frozenset[str]) -> None:
        self.app, self.keys, self.limits, self.origins = app, keys, limits, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith("//"):  # of a client whose base URL ends in a slash
            scope["path"] = f"/{scope['path'].lstrip('/')}"
        request, begun, headers = Request(scope), False, dict[str, str]()
        body = Body(request, receive)
        tracing.carried.set(tracing.read_trace(request.headers))  # what is triggered here is part of it

        async def watched(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                if more := headers | body.headers():
                    MutableHeaders(scope=message).update(more)
                if message["status"] < BAD:
                    await note_change(request)
            await send(message)

        try:
            await self.identify(request)
            headers |= self.count(request)
            body.limit(most_bytes(request, self.keys.client().payload_limit))
            await self.app(scope, body.receive, watched)
        except (Refused, HoldfastError) as error:
            await refusal(request, error).answer(request)(scope, receive, watched)
        except ClientDisconnect:
            log.debug("%s %s: the client has gone", request.method, loggable(request))
        except Exception:
            log.exception("%s %s could not be answered", request.method, loggable(request))
            if not begun:
                problem = Refused(500, "Holdfast could not answer this: its log says why")
                await problem.answer(request)(scope, receive, send)

    def count(self, request: Request) -> dict[str, str]:
        """Count a call; answers what to tell the caller of their limit. Raises Refused (429)."""
        if self.limits is None or path_of(request) in UNCOUNTED:
            return {}
        caller, client = request.state.caller, request.client
        who = f"from {client.host if client else ''}" if caller is None else caller.key_id or caller.name
        verdict = self.limits.count(who, time.monotonic())
        headers = limit_headers(request, self.limits.rate.starts, verdict)
        if not verdict.allowed:
            window = self.limits.rate.window_ms / 1000
            what = f"There are more than {self.limits.rate.starts} calls in {window:g} s"
            raise Refused(429, what, headers={**headers, "Retry-After": str(verdict.reset)})
        return headers

    async def identify(self, request: Request) -> None:
        """Find out who calls; if it is nobody that is known, what to tell them."""
        state = request.scope.setdefault("state", {})
        state["caller"], state["stranger"] = None, WRONG_KEY
        if path_of(request) in UNCOUNTED:
            return
        given = auth.given_key(request.headers.get("authorization", ""))
        if given is not None and (caller := await self.keys.caller(given)) is not None:
            state["caller"] = caller
        elif await self.keys.keyed():
            if given is None and not auth.from_elsewhere(request):
                state["caller"] = await self.keys.session(request)
        elif from_this_machine(request, self.origins):
            state["caller"] = THIS_MACHINE
        else:
            state["stranger"] = NO_KEY


def from_this_machine(request: Request, origins: frozenset[str]) -> bool:
    """Whether a program here calls under a name of this machine. Raises Refused: it is a page, or another name.

    A page from elsewhere could read everything under a name that it has made point here; of what comes through a
    proxy nobody knows where it comes from. Pages of these ``origins`` are the operator's own.
    """
    client = request.client.host if request.client is not None else ""
    if not is_loopback(client) or any(name.startswith(PASSED_ON) for name in request.headers):
        return False
    foreign = auth.from_elsewhere(request) and request.headers.get("origin") not in origins
    if brings_own_secret(request) and (hostname(request) not in LOOPBACK or foreign):
        return False
    if hostname(request) not in LOOPBACK:
        raise Refused(421, f"This server answers to {', '.join(sorted(LOOPBACK))} only")
    if foreign:
        raise Refused(403, "Pages from elsewhere are not answered")
    return True


def brings_own_secret(request: Request) -> bool:
    """Whether a call may come under any name: a token's URL and a webhook are verified by what they bring."""
    return path_of(request).startswith(("/api/v1/waitpoints/tokens/", "/webhooks/"))


def hostname(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def refusal(request: Request, error: Exception) -> Refused:
    """What to answer when this was raised."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, DatabaseError | IdempotencyBusy):
        log.warning("%s %s could not be answered: %s", request.method, loggable(request), error)
        return Refused(503, f"The database does not answer: {error.what}", headers={"Retry-After": "1"})
    return Refused(413 if isinstance(error, TooLarge) else 422, str(error))


def limit_headers(request: Request, most: int, verdict: Verdict) -> dict[str, str]:
    """When there is room again is said in seconds to clients of Mergent, and as a moment in milliseconds to those of
    Trigger.dev."""
    mergent = path_of(request).startswith("/v2")
    reset = verdict.reset if mergent else int((time.time() + verdict.reset) * 1000)
    return {
        "X-RateLimit-Limit": str(most),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(reset),
    }


def most_bytes(request: Request, payload_limit: int) -> int:
    """How large a body may be at all; a route may allow less. A stranger has nothing to say but to a URL that brings
    its own secret."""
    return payload_limit * (1 if request.state.caller is None else LARGEST_BATCH) + MIB


async def note_change(request: Request) -> None:
    """Write into the audit log what this call has changed: as its route says, or else as method and path. A run that is
    triggered is a record of its own."""
    route = request.scope.get("route")
    need = auth.need_of(route)
    if request.method in ("GET", "HEAD", "OPTIONS") or need is None:
        return
    caller, client = auth.caller_of(request), request.client
    unsaid = None
    if need.action in ("admin", "write"):
        unsaid = f"{request.method} {getattr(route, 'path', '')}", " ".join(request.path_params.values())
    change: auth.Change | None = getattr(request.state, "change", unsaid)
    if change is None:
        return
    verb, subject = change
    origin = client.host if client is not None else ""
    try:
        await request.app.state.client().awrite(audit.write, caller.name, verb, subject, origin, caller.key_id)
    except DatabaseError as error:  # what was asked for is done: an answer that says otherwise would be wrong
        log.error("%s by %s is not in the audit log: %s", verb, caller.name, error)
