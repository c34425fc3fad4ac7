"""Tokens, which this API calls waitpoint tokens: ``/api/v1/waitpoints/tokens``.

The URL that an answer brings completes the token for whoever has it, without a key: see ``api/tokens.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec
from holdfast.api.auth import changed, needs, public_token
from holdfast.api.refused import called
from holdfast.api.v1 import listing, packets, shown, wire
from holdfast.api.v1.documents import Parameter, answered, documented, said
from holdfast.api.v1.listing import PAGING, Pagination, Paging, refused, several
from holdfast.api.v1.packets import JSON
from holdfast.api.v1.repeats import Repeats
from holdfast.api.v1.trigger import SLACK_BYTES, request_name, tags_of
from holdfast.client import Client
from holdfast.engine import tokens as engine
from holdfast.engine.tokens import Search, TokenRecord, settled
from holdfast.ids import new_id, new_secret
from holdfast.names import checked_key
from holdfast.options import checked_tags
from holdfast.records import NewToken
from holdfast.sizes import check_size, size_of
from holdfast.storage import Tx
from holdfast.tokens import fitting

Status = Literal["WAITING", "COMPLETED", "TIMED_OUT"]
THEIRS: Final[dict[str, Status]] = {"open": "WAITING", "completed": "COMPLETED", "expired": "TIMED_OUT"}
OURS: Final[dict[str, str]] = {theirs: ours for ours, theirs in THEIRS.items()}
TIMED_OUT: Final = {"code": "TRIGGER_WAITPOINT_TIMEOUT", "message": "The token was not completed in time"}
DAY_SECONDS: Final = 86_400
CHUNK, FAR = 200, 10_000
QUERY: Final = (
    *PAGING,
    Parameter("filter[status]", "Statuses"),
    Parameter("filter[tags]", "Tags, all of which it has"),
    Parameter("filter[idempotencyKey]", "Its idempotency key"),
    Parameter("filter[createdAt][from]", "Made then or later", listing.INSTANT),
    Parameter("filter[createdAt][to]", "Made then or earlier", listing.INSTANT),
    Parameter("filter[createdAt][period]", "Made within this time, such as 7d"),
)


class Create(msgspec.Struct, kw_only=True, rename="camel"):
    """A token to be made. An idempotency key gives the earlier one for as long as that is kept."""

    idempotency_key: str | None = None
    idempotency_key_ttl: str | None = msgspec.field(name="idempotencyKeyTTL", default=None)
    timeout: str | None = None
    tags: str | list[str] | None = None


class Created(msgspec.Struct, kw_only=True, rename="camel"):
    """The token; one that was there already, with this idempotency key, is cached."""

    id: str
    is_cached: bool
    url: str


class Complete(msgspec.Struct):
    """What the token is completed with, null if nothing is said."""

    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Done(msgspec.Struct):
    """That it is completed, by this call or an earlier one."""

    success: bool


class Listed(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    """A token as it stands in a list."""

    id: str
    url: str
    status: Status
    tags: list[str]
    created_at: str
    timeout_at: str | None = None
    completed_at: str | None = None
    idempotency_key: str | None = None


class Token(Listed, kw_only=True, rename="camel", omit_defaults=True):
    """A token in full. Its output is an encoded text; of one that timed out it is the error."""

    output: str | None = None
    output_type: str | None = None
    output_is_error: bool | None = None


class TokenPage(msgspec.Struct):
    """A page of tokens, the newest first."""

    data: list[Listed]
    pagination: Pagination


_create: Final = msgspec.json.Decoder(Create)
_complete: Final = msgspec.json.Decoder(Complete)
PLACE: Final = "/api/v1/waitpoints/tokens"


def tokens(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router, repeats = APIRouter(), Repeats[tuple[TokenRecord, bool]]()

    @router.post(PLACE, **documented("Make a token", needs=needs("admin"), body=Create, answer=Created))
    async def create(request: Request) -> Response:
        verbs = client()
        new = new_token(await said(request, _create, SLACK_BYTES), verbs.now())
        record, fresh = await repeats.once(request_name(request), lambda: verbs.awrite(engine.create, new))
        token_id = wire.told("waitpoint", record.id)
        changed(request, "tokens create", record.id)
        jwt = await public_token(request, [f"write:waitpoints:{token_id}"], seconds=DAY_SECONDS)
        answer = Created(id=token_id, is_cached=not fresh, url=url_of(record, verbs, request))
        return answered(answer, headers={"x-trigger-jwt": jwt})

    @router.get(
        PLACE,
        **documented("Tokens, the newest first", needs=needs("read"), answer=TokenPage, query=QUERY, refusals=[400]),
    )
    async def list_(request: Request) -> Response:
        verbs = client()
        wanted = wanted_in(listing.said_in(request))
        found, pages = listing.ends(await verbs.aread(page, wanted), wanted.paging, "waitpoint")
        return answered(TokenPage([listed(each, url_of(each, verbs, request)) for each in found], pages))

    @router.get(
        f"{PLACE}/{{id}}",
        **documented("A token", needs=needs("read", token="id"), answer=Token, refusals=[404]),
    )
    async def retrieve(request: Request, id: str) -> Response:
        verbs = client()
        record = await found(verbs, id)
        return answered(full(record, url_of(record, verbs, request)))

    @router.post(
        f"{PLACE}/{{id}}/complete",
        **documented("Complete a token", needs=needs("write", token="id"), body=Complete, answer=Done, refusals=[404]),
    )
    async def complete(request: Request, id: str) -> Response:
        verbs = client()
        asked = await said(request, _complete, verbs.payload_limit + SLACK_BYTES)
        record = await found(verbs, id)
        text = codec.encode(packets.json_of(asked.data))
        check_size(size_of(text), verbs.payload_limit, what="The value of the token", limit="payload_limit")
        if settled(record) is None:
            await verbs.awrite(engine.complete, record.id, fitting(text, record))
            changed(request, "tokens complete", record.id)
        return answered(Done(success=True))

    return router


# -- reading ----------------------------------------------------------------------------------------------------------


def new_token(asked: Create, now: int) -> NewToken:
    """Raises Refused, InvalidOption."""
    timeout_ms = None
    if asked.timeout is not None:
        delay_ms, at = wire.when(asked.timeout, "timeout")
        timeout_ms = delay_ms if at is None else max(1, at - now)
    tags = checked_tags(tags_of(asked.tags), "tags")
    return NewToken(
        id=new_id(),
        secret=new_secret(),
        timeout_ms=timeout_ms,
        tags=codec.encode(tags) if tags else None,
        idempotency_key=None
        if asked.idempotency_key is None
        else checked_key(asked.idempotency_key, option="idempotencyKey"),
    )


class Wanted(NamedTuple):
    """Which tokens are asked for."""

    search: Search
    states: frozenset[str]
    key: str | None
    since: int | None
    until: int | None
    period_ms: int | None
    paging: Paging

    def has(self, record: TokenRecord) -> bool:
        return (
            (not self.states or record.state in self.states)
            and self.key in (None, record.idempotency_key)
            and (self.since is None or record.created_at >= self.since)
            and (self.until is None or record.created_at <= self.until)
        )


def wanted_in(said: Mapping[str, str]) -> Wanted:
    """What a query asks for. Raises Refused (400)."""
    statuses = several(said, "status")
    if unknown := statuses - OURS.keys():
        raise refused("filter[status]", f"knows no {', '.join(sorted(unknown))}")
    states = frozenset(OURS[each] for each in statuses)
    period = said.get("filter[createdAt][period]")
    return Wanted(
        Search(next(iter(states)) if len(states) == 1 else None, tuple(sorted(several(said, "tags")))),
        states,
        said.get("filter[idempotencyKey]") or None,
        listing.instant(said, "from"),
        listing.instant(said, "to"),
        None if not period else listing.within(period),
        listing.paging(said, "waitpoint"),
    )


def page(tx: Tx, wanted: Wanted) -> list[TokenRecord]:
    """The page that is asked for, and one token more if there is one, in the direction in which it is looked for. What
    the database does not sift is sifted here."""
    if wanted.period_ms is not None:
        wanted = wanted._replace(since=max(tx.now() - wanted.period_ms, wanted.since or 0))
    found: list[TokenRecord] = []
    (_, before, after), seen = wanted.paging, 0
    while seen < FAR and len(found) <= wanted.paging.size:
        if after is not None:
            chunk = engine.page_after(tx, wanted.search, after, CHUNK)
        else:
            chunk = engine.page(tx, wanted.search, before=before, n=CHUNK)
        found += [record for record in chunk if wanted.has(record)]
        if len(chunk) < CHUNK:
            break
        seen, last = seen + len(chunk), chunk[-1].id
        before, after = (last, None) if after is None else (None, last)
    return found


async def found(client: Client, id: str) -> TokenRecord:
    """The token with this id. Raises Refused (404)."""
    record = await client.aread(engine.read, wire.bare("waitpoint", id))
    if record is None:
        raise wire.unknown("waitpoint")
    return record


# -- telling ----------------------------------------------------------------------------------------------------------


def url_of(record: TokenRecord, client: Client, request: Request) -> str:
    """Where a token is completed: at the public URL, or else where this call came in."""
    return client.token_url(record.id, record.secret or "", client.said_url() or called(request))


def common(record: TokenRecord, url: str) -> dict[str, Any]:
    return {
        "id": wire.told("waitpoint", record.id),
        "url": url,
        "status": THEIRS[record.state],
        "tags": [] if record.tags is None else codec.decode(record.tags),
        "created_at": wire.iso(record.created_at),
        "timeout_at": wire.maybe_iso(record.expires_at),
        "completed_at": wire.maybe_iso(record.expires_at if record.state == "expired" else record.completed_at),
        "idempotency_key": record.idempotency_key,
    }


def listed(record: TokenRecord, url: str) -> Listed:
    return Listed(**common(record, url))


def full(record: TokenRecord, url: str) -> Token:
    output = None
    if record.state == "expired":
        output = codec.encode(TIMED_OUT)
    elif record.state == "completed":
        output = shown.text(record.result or "null")
    return Token(
        **common(record, url),
        output=output,
        output_type=None if output is None else JSON,
        output_is_error=None if output is None else record.state == "expired",
    )
