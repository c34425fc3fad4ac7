"""What every page needs: the database, the templates, headers that let a browser carry nothing out but ours, and errors
as pages.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined

from holdfast.api.auth import needs
from holdfast.api.refused import Refused
from holdfast.client import Client
from holdfast.dashboard import shapes
from holdfast.dashboard.assets import asset
from holdfast.errors import DatabaseError, HoldfastError, RunNotFound
from holdfast.storage import Tx

P = ParamSpec("P")
R = TypeVar("R")

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
READ: Final = [Depends(needs("read"))]
THEMES: Final = ("light", "dark")
FORM_LIMIT: Final = 12 * 1024 * 1024
log = logging.getLogger("holdfast")


class Site:
    """The pages' common ground."""

    def __init__(self, client: Callable[[], Client], version: str) -> None:
        self.client, self.version = client, version
        self.templates = Environment(
            loader=PackageLoader("holdfast.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.templates.filters.update(shapes.FILTERS)
        self.templates.globals.update(asset=asset, version=version, statuses=shapes.STATUS_WORDS, **shapes.GLOBALS)

    async def read(self, f: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What a view answers."""
        return await self.client().aread(f, *args, **kwargs)

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page from its template. ``here`` is the entry of the menu that it belongs to."""
        theme = request.cookies.get("holdfast_theme")
        text = self.templates.get_template(template).render(
            {"here": "", **values, "request": request, "theme": theme if theme in THEMES else None}
        )
        return HTMLResponse(text, status_code=status, headers=HEADERS)

    def router(self) -> APIRouter:
        """A router whose errors are pages."""
        site = self

        class Shown(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def shown(request: Request) -> Response:
                    try:
                        return await handle(request)
                    except HoldfastError as error:
                        return site.trouble(request, error)
                    except Refused as refused:
                        return site.refused(request, refused)

                return shown

        return APIRouter(route_class=Shown)

    def trouble(self, request: Request, error: HoldfastError) -> Response:
        """An error as people read it: what is wrong, the value seen, what to do."""
        if isinstance(error, DatabaseError):
            log.warning("%s could not be shown: %s", request.url.path, error)
            status, title = 503, "The database does not answer"
        else:
            status, title = (404, "Not here") if isinstance(error, RunNotFound) else (422, "That cannot be done")
        return self.page(request, "trouble.html", status=status, title=title, error=error)

    def refused(self, request: Request, refused: Refused) -> Response:
        """Who calls may not do this, or is not known."""
        title = "Who are you?" if refused.status == 401 else "That is refused"
        error = HoldfastError(refused.message)
        answer = self.page(request, "trouble.html", status=refused.status, title=title, error=error)
        answer.headers.update(refused.headers)
        return answer


async def form(request: Request) -> Mapping[str, str]:
    """The fields of a form that was sent; of several with one name the last."""
    return dict(parse_qsl((await body(request)).decode("utf-8", "replace"), keep_blank_values=True))


async def body(request: Request) -> bytes:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > FORM_LIMIT:
            raise HoldfastError("The form is too large", seen=f"over {FORM_LIMIT:,} bytes", do="Send less.")
    return read


def back(path: str) -> RedirectResponse:
    """To this page, after a form."""
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
