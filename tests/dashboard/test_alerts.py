"""Alerts: how they stand, without what makes their addresses secrets, and a message to try them."""

from __future__ import annotations

from pathlib import Path

from holdfast import Holdfast, alerts
from tests.dashboard.conftest import Served, post


async def test_an_alert_is_shown_and_tried(tmp_path: Path, served: Served) -> None:
    home = Holdfast(database=f"sqlite:///{tmp_path}/holdfast.db")
    home.alert("ops", alerts.Failures(), to=alerts.Webhook("https://hooks.example/T00/secret"))
    async with home.running(), served(home) as http:
        page = (await http.get("/alerts")).text
        app = page.partition('name="app" value="')[2].partition('"')[0]
        done = await post(http, "/alerts", "/alerts/test", {"app": app, "name": "ops"})
        there = (await http.get(done.headers["location"])).text
        missing = await post(http, "/alerts", "/alerts/test", {"app": app, "name": "nothing"})
    sent = home.runs.list()
    await home.aclose()
    assert "hooks.example/…" in page
    assert "secret" not in page
    assert "runs that fail" in page
    assert (done.status_code, missing.status_code) == (303, 404)
    assert len(sent) == 1
    assert f"/runs/{sent[0].id}" in there, "what has become of the test is on the page"
    assert "every 5m at most" in page
