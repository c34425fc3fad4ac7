"""Worker processes take runs with machines as far as they fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from holdfast import Holdfast, views
from holdfast.sizes import MIB
from tests.support import jobs, ledger
from tests.support.host import Host, reached

Hosts = Callable[..., Host]


def test_a_worker_holds_what_fits_and_takes_the_rest_when_there_is_room(
    app: Holdfast, host: Hosts, folder: Path
) -> None:
    """Beside them it carries out runs without a machine, as ever. Broken by claiming with all that there is, and not
    with what is left: all five ran at once."""
    hired = host(processes=1, room=[2000, 8192 * MIB]).ready()
    batch = jobs.sized.batch_trigger(range(5))
    reached(lambda: len(ledger.lines(folder, "began")) == 2)
    assert jobs.leaf.batch_trigger(range(20)).results(timeout=30).outputs() == list(range(20))
    assert len(ledger.lines(folder, "began")) == 2
    (seen,) = app.client.read(views.workers)
    assert (seen.cpu_millis_used, seen.memory_bytes_used, seen.held) == (2000, 2048 * MIB, 2)
    ledger.open_gate(folder)
    assert batch.results(timeout=60).outputs() == list(range(5))
    assert hired.stop() == 0
