"""Alerts: what they look at, where they tell of it, and what holds at present; and a message to try them."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from fastapi import APIRouter, Depends, Request, Response

from holdfast import alerting, views
from holdfast.alerting import Condition
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.dashboard.site import READ, Site, back
from holdfast.duration import format_ms
from holdfast.engine import alerts as engine
from holdfast.engine.alerts import AlertRow
from holdfast.storage import Tx

GONE: Final = "There is no such alert, or its app declares it no longer"
MOST: Final = 20  # messages of a test that are shown


class Alert(NamedTuple):
    """An alert as the page shows it; ``holds`` are the problems there are, ``sent_at`` when it told of one last."""

    name: str
    app: str
    conditions: list[str]
    channels: list[str]
    gather_ms: int
    every_ms: int
    holds: list[str]
    sent_at: int | None


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/alerts", dependencies=READ)
    async def alerts(request: Request) -> Response:
        found, sent = await site.read(looked, request.query_params.getlist("sent")[:MOST])
        return site.page(request, "alerts.html", here="alerts", alerts=found, sent=sent)

    @router.post("/alerts/test", dependencies=[Depends(needs("admin"))])
    async def test(request: Request) -> Response:
        form = await site.form(request)
        row = await site.read(declared, form.get("app"), form.get("name"))
        if row is None:
            raise Refused(404, GONE)
        client = site.client()
        messages = alerting.test_runs(row, client.now())
        await client.awrite(alerting.send, messages)
        changed(request, "alerts test", row.name)
        return back(f"/alerts?{urlencode([('sent', each.id) for each in messages])}")

    return router


def looked(tx: Tx, sent: list[str]) -> tuple[list[Alert], list[views.Listed]]:
    """All alerts, and what has become of these messages."""
    return [alert(row) for row in engine.alerts(tx)], views.listed_runs(tx, sent)


def declared(tx: Tx, app: str, name: str) -> AlertRow | None:
    return next((row for row in engine.alerts(tx) if (row.app, row.name) == (app, name)), None)


def alert(row: AlertRow) -> Alert:
    body, state = alerting.body_of(row), alerting.state_of(row)
    return Alert(
        row.name,
        row.app,
        [worded(each) for each in body.conditions],
        [where(each.url) for each in body.channels],
        body.gather_ms,
        body.every_ms,
        [each.text for each in state.problems.values()],
        state.sent_at,
    )


def worded(condition: Condition) -> str:
    """What a condition looks at, in words."""
    name, after = condition.name, format_ms(condition.after_ms)
    match condition.kind:
        case "failures":
            return f"runs of {name} that fail" if name else "runs that fail"
        case "backlog":
            return f"runs in {name or 'any queue'} that wait over {after}"
        case "no_worker":
            return f"{name or 'tasks'} without a worker for {after}"
        case "missed_schedule":
            return f"schedules{f' of {name}' if name else ''} that are {after} late"
    return condition.kind


def where(url: str) -> str:
    """Where a message goes, without what makes the URL a secret."""
    said = urlsplit(url)
    return url if said.scheme == "mailto" else f"{said.scheme}://{said.hostname}/…"
