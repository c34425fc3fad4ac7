"""The style sheet, the scripts and the icon. A name holds a digest of what it names, so it may be kept for ever."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

KINDS: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FOR_EVER: Final = "public, max-age=31536000, immutable"


class Asset(NamedTuple):
    """A file as it is served."""

    path: str
    content: bytes
    packed: bytes
    kind: str


@cache
def known() -> dict[str, Asset]:
    """All of them, by their own names."""
    found: dict[str, Asset] = {}
    for file in files("holdfast.dashboard").joinpath("static").iterdir():
        stem, _, kind = file.name.rpartition(".")
        if kind in KINDS:
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()[:12]
            packed = gzip.compress(content, mtime=0)
            found[file.name] = Asset(f"/assets/{stem}.{digest}.{kind}", content, packed, KINDS[kind])
    return found


def asset(name: str) -> str:
    """Where this one is served.

    >>> asset("style.css")
    '/assets/style.5b1f0c4a9d27.css'
    """
    return known()[name].path


def assets() -> APIRouter:
    router = APIRouter()

    @router.get("/assets/{name}")
    async def read(request: Request, name: str) -> Response:
        for each in known().values():
            if each.path == f"/assets/{name}":
                headers = {"Cache-Control": FOR_EVER, "X-Content-Type-Options": "nosniff", "Vary": "Accept-Encoding"}
                if "gzip" not in request.headers.get("accept-encoding", ""):
                    return Response(each.content, media_type=each.kind, headers=headers)
                return Response(each.packed, media_type=each.kind, headers=headers | {"Content-Encoding": "gzip"})
        raise HTTPException(404)

    return router
