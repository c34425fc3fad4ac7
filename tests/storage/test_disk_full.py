"""The disk is full: triggers are refused with a clear error, nothing acknowledged is lost, and work goes on in time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import storage
from holdfast.engine import trigger
from holdfast.errors import DatabaseFull
from holdfast.records import NewRun
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, statuses


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.fixture
def store(small: Path) -> Iterator[Store]:
    opened = storage.open(f"sqlite:///{small}/holdfast.db")
    know(opened)
    yield opened
    opened.close()


def fill(disk: Path) -> Path:
    """Something else takes all that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


def payload() -> NewRun:
    return new(payload='"' + "x" * 6000 + '"')


def until_full(store: Store) -> list[str]:
    """Trigger one by one until the disk is full; answers the ids of those that were acknowledged."""
    acknowledged: list[str] = []
    with pytest.raises(DatabaseFull, match="full"):
        while True:
            acknowledged.append(store.gather(trigger.trigger, payload()).result(30).id)
    return acknowledged


def test_a_trigger_is_refused_and_what_was_acknowledged_is_there(store: Store, small: Path) -> None:
    acknowledged = until_full(store)
    assert statuses(store, acknowledged) == ["queued"] * len(acknowledged)
    store.close()
    os.truncate(fill(small), 0)  # sqlite needs a few pages to open it again
    again = storage.open(store.url)
    assert statuses(again, acknowledged) == ["queued"] * len(acknowledged)
    again.close()


def test_each_of_many_callers_is_told_and_none_of_them_half(store: Store, small: Path) -> None:
    fill(small)
    runs = [payload() for _ in range(600)]
    futures = [store.gather(trigger.trigger, run) for run in runs]
    refused = [run.id for run, future in zip(runs, futures, strict=True) if future.exception(30) is not None]
    assert refused
    assert all(isinstance(future.exception(), DatabaseFull | None) for future in futures)
    (small / "filler").unlink()
    kept = [run.id for run in runs if run.id not in refused]
    assert statuses(store, refused) == []
    assert statuses(store, kept) == ["queued"] * len(kept)


def test_work_goes_on_by_itself_when_there_is_room(store: Store, small: Path) -> None:
    hand = Hand(store)
    filler = fill(small)
    acknowledged = until_full(store)
    filler.unlink()
    run = payload()
    assert store.gather(trigger.trigger, run).result(30).id == run.id
    claimed = hand.claim(1000)
    assert sorted(one.id for one in claimed) == sorted([*acknowledged, run.id])
    assert hand.end(*claimed) == []
    assert set(statuses(store, [*acknowledged, run.id])) == {"completed"}
