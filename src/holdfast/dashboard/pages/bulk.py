"""Cancel or replay many runs at once: first how many they are, and of what kind; then, if that is meant, do it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from holdfast import views
from holdfast.api.auth import changed, needs, unchanged
from holdfast.bulk import OPEN, UNDONE, Change, Survey, asurvey
from holdfast.dashboard.query import Query
from holdfast.dashboard.site import Form, Site
from holdfast.errors import InvalidOption
from holdfast.model import FINAL
from holdfast.storage import Tx
from holdfast.views import Filter, Listed

MOST: Final = 10_000  # at one time; what is left is asked for again


class Meant(NamedTuple):
    """The runs that are meant, and how many of them there are of each task and status."""

    ids: list[str]
    counts: list[tuple[str, str, int]]
    more: bool


def routes(site: Site) -> APIRouter:
    router = site.router()
    may = [Depends(needs("admin"))]

    @router.post("/runs/bulk", dependencies=may)
    async def count(request: Request) -> Response:
        form = await site.form(request)
        verb, query = verb_of(form), query_of(form)
        meant = await find(form, verb, query)
        unchanged(request)
        return shown(request, form, verb, meant, None)

    @router.post("/runs/bulk/do", dependencies=may)
    async def do(request: Request) -> Response:
        form = await site.form(request)
        verb, query = verb_of(form), query_of(form)
        meant = await find(form, verb, query)
        done = await Change(meant.ids, replay=verb == "replay").amake(site.client())
        changed(request, f"runs {verb}", f"{done.done} runs")
        return shown(request, form, verb, meant, done)

    def shown(request: Request, form: Form, verb: str, meant: Meant, done: Any) -> Response:
        query = query_of(form)
        answer = site.page(
            request,
            "bulk.html",
            here="runs",
            verb=verb,
            query=query,
            ids=form.all("id") if form.get("all") != "1" else [],
            everything=form.get("all") == "1",
            meant=meant,
            most=MOST,
            done=done,
        )
        answer.headers["Cache-Control"] = "private, no-cache"  # who goes back to it is not asked to send it again
        return answer

    async def find(form: Form, verb: str, query: Query) -> Meant:
        if form.get("all") != "1":
            listed = await site.read(chosen, form.all("id"))
            return of(listed, verb)
        wanted = query.filter(site.client().now())
        usual = OPEN if verb == "cancel" else UNDONE
        statuses = (wanted.statuses & (OPEN if verb == "cancel" else FINAL)) if wanted.statuses else usual
        if not statuses:
            return Meant([], [], False)
        survey = await asurvey(site.client(), Survey(narrowed(wanted, statuses), MOST))
        counts = [(task, status, n) for (task, status), n in survey.counts.most_common()]
        return Meant(survey.ids, counts, survey.cursor is not None)

    return router


def narrowed(wanted: Filter, statuses: frozenset[str]) -> Filter:
    return msgspec.structs.replace(wanted, statuses=statuses)


def chosen(tx: Tx, ids: list[str]) -> list[Listed]:
    return views.listed_runs(tx, ids[:MOST])


def of(listed: list[Listed], verb: str) -> Meant:
    """Those of the chosen ones with which it can be done."""
    fit = [run for run in listed if (run.status in FINAL) == (verb == "replay")]
    counts = Counter((run.task, run.status) for run in fit)
    return Meant([run.id for run in fit], [(task, status, n) for (task, status), n in counts.most_common()], False)


def verb_of(form: Form) -> str:
    verb = form.get("verb")
    if verb not in ("cancel", "replay"):
        raise InvalidOption("There is no such verb", seen=verb, do="There are cancel and replay.")
    return verb


def query_of(form: Form) -> Query:
    return Query.of((name.removeprefix("q."), value) for name, value in form.pairs if name.startswith("q."))
