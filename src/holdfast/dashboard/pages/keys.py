"""Keys of the HTTP API, made and revoked, and who changed what. Only who may everything sees them.

A key is on the page that answers the form which makes it, this once: it is kept nowhere.
"""

from __future__ import annotations

import re
from typing import Annotated, Final, NamedTuple

from fastapi import APIRouter, Depends, Query, Request, Response

from holdfast.api.auth import changed, needs, unchanged
from holdfast.dashboard.site import Form, Site, back
from holdfast.duration import to_ms
from holdfast.engine import audit as changes
from holdfast.engine import keys as engine
from holdfast.errors import HoldfastError, InvalidOption
from holdfast.ids import new_api_key
from holdfast.names import checked_name
from holdfast.scopes import checked_scopes

ADMIN: Final = [Depends(needs("admin"))]
PAGE: Final = 100
CURSOR: Final = re.compile(r"[0-9a-z]{26}")


class Wanted(NamedTuple):
    """A key as a form has it: ``scopes`` are those that were ticked, ``tasks`` those it may trigger."""

    name: str = ""
    scopes: tuple[str, ...] = ()
    tasks: str = ""
    expires: str = ""


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/keys", dependencies=ADMIN)
    async def keys(request: Request) -> Response:
        return await drawn(request, Wanted())

    @router.post("/keys", dependencies=ADMIN)
    async def create(request: Request) -> Response:
        wanted = wanted_in(await site.form(request))
        try:
            name, scopes, lasting_ms = checked(wanted, first=not await any_key())
        except HoldfastError as error:
            return await drawn(request, wanted, problem=error)
        key = new_api_key()
        made = await site.client().awrite(engine.create, key, name, scopes, lasting_ms)
        changed(request, "keys create", f"{made.id} {name}: {', '.join(scopes)}")
        return await drawn(request, Wanted(), made=(name, key))

    @router.post("/keys/{key_id}/revoke", dependencies=ADMIN)
    async def revoke(request: Request, key_id: str) -> Response:
        await site.form(request)
        if await site.client().awrite(engine.revoke, key_id) == "revoked":
            changed(request, "keys revoke", key_id)
        else:
            unchanged(request)
        return back("/keys")

    @router.get("/audit", dependencies=ADMIN)
    async def audit(request: Request, cursor: Annotated[str, Query()] = "") -> Response:
        before = cursor if CURSOR.fullmatch(cursor) else None
        found = await site.read(changes.page, before=before, n=PAGE + 1)
        following = found[PAGE - 1].id if len(found) > PAGE else None
        return site.page(request, "audit.html", here="audit", changes=found[:PAGE], following=following)

    async def drawn(
        request: Request,
        wanted: Wanted,
        *,
        made: tuple[str, str] | None = None,
        problem: HoldfastError | None = None,
    ) -> Response:
        found = await site.read(engine.listed)
        return site.page(
            request,
            "keys.html",
            status=422 if problem else 200,
            here="keys",
            keys=found,
            last=sum(each.state == "active" for each in found) == 1 and site.keys.key is None,
            opened=not await any_key(),
            wanted=wanted,
            made=made,
            problem=problem,
        )

    async def any_key() -> bool:
        """Whether a key is asked for at all."""
        return site.keys.key is not None or (await site.read(engine.known)).any

    return router


def wanted_in(form: Form) -> Wanted:
    return Wanted(form.get("name"), tuple(form.all("scope")), form.raw("tasks"), form.get("expires"))


def checked(wanted: Wanted, *, first: bool) -> tuple[str, list[str], int | None]:
    """The name, the scopes and how long it counts. Raises InvalidOption."""
    name = checked_name(wanted.name, option="The name of a key")
    tasks = [f"trigger:{line.strip()}" for line in wanted.tasks.splitlines() if line.strip()]
    scopes = checked_scopes([*wanted.scopes, *tasks])
    if first and "admin" not in scopes:
        raise InvalidOption(
            "The first key has to be one that may do everything",
            do="Once there is a key, everybody needs one, on these pages too: make one with admin, and others with it.",
        )
    return name, scopes, to_ms(wanted.expires, name="Counts for") if wanted.expires else None
