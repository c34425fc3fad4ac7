"""``/metrics``: how everything stands, as Prometheus reads it.

Nothing is counted for it: what has ended comes from sums that upkeep keeps, and what stands in line is counted up to a
bound, so a scrape costs the same whatever there is of history. Any server gives the same numbers, for they are those of
the database; scrape one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastapi import APIRouter, Depends, Response

from holdfast import views
from holdfast.api.auth import needs
from holdfast.api.refused import Refused
from holdfast.client import Client
from holdfast.engine import pushes
from holdfast.engine.workers import ProcessUsage
from holdfast.storage import Tx
from holdfast.views import QueueView, WorkerView
from holdfast.views.hosts import pushers
from holdfast.views.scheduled import Scheduled, scheduled
from holdfast.views.stats import BUCKETS_MS, Total, totals

if TYPE_CHECKING:
    from prometheus_client.core import Metric

DOCUMENT: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "As asked", "content": {"text/plain": {"schema": {"type": "string"}}}},
    501: {"description": "This server has not what it takes: install holdfast[metrics]"},
}


class Facts(NamedTuple):
    """What is told, read in one transaction."""

    kind: str
    now: int
    queues: list[QueueView]
    workers: list[WorkerView]
    pushers: frozenset[str]
    totals: list[Total]
    scheduled: Scheduled
    hosts_down: int


def metrics(client: Callable[[], Client]) -> APIRouter:
    """The route over the database of ``client()``."""
    router = APIRouter()

    @router.get(
        "/metrics",
        summary="How everything stands, as Prometheus reads it",
        responses=DOCUMENT,
        dependencies=[Depends(needs("read"))],
    )
    async def tell() -> Response:
        try:
            from prometheus_client import CollectorRegistry, generate_latest
            from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
        except ImportError:
            raise Refused(501, "Metrics need prometheus-client: pip install 'holdfast[metrics]'") from None
        found = await client().aread(facts)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collected(found))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router


def facts(tx: Tx) -> Facts:
    """Read them."""
    down = len(pushes.circuits(tx, limit=1_000))
    hosts = views.workers(tx), pushers(tx)
    return Facts(tx.kind, tx.now(), views.queues(tx), *hosts, totals(tx), scheduled(tx), down)


class Collected:
    """The facts as families of metrics."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts

    def collect(self) -> Iterator[Metric]:
        """What a registry asks for."""
        from prometheus_client.core import GaugeMetricFamily

        info = GaugeMetricFamily("holdfast_info", "Which Holdfast this is.", labels=["version", "database"])
        info.add_metric([version("holdfast"), self.facts.kind], 1)
        yield info
        yield from self.of_queues()
        yield from self.of_runs()
        yield from self.of_workers()
        yield from self.of_schedules()
        down = GaugeMetricFamily("holdfast_push_hosts_down", "Hosts that requests are sent to and that do not answer.")
        down.add_metric([], self.facts.hosts_down)
        yield down

    def of_queues(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        depth = GaugeMetricFamily(
            "holdfast_queue_runs",
            f"Runs in a queue that have not ended; counted up to {views.COUNTED}.",
            labels=["queue", "status"],
        )
        oldest = GaugeMetricFamily(
            "holdfast_queue_oldest_seconds", "How long the oldest run that could start has waited.", labels=["queue"]
        )
        paused = GaugeMetricFamily("holdfast_queue_paused", "1: no run of it starts.", labels=["queue"])
        limit = GaugeMetricFamily("holdfast_queue_limit", "Runs of it that may execute at once.", labels=["queue"])
        for each in self.facts.queues:
            for status in ("queued", "pending_version", "executing", "delayed"):
                depth.add_metric([each.name, status], getattr(each, status))
            since = each.oldest_queued_at
            oldest.add_metric([each.name], 0 if since is None else max(0, self.facts.now - since) / 1000)
            paused.add_metric([each.name], each.paused_at is not None)
            if each.concurrency_limit is not None:
                limit.add_metric([each.name], each.concurrency_limit)
        yield from (depth, oldest, paused, limit)

    def of_runs(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        ended = CounterMetricFamily("holdfast_runs", "Runs that have ended, by how.", labels=["task", "status"])
        ran = HistogramMetricFamily(
            "holdfast_run_duration_seconds", "From the first start of a run to its end.", labels=["task", "status"]
        )
        waited = CounterMetricFamily(
            "holdfast_run_wait_seconds", "From when runs could have started until they did.", labels=["task"]
        )
        waits: dict[str, float] = {}
        for each in self.facts.totals:
            ended.add_metric([each.task, each.status], each.n)
            buckets = [(f"{bound / 1000:g}", n) for bound, n in zip(BUCKETS_MS, each.buckets, strict=True)]
            ran.add_metric([each.task, each.status], [*buckets, ("+Inf", each.n)], each.ran_ms / 1000)
            waits[each.task] = waits.get(each.task, 0) + each.waited_ms / 1000
        for task, seconds in waits.items():
            waited.add_metric([task], seconds)
        yield from (ended, ran, waited)

    def of_workers(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        names = ["kind", "state"]
        workers = GaugeMetricFamily("holdfast_workers", "Processes that carry runs out, by kind.", labels=names)
        slots = GaugeMetricFamily("holdfast_slots", "Runs that the live ones can carry out at once.", labels=["kind"])
        used = GaugeMetricFamily("holdfast_slots_used", "Runs that the live ones hold.", labels=["kind"])
        cpus = GaugeMetricFamily("holdfast_cpus_used", "CPUs that their processes keep busy.", labels=["kind"])
        memory = GaugeMetricFamily("holdfast_memory_bytes", "Memory that their processes use.", labels=["kind"])
        for kind in ("worker", "pusher"):
            mine = [each for each in self.facts.workers if (each.id in self.facts.pushers) == (kind == "pusher")]
            for state in ("live", "draining", "silent"):
                n = sum(("silent" if each.silent else each.state) == state for each in mine)
                workers.add_metric([kind, state], n)
            slots.add_metric([kind], sum(each.concurrency for each in mine if each.alive))
            used.add_metric([kind], sum(each.held for each in mine if each.alive))
            usage = [each.usage for each in mine if each.usage is not None]
            seen: list[ProcessUsage] = [*usage, *(run for each in usage for run in each.runs)]
            cpus.add_metric([kind], sum(each.cpu_millis or 0 for each in seen) / 1000)
            memory.add_metric([kind], sum(each.memory_bytes for each in seen))
        yield from (workers, slots, used, cpus, memory)

    def of_schedules(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        found = self.facts.scheduled
        active = GaugeMetricFamily("holdfast_schedules", "Schedules that fire.")
        active.add_metric([], found.active)
        lag = GaugeMetricFamily("holdfast_schedule_lag_seconds", "How late the schedule is that is the most overdue.")
        lag.add_metric([], 0 if found.due_at is None else max(0, self.facts.now - found.due_at) / 1000)
        yield from (active, lag)
