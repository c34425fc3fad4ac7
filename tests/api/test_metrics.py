"""``/metrics``: what Prometheus reads."""

from __future__ import annotations

import sys

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from holdfast import Holdfast, Queue, Retry
from holdfast.api.app import application
from holdfast.engine import stats


async def scraped(app: Holdfast) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    transport = httpx.ASGITransport(app=application(lambda: app.client, key="k"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/metrics", headers={"authorization": "Bearer k"})
        assert (await http.get("/metrics")).status_code == 401
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_how_everything_stands(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "LATE_MS", 3_600_000)  # the host's own upkeep is to count nothing yet
    app = Holdfast(database_url)

    @app.task(queue=Queue("work", concurrency_limit=3))
    def work(name: str) -> str:
        return name

    @app.task(retry=Retry(max_attempts=1))
    def fail() -> None:
        raise ValueError('"quoted"\n')

    async with app.running():
        await work.trigger("ada").aresult()
        handle = fail.trigger()
        async for run in handle.aupdates():
            last = run
        assert last.status == "failed"
        busy = await scraped(app)
    monkeypatch.setattr(stats, "LATE_MS", -1)
    while await app.client.awrite(stats.sum_up):
        pass
    work.trigger("bob", delay="1h")
    app.trigger("nobody", queue='q"\\')
    found = await scraped(app)
    await app.aclose()

    def value(name: str, **labels: str) -> float:
        return found[name, frozenset(labels.items())]

    assert value("holdfast_runs_total", task="work", status="completed") == 1
    assert value("holdfast_runs_total", task="fail", status="failed") == 1
    assert value("holdfast_run_duration_seconds_bucket", task="work", status="completed", le="3600") == 1
    assert value("holdfast_run_duration_seconds_count", task="work", status="completed") == 1
    assert value("holdfast_queue_runs", queue="work", status="delayed") == 1
    assert value("holdfast_queue_runs", queue='q"\\', status="pending_version") == 1
    assert value("holdfast_queue_oldest_seconds", queue='q"\\') >= 0
    assert value("holdfast_queue_limit", queue="work") == 3
    assert value("holdfast_schedule_lag_seconds") == 0
    assert busy["holdfast_workers", frozenset({("state", "live"), ("kind", "worker")})] >= 1
    assert busy["holdfast_slots", frozenset({("kind", "worker")})] == 32


async def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    app = Holdfast(":memory:")
    transport = httpx.ASGITransport(app=application(lambda: app.client, key="k"))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        answer = await http.get("/metrics", headers={"authorization": "Bearer k"})
    assert (answer.status_code, "holdfast[metrics]" in answer.text) == (501, True)
    await app.aclose()
