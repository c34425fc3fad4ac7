"""What every page needs: the database, the templates, headers that let a browser carry nothing out but ours, errors as
pages, and forms that only our own pages send.

A form carries what is in a cookie that other sites can neither read nor have sent (SameSite=Strict); the gate looks
besides at where a call comes from.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import ClientDisconnect

from holdfast.api.auth import needs
from holdfast.api.keyring import Keyring
from holdfast.api.refused import Refused
from holdfast.client import Client
from holdfast.dashboard import shapes
from holdfast.dashboard.assets import asset
from holdfast.dashboard.sessions import COOKIE, Sessions
from holdfast.errors import (
    DatabaseError,
    HoldfastError,
    RunNotFound,
    TokenUnknown,
    UnknownQueue,
    UnknownSchedule,
    UnknownTask,
)
from holdfast.storage import Store, Tx

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
OURS: Final = re.compile(r'\b(href|action|src|data-root)="/')
THEMES: Final = ("light", "dark")
FORM_COOKIE: Final = "holdfast_form"
FORM_LIMIT: Final = 12 * 1024 * 1024
MISSING: Final = (RunNotFound, TokenUnknown, UnknownQueue, UnknownSchedule, UnknownTask)
log = logging.getLogger("holdfast")


class Site:
    """The pages' common ground."""

    def __init__(self, client: Callable[[], Client], version: str, keys: Keyring) -> None:
        self.client, self.version, self.keys = client, version, keys
        self.sessions = Sessions(keys)
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

    async def opened(self) -> Store:
        """The database, opened if it was not."""
        return await asyncio.to_thread(lambda: self.client().store)

    def page(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page from its template. ``here`` is the entry of the menu that it belongs to."""
        theme = request.cookies.get("holdfast_theme")
        mark = request.cookies.get(FORM_COOKIE) or secrets.token_urlsafe(24)
        caller = getattr(request.state, "caller", None)
        text = self.templates.get_template(template).render(
            {
                "here": "",
                **values,
                "request": request,
                "theme": theme if theme in THEMES else None,
                "mark": Markup('<input type="hidden" name="mark" value="{}">').format(mark),
                "may": caller.may if caller is not None else nothing,
                "admin": caller is not None and caller.may("admin"),
                "caller": caller.name if caller is not None and COOKIE in request.cookies else None,
            }
        )
        page = placed(text, root_of(request)).encode("utf-8", "backslashreplace")  # a run may say what no UTF-8 holds
        answer = HTMLResponse(page, status_code=status, headers=HEADERS)
        if FORM_COOKIE not in request.cookies:
            secure = request.url.scheme == "https"
            answer.set_cookie(FORM_COOKIE, mark, httponly=True, samesite="strict", secure=secure)
        return answer

    async def form(self, request: Request) -> Form:
        """The form that was sent. Raises Refused: no page of ours has sent it."""
        found = Form(parse_qsl((await body(request)).decode("utf-8", "replace"), keep_blank_values=True))
        mark = request.cookies.get(FORM_COOKIE, "")
        if not mark or not hmac.compare_digest(found.get("mark").encode(), mark.encode()):
            raise Refused(400, "This form is out of date: load its page again")
        return found

    def router(self) -> APIRouter:
        """A router whose errors are pages."""
        site = self

        class Shown(APIRoute):
            def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
                handle = super().get_route_handler()

                async def shown(request: Request) -> Response:
                    try:
                        return moved(await handle(request), root_of(request))
                    except HoldfastError as error:
                        return site.trouble(request, error)
                    except Refused as refused:
                        return site.refused(request, refused)
                    except ClientDisconnect:  # nobody is left to show anything to
                        raise
                    except Exception:
                        log.exception("%s could not be shown", request.url.path)
                        what = "Holdfast could not show this: its log says why"
                        values = {"title": "That should not happen", "what": what, "seen": None, "do": None}
                        return site.page(request, "trouble.html", status=500, **values)

                return shown

        return APIRouter(route_class=Shown)

    def trouble(self, request: Request, error: HoldfastError) -> Response:
        """An error as people read it: what is wrong, the value seen, what to do."""
        if isinstance(error, DatabaseError):
            log.warning("%s could not be shown: %s", request.url.path, error)
            status, title = 503, "The database does not answer"
        else:
            status, title = (404, "Not here") if isinstance(error, MISSING) else (422, "That cannot be done")
        return self.page(
            request, "trouble.html", status=status, title=title, what=error.what, seen=error.seen, do=error.do
        )

    def nowhere(self, request: Request, refused: Refused) -> Response:
        """The answer to people who ask for a page that there is not."""
        if refused.status == 401:
            return self.refused(request, refused)
        seen, do = place(request), "The menu leads to all there are."
        what = "There is no such page"
        return self.page(request, "trouble.html", status=404, title="Not here", what=what, seen=seen, do=do)

    def refused(self, request: Request, refused: Refused) -> Response:
        """Who calls may not do this; or is not known, and may log in."""
        if refused.status == 401:
            problem = None if self.keys.key or self.keys.snapshot.any else refused.message
            return self.page(request, "login.html", status=401, to=place(request), problem=problem)
        title = "Not here" if refused.status == 404 else "That is refused"
        answer = self.page(
            request, "trouble.html", status=refused.status, title=title, what=refused.message, seen=None, do=None
        )
        answer.headers.update(refused.headers)
        return answer


def place(request: Request) -> str:
    """Where to go back to after a login."""
    path = str(request.scope["path"]).removeprefix(root_of(request))
    return f"{path}?{request.url.query}" if request.url.query else path


def nothing(*_: object) -> bool:
    """What a stranger may."""
    return False


def root_of(request: Request) -> str:
    """The path under which the application is mounted in another one; empty if it is not."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def placed(text: str, root: str) -> str:
    """A page as it stands below ``root``. No text of users looks like this: their quotation marks are escaped."""
    return OURS.sub(rf'\1="{escape(root)}/', text) if root else text


def moved(answer: Response, root: str) -> Response:
    """The same for where a form leads to."""
    if root and answer.headers.get("location", "").startswith("/"):
        answer.headers["location"] = root + answer.headers["location"]
    return answer


class Form:
    """The fields of a form."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self.pairs = pairs

    def get(self, name: str) -> str:
        """The last field with this name, without spaces around it; empty if there is none."""
        return next((value.strip() for each, value in reversed(self.pairs) if each == name), "")

    def raw(self, name: str) -> str:
        """The last field with this name as it was written, with the line ends of Unix."""
        return next((value for each, value in reversed(self.pairs) if each == name), "").replace("\r\n", "\n")

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.pairs if each == name]

    def __contains__(self, name: str) -> bool:
        return any(each == name for each, _ in self.pairs)


async def body(request: Request) -> bytes:
    read = b""
    async for chunk in request.stream():
        read += chunk
        if len(read) > FORM_LIMIT:
            raise HoldfastError("The form is too large", seen=f"over {FORM_LIMIT:,} bytes", do="Send less.")
    return read


def back(path: str) -> RedirectResponse:
    """To this page of ours, after a form."""
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        path = "/"
    return RedirectResponse(path, status_code=303, headers={"Cache-Control": "no-store"})
