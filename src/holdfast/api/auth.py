"""Who calls, and what a route needs of them.

Every route says what it needs, as a dependency that also gives it the `Caller`:

    Depends(needs("read"))                      whatever there is to see
    Depends(needs("read", run="run_id"))        the run that the path names by ``run_id``
    Depends(needs("read", batch="batch_id"))    the batch that the path names
    Depends(needs("trigger", task="task_id"))   make runs of the task that the path names
    Depends(needs("write", run="run_id"))       change that run; ``token=`` completes a token
    Depends(needs("admin"))                     change anything else
    Depends(needs("trigger", the_task="http"))  make runs of this task
    Depends(needs(None))                        any key at all
    Depends(needs("trigger", anyhow=True))      whoever may trigger something; the route asks for each
    Depends(needs("trigger", …, spends=False))  a part of a trigger: a token for one use is used by another part of it

A route that declares nothing is refused, unless its path is in `OPEN`.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec
from fastapi import Request
from fastapi.routing import APIRoute

from holdfast.api.public import bare
from holdfast.api.refused import Refused
from holdfast.client import Client
from holdfast.engine import keys, read
from holdfast.records import RunRecord
from holdfast.scopes import ADMIN, Action, Kind, Right, allows

# Paths of routes that ask nothing of who calls, each with its reason.
OPEN: Final = {
    "/healthz": "whoever looks whether it is up",
    "/readyz": "whoever looks whether it is up",
    "/openapi.json": "what can be called is no secret",
    "/assets/{name}": "the dashboard's style sheet, scripts and icon",
    "/login": "whoever has a key shows it here",
    "/logout": "it ends what a login has begun",
    "/webhooks/{path:path}": "what comes in is verified by its sender's signature",
    "/api/v1/packets/{packet_id}/{signature}": "the URL is signed by this server, and good for an hour",
    "/api/v1/timezones": "it says nothing of this server",
    "/api/v1/waitpoints/tokens/{token_id}/callback/{secret}": "the URL of a token has a secret of its own",
}
SLACK_MS: Final = 3_600_000  # a clock elsewhere may be behind


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as the audit log writes it, and what they may do. ``key_id`` is None where no stored key was used.

    Of a public token: ``once`` names it if it is for one use, it ends at ``ends_at`` (seconds since the epoch), and
    its bearer is not shown what is ``hidden``.
    """

    name: str
    key_id: str | None
    rights: frozenset[Right]
    once: str | None = None
    ends_at: int | None = None
    hidden: frozenset[str] = frozenset()

    def may(self, action: Action, kind: Kind | None = None, id: str | None = None) -> bool:
        """Whether they may do this: on everything, on all of a kind, or on one thing of that kind."""
        return allows(self.rights, action, kind, id)

    def check(self, action: Action, kind: Kind | None = None, id: str | None = None) -> None:
        """Raises Refused (403): they may not."""
        if not self.may(action, kind, id):
            raise forbidden(action, kind, id)

    def sees(self, run: RunRecord) -> bool:
        """Whether they may read this run: as itself, of its task, with one of its tags, or in its batch."""
        named: list[tuple[Kind, str | None]] = [("run", run.id), ("task", run.task), ("batch", run.batch_id)]
        tags: list[str] = msgspec.json.decode(run.tags or "[]")
        named.extend(("tag", tag) for tag in tags)
        return any(self.may("read", kind, its) for kind, its in named if its is not None)


THIS_MACHINE: Final = Caller("this machine", None, frozenset((ADMIN,)))


def forbidden(action: Action, kind: Kind | None = None, id: str | None = None) -> Refused:
    of = "" if kind is None else f" for this {kind}" if id is None else f" for the {kind} {id}"
    return Refused(403, f"This key does not have the scope {action}{of}")


def caller_of(request: Request) -> Caller:
    """Who calls. Raises Refused (401): nobody that is known."""
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise Refused(401, request.state.stranger, headers={"WWW-Authenticate": 'Basic realm="Holdfast"'})
    return caller


async def public_token(request: Request, scopes: list[str], seconds: float = 3600) -> str:
    """A public token with these scopes for who calls, as an answer brings it; it counts as long as their key does.

    >>> headers = {"x-trigger-jwt": await public_token(request, [f"read:runs:{run_id}"])}
    """
    token: str = await request.app.state.keys.public_token(caller_of(request), scopes, time.time() + seconds)
    return token


async def spend(caller: Caller, once: str, request: Request) -> None:
    """Use a token that is for one use. Its call may be sent again, by a client that has not heard the answer."""
    client: Callable[[], Client] = request.app.state.client
    call = request.headers.get("x-trigger-request-idempotency-key")
    lasting_ms = max(0, (caller.ends_at or 0) * 1000 - client().now()) + SLACK_MS
    if not await client().awrite(keys.spend, once, call, lasting_ms):
        raise Refused(422, "This token was for one use, and has been used")


class Place(NamedTuple):
    """What thing a route is about: the one that this parameter of its path names, or always the one with this id."""

    kind: Kind
    param: str
    id: str | None = None

    def of(self, request: Request) -> str:
        return bare(self.kind, request.path_params[self.param]) if self.id is None else self.id


class Needs:
    """What a route needs of who calls: a dependency that answers the `Caller`, or raises Refused (401 or 403)."""

    def __init__(self, action: Action | None, place: Place | None, *, anyhow: bool, spends: bool) -> None:
        self.action: Action | None = action
        self.place, self.anyhow, self.spends = place, anyhow, spends

    async def __call__(self, request: Request) -> Caller:
        caller = caller_of(request)
        if self.action is None:
            return caller
        if self.place is None:
            met = caller.may(self.action) or (self.anyhow and self.somehow(caller))
        else:
            met = await self.met(caller, request, self.action, self.place)
        if not met:
            raise forbidden(self.action)
        if caller.once is not None and self.spends and self.action in ("trigger", "write"):
            await spend(caller, caller.once, request)
        return caller

    async def met(self, caller: Caller, request: Request, action: Action, place: Place) -> bool:
        kind, thing = place.kind, place.of(request)
        if caller.may(action, kind, thing):
            return True
        if (action, kind) != ("read", "run") or not self.somehow(caller):
            return False
        client: Callable[[], Client] = request.app.state.client
        found = await client().aread(read.run, thing)
        return found is not None and caller.sees(found)

    def somehow(self, caller: Caller) -> bool:
        return any(right.action in (self.action, "admin") for right in caller.rights)

    def __repr__(self) -> str:
        place = "" if self.place is None else f", {self.place.kind}={self.place.param or self.place.id!r}"
        return f"needs({self.action!r}{place}{', anyhow=True' if self.anyhow else ''})"


Change = tuple[str, str]  # the verb and its subject, as the audit log has them


def changed(request: Request, verb: str, subject: str) -> None:
    """Say in words, for the audit log, what this call changes; else it is noted as method and path if it needs
    ``write`` or ``admin``, and not at all if it triggers.

    >>> changed(request, "queues pause", name)
    """
    request.state.change = (verb, subject)


def unchanged(request: Request) -> None:
    """Say that this call changes nothing, though it looks as if it did."""
    request.state.change = None


def needs(
    action: Action | None,
    *,
    run: str | None = None,
    task: str | None = None,
    batch: str | None = None,
    token: str | None = None,
    the_task: str | None = None,
    anyhow: bool = False,
    spends: bool = True,
) -> Needs:
    """What a route needs; ``run=`` and its like name the parameter of the path that holds the id. ``the_task`` is a
    task's id itself. With ``anyhow`` whoever may do so with something is let in, and the route asks the rest. What
    ``spends`` no token for one use is a part of something that another call does.

    >>> @router.get("/api/v1/runs/{run_id}", dependencies=[Depends(needs("read", run="run_id"))])
    """
    places: list[tuple[Kind, str | None]] = [("run", run), ("task", task), ("batch", batch), ("token", token)]
    said = [Place(kind, param) for kind, param in places if param is not None]
    said += [Place("task", "", the_task)] if the_task is not None else []
    if len(said) > 1 or (said and anyhow):
        raise TypeError(f"needs({action!r}) names more than one thing: {said}")
    return Needs(action, said[0] if said else None, anyhow=anyhow, spends=spends)


def need_of(route: object) -> Needs | None:
    """What a route has declared; None if nothing."""
    if not isinstance(route, APIRoute):
        return None
    return next((each.call for each in route.dependant.dependencies if isinstance(each.call, Needs)), None)


async def refuse_undeclared(request: Request) -> None:
    """Of the whole application: a route that has not said what it needs is refused."""
    route = request.scope.get("route")
    if need_of(route) is None and getattr(route, "path", None) not in OPEN:
        caller_of(request)
        raise Refused(403, "Nobody may call this: its route does not say what it needs")


def given_key(header: str) -> str | None:
    """The key that an ``Authorization`` brings: as a Bearer token, or as the user name of HTTP Basic."""
    kind, _, rest = header.partition(" ")
    if kind.lower() == "bearer":
        return rest.strip() or None
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")[0] or None
    except (binascii.Error, ValueError):
        return None


def from_elsewhere(request: Request) -> bool:
    """Whether a page from another place makes this call, as browsers say of each. That a link was followed to here is
    no call of that page's: it learns nothing from it."""
    if request.method in ("GET", "HEAD") and request.headers.get("sec-fetch-mode") == "navigate":
        return request.headers.get("sec-fetch-dest", "document") != "document"
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return True
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
