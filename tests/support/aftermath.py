"""An app whose hooks for the end of a run take their process down, for tests with processes."""

from __future__ import annotations

import os

from holdfast import Cancellation, Holdfast
from tests.support import ledger

app = Holdfast()


@app.task
async def work(n: int) -> int:
    return n


@work.on_cancel
def tell(event: Cancellation[int]) -> None:
    """Number 0 always dies of it, the others the first time."""
    before = len([line for line in ledger.lines(ledger.folder(), "called") if line[1] == str(event.payload)])
    ledger.note("called", event.payload, os.getpid())
    if event.payload == 0 or before == 0:
        os.kill(os.getpid(), 9)
    ledger.note("told", event.payload, os.getpid())
