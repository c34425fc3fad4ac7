"""A run of many branches in processes that are killed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast import Holdfast
from tests.support import jobs, ledger
from tests.support.host import Host, kill, reached

Hosts = Callable[..., Host]
MORE = 3  # steps that end in a life


@pytest.mark.parametrize(
    ("branches", "kills"), [(12, 2), pytest.param(50, 20, marks=[pytest.mark.slow, pytest.mark.timeout(600)])]
)
def test_each_branch_gets_its_own_results(app: Holdfast, host: Hosts, folder: Path, branches: int, kills: int) -> None:
    """However often its process is killed, with other timing in each life. What was recorded is not done again: of each
    step there is a line more at most for each kill that met it."""
    running = host(processes=1).ready()
    handle = jobs.fan.trigger(branches)
    for number in range(kills):
        before = len(ledger.lines(folder, "fan"))
        reached(lambda before=before: len(ledger.lines(folder, "fan")) >= before + MORE)  # type: ignore[misc]
        kill(running.ready_children()[0], signal.SIGKILL)
        running.ready(number + 2)
    results = handle.result(timeout=120)
    lines = {words[2]: words for words in ledger.lines(folder, "fan")}
    assert len(results) == branches
    for k, (first, second) in enumerate(results):
        assert lines[first][1] == f"{k}-first"
        assert lines[second][1:] == [f"{k}-second", second, first]
    last = {words[1]: words[2] for words in ledger.lines(folder, "fan")}
    assert last == {
        f"{k}-{name}": each
        for k, pair in enumerate(results)
        for name, each in zip(("first", "second"), pair, strict=True)
    }
    assert running.said().count("was killed by SIGKILL") == kills
    assert running.stop() == 0
