"""Queues: what stands in them and since when, their limits, and what an operator may do about it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs
from holdfast.dashboard.shapes import segment
from holdfast.dashboard.site import READ, Form, Site, back
from holdfast.errors import InvalidOption, UnknownQueue, shown
from holdfast.queues import Queues
from holdfast.storage import Tx
from holdfast.views import QueueView
from holdfast.views.keys import KeyView, keys


def routes(site: Site) -> APIRouter:
    router = site.router()
    may = [Depends(needs("admin"))]

    def verbs() -> Queues:
        return Queues(site.client())

    @router.get("/queues", dependencies=READ)
    async def queues(request: Request) -> Response:
        found = await site.read(views.queues)
        return site.page(request, "queues.html", here="queues", queues=found, now=site.client().now())

    @router.get("/queues/{name:path}", dependencies=READ)
    async def queue(request: Request, name: str) -> Response:
        found, top, latest = await site.read(looked, name)
        return site.page(
            request, "queue.html", here="queues", queue=found, keys=top, runs=latest, now=site.client().now()
        )

    @router.post("/queues/{name:path}/pause", dependencies=may)
    async def pause(request: Request, name: str) -> Response:
        form = await site.form(request)
        await verbs().apause(name)
        changed(request, "queues pause", name)
        return back(form.get("back") or "/queues")

    @router.post("/queues/{name:path}/resume", dependencies=may)
    async def resume(request: Request, name: str) -> Response:
        form = await site.form(request)
        await verbs().aresume(name)
        changed(request, "queues resume", name)
        return back(form.get("back") or "/queues")

    @router.post("/queues/{name:path}/limit", dependencies=may)
    async def limit(request: Request, name: str) -> Response:
        form = await site.form(request)
        await verbs().alimit(
            name,
            count(form, "concurrency_limit"),
            concurrency_limit_per_key=count(form, "concurrency_limit_per_key"),
        )
        changed(request, "queues limit", name)
        return back(f"/queues/{segment(name)}")

    return router


def count(form: Form, name: str) -> int | None:
    """A limit as it was written; nothing gives the code its say back."""
    text = form.get(name)
    if not text:
        return None
    if not text.isdecimal() or not text.isascii():
        raise InvalidOption(
            f"{name} is not a whole number", seen=shown(text), do="Write one of at least 1, or nothing."
        )
    return int(text)


def looked(tx: Tx, name: str) -> tuple[QueueView, list[KeyView], list[views.Listed]]:
    found = next((each for each in views.queues(tx) if each.name == name), None)
    if found is None:
        raise UnknownQueue("There is no such queue", seen=shown(name), do="Look for it among the queues.")
    latest = views.page(tx, views.Filter(queues=frozenset([name])), limit=15).runs
    return found, keys(tx, found.id), latest
