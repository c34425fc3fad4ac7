"""What users and strangers have written is shown as text, wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from holdfast import Cron, Holdfast
from holdfast.engine import catalogue
from holdfast.records import TaskEntry
from tests.dashboard.conftest import Served

NAME = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}</pre></textarea>"
MARKUP = NAME + "\x00\u202e\x1b[31m"


async def test_markup_in_every_field_is_text_on_every_page(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    schema = {"type": "object", "title": NAME, "properties": {NAME: {"type": "string", "description": NAME}}}
    entry = TaskEntry(id=NAME, queue=NAME, options="{}", schema=json.dumps(schema), version=NAME)
    home.client.write(catalogue.announce, [entry], [])
    told = {"queue": NAME, "tags": [NAME], "concurrency_key": NAME, "idempotency_key": NAME, "metadata": {NAME: NAME}}
    run = home.trigger(NAME, {NAME: MARKUP}, **told)
    schedule = home.schedules.create(NAME, Cron("@daily"), {NAME: MARKUP}, external_id=NAME)
    token = home.tokens.create(tags=[NAME])
    home.runs.cancel(home.trigger(NAME, {NAME: MARKUP}, delay="1h").id)
    name = quote(NAME, safe="")
    pages = f"""
        / /runs /runs/{run.id} /runs/{run.id}/replay /runs?task={name}&tag={name}&version={name} /runs?status={name}
        /runs?q=stats:{name} /runs?since={name} /runs/nothing
        /tasks /tasks/{name} /tasks/{name}x /tasks/{name}/test /tasks/{name}/test?from={run.id}
        /queues /queues/{name} /queues/{name}x /errors /errors/nothing /tokens /tokens/{token.id} /tokens?tag={name}
        /schedules /schedules/{schedule.id} /schedules/{schedule.id}/edit /schedules/new?task={name}
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
    await home.aclose()
