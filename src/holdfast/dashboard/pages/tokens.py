"""Tokens: what runs wait for, as an inbox. Each is completed by a form that its schema draws."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, get_args

from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs, unchanged
from holdfast.dashboard.fields import fields, kept, said
from holdfast.dashboard.site import READ, Site, back
from holdfast.engine import tokens as engine
from holdfast.engine.tokens import Search, TokenRecord
from holdfast.errors import HoldfastError, InvalidOption, TokenUnknown, shown
from holdfast.storage import Tx
from holdfast.tokens import Tokens, TokenState, TokenStatus

LIMIT: Final = 50
LATE: Final = "What you wrote was not taken: the token was over before"
INSTEAD: Final = "What it was completed with stands below, if it was."
STATUSES: Final[tuple[TokenStatus, ...]] = get_args(TokenStatus)


class Asked(NamedTuple):
    """A token of the inbox: the name of its type, and the run that made it."""

    token: TokenRecord
    title: str | None
    run: views.Listed | None
    tags: list[str]


def routes(site: Site) -> APIRouter:
    router = site.router()

    def verbs() -> Tokens:
        return Tokens(site.client())

    @router.get("/tokens", dependencies=READ)
    async def tokens(request: Request) -> Response:
        asked = request.query_params.get("status", "open")
        status = next((each for each in STATUSES if each == asked), None)
        tag, cursor = request.query_params.get("tag") or None, request.query_params.get("cursor") or None
        found = await site.read(inbox, Search(status, (tag,) if tag else ()), cursor)
        return site.page(
            request,
            "tokens.html",
            here="tokens",
            tokens=found[:LIMIT],
            more=found[LIMIT - 1].token.id if len(found) > LIMIT else None,
            which=status or "all",
            tag=tag or "",
        )

    @router.get("/tokens/{token_id}", dependencies=READ)
    async def token(request: Request, token_id: str) -> Response:
        return await drawn(request, token_id)

    @router.post("/tokens/{token_id}", dependencies=[Depends(needs("write", token="token_id"))])
    async def complete(request: Request, token_id: str) -> Response:
        form = await site.form(request)
        record = await site.read(found, token_id)
        schema = schema_of(record)
        try:
            value = said(schema, form)
            if form.get("to"):
                return await drawn(request, token_id, value=value, as_json=form.get("to") == "json")
            if await verbs().acomplete(token_id, value) != "completed":
                unchanged(request)
                return await drawn(request, token_id, problem=InvalidOption(LATE, do=INSTEAD))
        except HoldfastError as error:
            return await drawn(request, token_id, value=kept(schema, form), as_json="json" in form, problem=error)
        changed(request, "tokens complete", token_id)
        return back(f"/tokens/{token_id}")

    async def drawn(
        request: Request,
        token_id: str,
        *,
        value: Any = ...,
        as_json: bool = False,
        problem: HoldfastError | None = None,
    ) -> Response:
        record = await site.read(found, token_id)
        made_by = await site.read(views.listed_runs, [record.run_id]) if record.run_id else []
        state: TokenState[Any] = await verbs().aretrieve(token_id)
        schema = schema_of(record)
        drawn = [] if schema is None else fields(schema) if value is ... else fields(schema, value)
        return site.page(
            request,
            "token.html",
            status=422 if problem else 200,
            here="tokens",
            token=state,
            run=made_by[0] if made_by else None,
            title=(schema or {}).get("title"),
            late=record.expires_at is not None and record.expires_at <= site.client().now(),
            fields=drawn,
            value=None if value is ... else value,
            as_json=as_json or not drawn,
            problem=problem,
        )

    return router


def inbox(tx: Tx, search: Search, before: str | None) -> list[Asked]:
    """The newest tokens that are meant, one more than a page shows."""
    records = engine.page(tx, search, before=before, n=LIMIT + 1)
    runs = views.listed_runs(tx, sorted({each.run_id for each in records if each.run_id is not None}))
    makers = {run.id: run for run in runs}
    return [
        Asked(each, (schema_of(each) or {}).get("title"), makers.get(each.run_id or ""), json.loads(each.tags or "[]"))
        for each in records
    ]


def found(tx: Tx, token_id: str) -> TokenRecord:
    record = engine.read(tx, token_id)
    if record is None:
        raise TokenUnknown("There is no such token, or no longer", seen=shown(token_id), do="Look among the tokens.")
    return record


def schema_of(record: TokenRecord) -> dict[str, Any] | None:
    return None if record.schema is None else json.loads(record.schema)
