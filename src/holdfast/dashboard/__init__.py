"""The dashboard: what people look at when something is wrong, and what they show when nothing is.

    assets      the style sheet, the scripts and the icon, under names that change with their contents
    site        what every page needs: the database, the templates, the headers, errors as pages
    shapes      how values look: times, durations, JSON, statuses
    query       which runs a list shows, as its address says it
    timeline    when a run did what, to scale
    fields      the fields of a form, from a JSON schema
    sessions    who has logged in
    live        tells pages that something may have changed
    pages/      a module a page, templates/ beside it
    static/     one style sheet, a little JavaScript

Pages are made on the server from ``views`` and read well without JavaScript; scripts make them live. Nothing is loaded
from another host, nothing is written into a page that a browser would carry out: neither styles nor scripts.
"""

from __future__ import annotations

from fastapi import APIRouter

from holdfast.dashboard import live
from holdfast.dashboard.assets import assets
from holdfast.dashboard.pages import (
    alerts,
    bulk,
    deliveries,
    docs,
    errors,
    home,
    hosts,
    keys,
    login,
    queues,
    run,
    runs,
    schedules,
    tasks,
    test,
    tokens,
    workers,
)
from holdfast.dashboard.site import Site

__all__ = ["Site", "dashboard"]

# In this order: what ends in a path takes all that begins like it.
PAGES = (
    live,
    login,
    home,
    bulk,
    runs,
    run,
    errors,
    tokens,
    test,
    tasks,
    queues,
    schedules,
    workers,
    hosts,
    deliveries,
    keys,
    docs,
    alerts,
)


def dashboard(site: Site) -> list[APIRouter]:
    """All pages over the database of the site, for those who have one of its keys."""
    return [assets(), *(page.routes(site) for page in PAGES)]
