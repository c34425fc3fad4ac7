"""What stands before every route: who calls, how often, and what becomes of an error that nobody foresaw.

With ``HOLDFAST_API_KEY`` a call brings that key. Without a key only programs on this machine are served: a page that a
browser has open may not call its visitor's own machine, under whatever name, nor may what a proxy passes on.

It is plain ASGI, so that a stream is passed on piece by piece, and a client that goes away is seen at once.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from typing import Final
from urllib.parse import urlsplit

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdfast.api import auth
from holdfast.api.auth import THIS_MACHINE, Caller
from holdfast.api.limit import Limit, Verdict
from holdfast.api.refused import Refused
from holdfast.api.tokens import loggable

LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))
PASSED_ON: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
NO_KEY: Final = "This server has no API key, so it serves loopback only: set HOLDFAST_API_KEY"
WRONG_KEY: Final = "The API key is missing or wrong"
log = logging.getLogger("holdfast")


class Gate:
    """An ASGI application before another one."""

    def __init__(self, app: ASGIApp, *, key: str | None, limit: Limit | None) -> None:
        self.app, self.key, self.limit = app, key, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request, begun = Request(scope), False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self.let_in(request)
            await self.app(scope, receive, watched)
        except Refused as refused:
            await refused.answer(request)(scope, receive, send)
        except Exception:
            log.exception("%s %s could not be answered", request.method, loggable(request))
            if not begun:
                problem = Refused(500, "Holdfast could not answer this: its log says why")
                await problem.answer(request)(scope, receive, send)

    def let_in(self, request: Request) -> None:
        """Find out who calls, and count the call. Raises Refused."""
        state = request.scope.setdefault("state", {})
        if request.url.path in ("/healthz", "/readyz"):
            state["stranger"] = WRONG_KEY
            return
        state["caller"], state["stranger"] = self.identify(request)
        if self.limit is not None:
            verdict = self.limit.count(time.monotonic())
            if not verdict.allowed:
                raise too_many(self.limit, verdict)

    def identify(self, request: Request) -> tuple[Caller | None, str]:
        """Who calls; if nobody that is known, what to tell them."""
        given = auth.given_key(request.headers.get("authorization", ""))
        if self.key is not None:
            if given is not None and auth.same(given, self.key):
                return Caller("HOLDFAST_API_KEY", None, THIS_MACHINE.rights), ""
            return None, WRONG_KEY
        return (THIS_MACHINE, "") if from_this_machine(request) else (None, NO_KEY)


def from_this_machine(request: Request) -> bool:
    """Whether a program here calls under a name of this machine. Raises Refused: it is a page, or another name.

    A page from elsewhere could read everything under a name that it has made point here; of what comes through a
    proxy nobody knows where it comes from.
    """
    client = request.client.host if request.client is not None else ""
    if not is_loopback(client) or any(name in request.headers for name in PASSED_ON):
        return False
    if brings_own_secret(request) and (hostname(request) not in LOOPBACK or auth.from_elsewhere(request)):
        return False
    if hostname(request) not in LOOPBACK:
        raise Refused(421, f"This server answers to {', '.join(sorted(LOOPBACK))} only")
    if auth.from_elsewhere(request):
        raise Refused(403, "Pages from elsewhere are not answered")
    return True


def brings_own_secret(request: Request) -> bool:
    """Whether a call may come under any name: a token's URL and a webhook are verified by what they bring."""
    return request.url.path.startswith(("/api/v1/waitpoints/tokens/", "/webhooks/"))


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


def too_many(limit: Limit, verdict: Verdict) -> Refused:
    headers = {
        "Retry-After": str(verdict.reset),
        "X-RateLimit-Limit": str(limit.rate.starts),
        "X-RateLimit-Remaining": str(verdict.remaining),
        "X-RateLimit-Reset": str(verdict.reset),
    }
    return Refused(429, f"There are more than {limit.rate.starts} calls in {limit.window:g} s", headers=headers)
