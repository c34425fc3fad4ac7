"""Streams of processes that die: what was read stays true, and what comes after it is told apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast import Chunk, Holdfast
from tests.support import jobs, ledger
from tests.support.host import Host, kill, reached

Hosts = Callable[..., Host]


def test_a_reader_goes_on_where_a_process_was_killed(app: Holdfast, host: Hosts, folder: Path) -> None:
    """It has read what the killed one wrote, and reads the same again from its heir, marked as a new beginning."""
    running = host(processes=1).ready()
    killed = running.children()[0]
    handle = jobs.speaks.trigger(3)
    seen: list[Chunk[Any]] = []
    reader = threading.Thread(target=read, args=(handle, seen), daemon=True)
    reader.start()
    reached(lambda: len(seen) == 3)
    kill(killed, signal.SIGKILL)
    reached(lambda: len(seen) == 6)
    ledger.open_gate(folder)
    heir = handle.result(timeout=60)
    reader.join(60)
    assert heir != killed
    assert [chunk.value for chunk in seen] == [
        *(f"{number} of {killed}" for number in range(3)),
        *(f"{number} of {heir}" for number in range(3)),
        "the end",
    ]
    assert [chunk.offset for chunk in seen] == list(range(7))
    assert [chunk.first for chunk in seen] == [True, False, False, True, False, False, False]
    assert {chunk.attempt for chunk in seen} == {1}  # a crash uses up no attempt
    assert [chunk.value for chunk in handle.stream("words", start=5)] == [f"2 of {heir}", "the end"]


def read(handle: Any, seen: list[Chunk[Any]]) -> None:
    for chunk in handle.stream("words"):
        seen.append(chunk)  # noqa: PERF402 - one by one, as they come
