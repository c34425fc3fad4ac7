"""Medians, and the table: each peer beside Holdfast on the same kind of store."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.machine import LOUD_CORES
from benchmarks.measure import Figures, quantile
from benchmarks.peers import Peer


@dataclass
class Kept:
    """All repetitions of one peer that were kept."""

    peer: Peer
    drain: list[Figures] = field(default_factory=list)
    singles: list[Figures] = field(default_factory=list)
    idle: list[Figures] = field(default_factory=list)
    skipped: str | None = None


def calm(figures: list[Figures]) -> list[Figures]:
    """Without the loud ones, if at least two quieter ones exist."""
    quiet = [one for one in figures if one.foreign <= LOUD_CORES]
    return quiet if len(quiet) >= 2 else figures


@dataclass
class Row:
    """What the table says of a peer; rates in jobs a second, latencies in milliseconds."""

    peer: str
    settings: str
    drain: float | None = None
    drain_span: tuple[float, float] | None = None
    worker_cores: float | None = None
    server_cores: float | None = None
    one: float | None = None
    bulk: float | None = None
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    foreign: float = 0.0  # cores, in the loudest run that was kept
    times_ours: float | None = None  # Holdfast's drain, in terms of this one's
    skipped: str | None = None


def row(kept: Kept) -> Row:
    found = Row(kept.peer.name, kept.peer.drain.words, skipped=kept.skipped)
    if drains := calm(kept.drain):
        rates = [one.rate for one in drains]
        found.drain, found.drain_span = median(rates), (min(rates), max(rates))
        found.worker_cores = median(one.worker_cores for one in drains)
        found.server_cores = median(one.server_cores for one in drains)
        if kept.peer.bulk:
            found.bulk = median(one.bulk_rate for one in drains)
    if singles := calm(kept.singles):
        found.one = median(one.rate for one in singles)
    if idles := calm(kept.idle):
        found.p50, found.p95, found.p99 = (
            1000 * median(quantile(one.latencies, part) for one in idles) for part in (0.5, 0.95, 0.99)
        )
    used = [*calm(kept.drain), *calm(kept.singles), *calm(kept.idle)]
    found.foreign = max((one.foreign for one in used), default=0.0)
    return found


def rows(all_kept: list[Kept]) -> list[Row]:
    """The table's rows, the fastest first, with the ratios."""
    found = {kept.peer.name: row(kept) for kept in all_kept}
    for kept in all_kept:
        ours = found.get("holdfast-sqlite" if kept.peer.store == "sqlite" else "holdfast-postgres")
        theirs = found[kept.peer.name]
        if ours and ours.drain and theirs.drain and not kept.peer.ours:
            theirs.times_ours = ours.drain / theirs.drain
    return sorted(found.values(), key=lambda one: -(one.drain or 0))


HEAD = (
    "peer",
    "drain, jobs/s",
    "(min-max)",
    "Holdfast is",
    "cores: workers + server",
    "one at a time",
    "bulk",
    "idle p50, ms",
    "p95",
    "p99",
    "foreign",
)


def table(found: list[Row]) -> str:
    """Plain columns, which are Markdown, too."""
    lines = [HEAD, *(cells(one) for one in found if not one.skipped)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    text = [drawn(line, widths) for line in lines]
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    text += ["", *(f"{one.peer}: {one.settings}" for one in found if not one.skipped)]
    text += [f"{one.peer}: skipped, {one.skipped}" for one in found if one.skipped]
    return "\n".join(text)


def drawn(line: tuple[str, ...], widths: list[int]) -> str:
    cells = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return f"| {' | '.join(cells)} |"


def cells(one: Row) -> tuple[str, ...]:
    span = one.drain_span
    return (
        one.peer,
        count(one.drain),
        f"{count(span[0])}-{count(span[1])}" if span else "",
        f"{one.times_ours:.1f} x" if one.times_ours else "",
        f"{one.worker_cores:.2f} + {one.server_cores:.2f}" if one.worker_cores is not None else "",
        count(one.one),
        count(one.bulk),
        *(f"{value:.2f}" if value is not None else "" for value in (one.p50, one.p95, one.p99)),
        f"{one.foreign:.2f}",
    )


def count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def as_json(found: list[Row], facts: dict[str, str]) -> dict[str, Any]:
    return {"machine": facts, "rows": [asdict(one) for one in found]}
