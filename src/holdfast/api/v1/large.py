"""Large payloads: the client brings one of 128 KiB or more to a URL that it asks for, and triggers with its name.

PUT /api/v2/packets/{name}              a URL to bring it to, and the name that the trigger has to say
PUT /api/v1/packets/{id}/{signature}    the payload itself, without a key: the URL is signed, and good for an hour
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast.api.auth import needs
from holdfast.api.refused import Refused, called
from holdfast.api.v1.documents import answered, body_of, documented
from holdfast.api.v1.packets import JSON
from holdfast.client import Client
from holdfast.engine import packets as engine
from holdfast.ids import made_at, new_id
from holdfast.names import not_text

OPEN_MS: Final = 3_600_000
PLACE: Final = "/api/v1/packets/{packet_id}/{signature}"


class Place(msgspec.Struct, rename="camel"):
    """Where to bring the payload, and its name."""

    presigned_url: str
    storage_path: str


class Brought(msgspec.Struct):
    """That it is kept."""

    success: bool


def large(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()

    @router.put(
        "/api/v2/packets/{name:path}",
        **documented("A URL for a large payload", needs=needs("trigger", anyhow=True, spends=False), answer=Place),
    )
    async def place(request: Request, name: str) -> Response:
        packet_id = new_id()
        signature = await signed(request, packet_id)
        url = f"{base_of(request, client())}{PLACE.format(packet_id=packet_id, signature=signature)}"
        return answered(Place(url, f"packets/{packet_id}"))

    told = documented("Bring a large payload", answer=Brought, refusals=[404, 413, 422])
    told["openapi_extra"]["requestBody"] = {"content": {JSON: {"schema": {}}}}

    @router.put(PLACE, **told)
    async def bring(request: Request, packet_id: str, signature: str) -> Response:
        verbs = client()
        late = verbs.now() - made_at(packet_id) > OPEN_MS
        if late or not hmac.compare_digest((await signed(request, packet_id)).encode(), signature.encode()):
            raise Refused(404, "This URL was not made here, or its time is over")
        body = await body_of(request, verbs.payload_limit * 2)
        kind = request.headers.get("content-type", JSON).partition(";")[0].strip()
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise Refused(422, "The payload is not UTF-8") from None
        if not_text(text) or not_text(kind):
            raise Refused(422, "The payload has a character that is not kept")
        await verbs.awrite(engine.put, packet_id, kind, text)
        return answered(Brought(success=True))

    return router


def base_of(request: Request, client: Client) -> str:
    """Where whoever calls finds this API: where they called it. If that is the public URL, as that says: a proxy may
    have taken the TLS off."""
    public = client.said_url()
    return public if public is not None and urlsplit(public).netloc == request.url.netloc else called(request)


async def signed(request: Request, packet_id: str) -> str:
    secret: str = await request.app.state.keys.issuer()
    return hmac.new(secret.encode(), f"packet {packet_id}".encode(), "sha256").hexdigest()


async def fetched(client: Client, path: str) -> tuple[str, str]:
    """The kind and the text of the payload with this name. Raises Refused (422)."""
    name = path.removeprefix("packets/")
    found = None if not_text(name) else await client.aread(engine.read, name)
    if found is None:
        raise Refused(422, "There is no payload with this name, or no longer", "payload")
    return found
