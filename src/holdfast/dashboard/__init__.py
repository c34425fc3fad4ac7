"""The dashboard: what people look at when something is wrong, and what they show when nothing is.

    assets      the style sheet, the scripts and the icon, under names that change with their contents
    site        what every page needs: the database, the templates, the headers, errors as pages
    shapes      how values look: times, durations, JSON, statuses
    pages/      a module a page, templates/ beside it
    static/     one style sheet, a little JavaScript

Pages are made on the server from ``views`` and read well without JavaScript; scripts make them live. Nothing is loaded
from another host, nothing is written into a page that a browser would carry out: neither styles nor scripts.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from holdfast.client import Client
from holdfast.dashboard.assets import assets
from holdfast.dashboard.pages import errors, home, run, runs
from holdfast.dashboard.site import Site

__all__ = ["dashboard"]

PAGES = (home, runs, run, errors)


def dashboard(client: Callable[[], Client], version: str) -> APIRouter:
    """All pages over the database of ``client()``."""
    site = Site(client, version)
    router = APIRouter(include_in_schema=False)
    router.include_router(assets())
    for page in PAGES:
        router.include_router(page.routes(site))
    return router
