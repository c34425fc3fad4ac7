"""Hosts that requests are sent to: how they answered lately, and which of them are down."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from holdfast.engine import pushes
from holdfast.request import host_of
from holdfast.storage import Tx

LATEST: Final = 1_000  # requests looked at
SUCCESS: Final = range(200, 300)


class HostView(msgspec.Struct, kw_only=True, frozen=True):
    """A host: of the latest requests to any host those that went there. ``failed`` had no answer or another than 2xx;
    durations are from the beginning of a request to the end of its answer. ``down_since`` is set while its circuit is
    open: nothing is sent to it but a try at ``try_at``."""

    host: str
    requests: int
    failed: int
    p50_us: int | None
    p95_us: int | None
    last_at: int | None
    last_status: int | None
    last_error: str | None
    down_since: int | None = None
    try_at: int | None = None
    reason: str | None = None
    failures: int = 0


class Sent(msgspec.Struct):
    """What is read of the record of a request."""

    url: str = ""
    error: str | None = None


class Seen(msgspec.Struct):
    """A request that was sent to a host."""

    at: int
    status: int | None
    total_us: int
    error: str | None

    @property
    def failed(self) -> bool:
        return self.status is None or self.status not in SUCCESS


def http_hosts(tx: Tx) -> list[HostView]:
    """The hosts of the latest thousand requests, and those that are down: these first, then by what fails."""
    seen: dict[str, list[Seen]] = {}
    for at, status, total_us, record in tx.rows("latest_invocations", n=LATEST):
        sent = msgspec.json.decode(record, type=Sent)
        seen.setdefault(host_of(sent.url), []).append(Seen(at, status, total_us, sent.error))
    circuits = {row.host: row for row in pushes.circuits(tx)}
    found = [view(host, seen.get(host, []), circuits.get(host)) for host in seen.keys() | circuits.keys()]
    return sorted(found, key=lambda one: (one.down_since is None, -one.failed, -one.requests, one.host))


def view(host: str, seen: list[Seen], circuit: pushes.CircuitRow | None) -> HostView:
    last = max(seen, key=lambda one: one.at, default=None)
    return HostView(
        host=host,
        requests=len(seen),
        failed=sum(one.failed for one in seen),
        p50_us=quantile((one.total_us for one in seen), 0.5),
        p95_us=quantile((one.total_us for one in seen), 0.95),
        last_at=last.at if last else None,
        last_status=last.status if last else None,
        last_error=last.error if last else None,
        down_since=circuit.since_at if circuit else None,
        try_at=circuit.until_at if circuit else None,
        reason=circuit.reason if circuit else None,
        failures=circuit.failures if circuit else 0,
    )


def quantile(values: Iterable[int], part: float) -> int | None:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else None
