"""What users and strangers have written is shown as text, wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from markupsafe import escape
from pydantic import ConfigDict, Field, create_model

from holdfast import Cron, Holdfast, Queue
from holdfast.engine import alerts, audit, catalogue, errors, keys, pushes, webhooks
from holdfast.ids import new_api_key, new_id
from holdfast.records import AlertEntry, Rejected, TaskEntry
from tests.dashboard.conftest import Served
from tests.engine.making import Hand

NAME = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}</pre></textarea>"
MARKUP = NAME + "\x00\u202e\x1b[31m"


TELLING = ("/tokens", "/hosts", "/alerts", "/webhook-deliveries", "/keys", "/audit", "/queues", "/schedules")


async def test_markup_in_every_field_is_text_on_every_page(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    schema = {"type": "object", "title": NAME, "properties": {NAME: {"type": "string", "description": NAME}}}
    entry = TaskEntry(id=NAME, queue=NAME, options="{}", schema=json.dumps(schema), version=NAME)
    home.client.write(catalogue.announce, [entry], [])
    told = {"queue": NAME, "tags": [NAME], "concurrency_key": NAME, "idempotency_key": NAME, "metadata": {NAME: NAME}}
    run = home.trigger(NAME, {NAME: MARKUP}, **told)
    schedule = home.schedules.create(NAME, Cron("@daily"), {NAME: MARKUP}, external_id=NAME)
    titled = create_model("Titled", __config__=ConfigDict(title=NAME), field=(str, Field(title=NAME, description=NAME)))
    token = home.tokens.create(titled, tags=[NAME])
    strangers(home)
    home.runs.cancel(home.trigger(NAME, {NAME: MARKUP}, delay="1h").id)
    name = quote(NAME, safe="")
    pages = f"""
        / /runs /runs/{run.id} /runs/{run.id}/replay /runs?task={name}&tag={name}&version={name} /runs?status={name}
        /runs?q=stats:{name} /runs?since={name} /runs/nothing
        /tasks /tasks/{name} /tasks/{name}x /tasks/{name}/test /tasks/{name}/test?from={run.id}
        /queues /queues/{name} /queues/{name}x /errors /errors/nothing /tokens /tokens/{token.id} /tokens?tag={name}
        /schedules /schedules/{schedule.id} /schedules/{schedule.id}/edit /schedules/new?task={name}
        /queues/{name}-in-line /hosts /webhook-deliveries /keys /audit
        /alerts /schedules/preview?rule={name}&timezone={name}
    """
    async with served(home) as http:
        for path in pages.split():
            answer = await http.get(path)
            assert answer.status_code in (200, 404, 422), f"{path}: {answer.text}"
            assert answer.headers["content-type"].startswith("text/html"), path
            assert "<script>alert" not in answer.text, path
            assert "<img" not in answer.text, path
            assert "script-src 'self'" in answer.headers["content-security-policy"], path
            if path in TELLING or "in-line" in path:
                assert str(escape(NAME)) in answer.text, f"{path} says nothing of it"
    await home.aclose()


def strangers(home: Holdfast) -> None:
    """What others have written: a host that is down, an alert that holds, a refused request, a key, what stands in line
    under a concurrency key, a change."""
    write = home.client.write
    write(pushes.open_circuit, NAME, 10, NAME, 60_000, "w")
    body = {"conditions": [], "channels": [], "gather_ms": 0, "every_ms": 0}
    write(alerts.declare, NAME, [AlertEntry(name=NAME, body=json.dumps(body))])
    standing = {"problems": {"x": {"text": NAME, "since": 1}}}
    write(alerts.settle, [alerts.Standing(app=NAME, name=NAME, state=json.dumps(standing), next_at=2**52)])
    refused = Rejected(
        id=new_id(), path=f"/{NAME}", reason=NAME, source=NAME, headers=json.dumps({NAME: NAME}), body=NAME, size=1
    )
    write(webhooks.reject, [refused])
    write(keys.create, new_api_key(), NAME, ["read"], None)
    write(keys.revoke, home.client.read(keys.listed)[0].id)
    write(audit.write, NAME, NAME, NAME, NAME)
    home.trigger(NAME, queue=Queue(f"{NAME}-in-line", concurrency_limit=1), concurrency_key=NAME)


async def test_text_that_no_utf8_holds_is_spelled_out_on_every_page_and_by_the_api(
    tmp_path: Path, served: Served
) -> None:
    """Half of a pair of surrogates, as JSON may say it: one such error kept the first page from being shown."""
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    home.client.write(catalogue.announce, [TaskEntry(id="greet", queue="task/greet", options="{}")], [])
    run = home.trigger("greet", {"\ud800": "\ud800"}, metadata={"\ud800": "\ud800"})
    hand = Hand(home.client.store, "greet")
    (claimed,) = hand.claim()
    error = {"type": "Odd\ud800", "message": "half \ud800", "traceback": "at \ud800\0"}
    hand.end(claimed, status="failed", error=json.dumps(error))
    home.client.write(errors.group)
    pages = f"""
        / /runs /runs/{run.id} /runs/{run.id}/replay /errors /tasks/greet /tasks/greet/test?from={run.id}
        /api/v1/runs /api/v3/runs/run_{run.id} /api/v1/runs/run_{run.id}/events /api/v1/runs/run_{run.id}/trace
        /realtime/v1/runs/run_{run.id}?offset=-1
    """
    async with served(home) as http:
        for path in pages.split():
            answer = await http.get(path)
            assert answer.status_code == 200, f"{path}: {answer.text}"
        assert "half \\ud800" in (await http.get("/runs")).text
        assert (await http.get(f"/api/v3/runs/run_{run.id}")).json()["error"]["message"] == "half \\ud800"
    await home.aclose()
