"""What was asked, and the order of the runs: every peer once, then every peer again: a slow minute hits them all.

A measurement starts when the machine is quiet, or after a bounded wait. One that others disturbed is taken again, up to
three times, and the quietest is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from benchmarks.machine import LOUD_CORES, facts, wait_for_quiet
from benchmarks.measure import Bench, Failed, Figures
from benchmarks.peers import PEERS, Peer, chosen
from benchmarks.places import CannotRun, Places
from benchmarks.report import Kept
from benchmarks.stores import Postgres, Redis, SQLite, Store

TRIES = 3
IDLE_JOBS = 200
MEASURES = ("drain", "singles", "idle")


def main() -> int:
    asked = arguments()
    places = Places(asked.folder)
    found = [Kept(peer) for peer in chosen(asked.peers)]
    with contextlib.ExitStack() as stack:
        benches = opened(found, places, asked.postgres, stack)
        machine = facts() | versions(benches)
        for repetition in range(1, asked.times + 1):
            for kept in found:
                if kept.peer.name in benches and kept.skipped is None:
                    print(f"{repetition}/{asked.times} {kept.peer.name}", file=sys.stderr)
                    measure(kept, benches[kept.peer.name], asked)
    rows = report.rows(found)
    print(json.dumps(report.as_json(rows, machine), indent=2) if asked.json else report.table(rows))
    if not asked.json:
        print(", ".join(f"{name} {value}" for name, value in machine.items()))
    return 0 if any(row.drain or row.one or row.p50 for row in rows) else 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--peers", nargs="*", metavar="NAME", help=f"by default all: {', '.join(peer.name for peer in PEERS)}"
    )
    parser.add_argument("--measures", nargs="*", choices=MEASURES, default=MEASURES, help="by default all of them")
    parser.add_argument("--times", type=int, default=3, help="repetitions (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the usual number of jobs (1)")
    parser.add_argument(
        "--patience", type=float, default=25.0, help="seconds to wait for a quiet machine, at most (25)"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path(".benchmarks"), help="what is installed and stored (.benchmarks)"
    )
    parser.add_argument("--postgres", type=Path, metavar="BIN", help="the folder with another PostgreSQL's programs")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args()


def opened(found: list[Kept], places: Places, binaries: Path | None, stack: contextlib.ExitStack) -> dict[str, Bench]:
    """The peers that can run here, each with its store; the others are noted with the reason."""
    makers: dict[str, Callable[[], Store]] = {
        "redis": lambda: Redis(places),
        "postgres": lambda: Postgres(places, binaries),
        "sqlite": lambda: SQLite(places),
    }
    stores: dict[str, Store | CannotRun] = {}
    benches = {}
    for kept in found:
        peer = kept.peer
        try:
            ready(peer, places)
            if peer.store not in stores:
                stores[peer.store] = attempt(makers[peer.store], stack)
            store = stores[peer.store]
            if isinstance(store, CannotRun):
                raise store
            benches[peer.name] = Bench(peer, store, places)
        except CannotRun as reason:
            kept.skipped = str(reason)
    return benches


def attempt(make: Callable[[], Store], stack: contextlib.ExitStack) -> Store | CannotRun:
    try:
        return stack.enter_context(make())
    except CannotRun as reason:
        return reason


def ready(peer: Peer, places: Places) -> None:
    """Install what the peer needs."""
    peer.interpreter(places)
    peer.variables(places)


def versions(benches: dict[str, Bench]) -> dict[str, str]:
    return {bench.store.name: bench.store.version() for bench in benches.values()}


def measure(kept: Kept, bench: Bench, asked: argparse.Namespace) -> None:
    """One repetition of one peer. What fails is told, and the peer is left out from then on."""
    jobs, singles = max(10, int(kept.peer.jobs * asked.scale)), max(10, int(kept.peer.singles * asked.scale))
    todo: dict[str, tuple[list[Figures], Callable[[], Figures]]] = {
        "drain": (kept.drain, lambda: bench.drain(jobs)),
        "singles": (kept.singles, lambda: bench.singles(singles)),
        "idle": (kept.idle, lambda: bench.idle(max(10, int(IDLE_JOBS * min(1.0, asked.scale))))),
    }
    try:
        for name in asked.measures:
            figures, take = todo[name]
            figures.append(quietest(take, asked.patience))
            print(f"    {name}: {told(figures[-1])}", file=sys.stderr)
    except Failed as reason:
        kept.skipped = str(reason)
        print(f"    {reason}", file=sys.stderr)


def quietest(take: Callable[[], Figures], patience: float) -> Figures:
    tries: list[Figures] = []
    for _ in range(TRIES if patience else 1):
        wait_for_quiet(patience)
        tries.append(take())
        if tries[-1].foreign <= LOUD_CORES:
            break
    return min(tries, key=lambda one: one.foreign)


def told(figures: Figures) -> str:
    said = (
        f"p50 {1000 * sorted(figures.latencies)[len(figures.latencies) // 2]:.2f} ms"
        if figures.latencies
        else f"{figures.rate:,.0f}/s"
    )
    return f"{said}, foreign {figures.foreign:.2f} cores"


if __name__ == "__main__":
    sys.exit(main())
