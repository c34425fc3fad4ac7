"""Who is dead: decided by watching a beat stand still, never by comparing clocks."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import upkeep as module
from holdfast.clock import FrozenClock
from holdfast.engine import catalogue, claim, reap, trigger, workers
from holdfast.engine.trigger import route_id
from holdfast.engine.workers import Beat, WorkerEntry
from holdfast.errors import DatabaseError, DatabaseFull, DatabaseUnavailable
from holdfast.ids import new_id
from holdfast.records import NewRun, TaskEntry
from holdfast.storage import Store
from holdfast.upkeep import GAP_SECONDS, Upkeep, Watcher

LEASE = 30_000
HOUR = 3_600_000


def watched(*reads: tuple[float, int | None]) -> list[float]:
    """When a watcher called it silent: each read is a moment and the beat it saw (None: the read failed)."""
    watcher, silent = Watcher(), []
    for at, beat in reads:
        if beat is None:
            watcher.forget()
        elif watcher.observe([Beat("w", beat, LEASE)], at):
            silent.append(at)
    return silent


def every(seconds: float, until: float, beat: Callable[[float], int | None]) -> list[tuple[float, int | None]]:
    return [(n * seconds, beat(n * seconds)) for n in range(int(until / seconds) + 1)]


def test_one_that_beats_is_never_silent() -> None:
    assert watched(*every(2, 500, int)) == []


def test_one_that_stands_still_is_silent_after_its_lease() -> None:
    """Not before. Fails with counting from the first read of all and not from the last change of the beat."""
    assert watched(*every(2, 60, lambda at: min(int(at), 10)))[0] == 40


def test_a_gap_in_the_reads_makes_it_start_anew() -> None:
    """The watcher was asleep, or stopped, or the database away: it saw nothing, so it knows nothing. Fails with not
    looking at the time between two reads: after a minute's sleep everybody was dead."""
    before, after = every(2, 20, lambda _: 7), [(at + 80, 7) for at, _ in every(2, 28, lambda _: 7)]
    assert watched(*before, *after) == []
    assert watched(*before, *after, (110, 7)) == [110]


def test_a_read_that_failed_makes_it_start_anew() -> None:
    reads = every(2, 28, lambda _: 7)
    assert watched(*reads, (29, None), (30, 7), (32, 7), *[(at, 7) for at in range(34, 60, 2)]) == []


def test_reads_just_within_the_gap_count() -> None:
    assert watched(*every(GAP_SECONDS, 60, lambda _: 7)) == [30, 36, 42, 48, 54, 60]


def test_each_has_its_own_lease() -> None:
    watcher = Watcher()
    for at in (0, 2, 4):
        silent = watcher.observe([Beat("short", 1, 3_000), Beat("long", 1, LEASE)], at)
    assert [beat.id for beat in silent] == ["short"]


def test_one_that_is_gone_from_the_list_is_forgotten() -> None:
    watcher = Watcher()
    for at in range(0, 100, 2):
        watcher.observe([Beat(f"w{at}", 1, LEASE)], at)
    assert list(watcher.seen) == ["w98"]


# -- with a database --------------------------------------------------------------------------------------------------


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The upkeep's own monotonic clock, to be set."""
    now = [1000.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.fixture
def worker(store: Store) -> str:
    """A live worker that holds a run."""
    me = new_id()
    store.run_sync(catalogue.announce, [TaskEntry(id="t", queue="q", options="{}")], [])
    store.run_sync(workers.register, WorkerEntry(id=me, lease_ms=LEASE, host="h", pid=1, concurrency=10), ["t"])
    store.run_sync(trigger.trigger, [NewRun(id=new_id(), task="t", queue="q")])
    assert store.run_sync(claim.exchange, claim.Ask(me, [route_id("q", "t", None)], 1), [], [], []).claimed
    return me


def state(store: Store, worker: str) -> str:
    return store.read_sync(claim.orders, worker).state or ""


def held(store: Store, worker: str) -> int:
    return len(store.read_sync(claim.orders, worker).held)


@pytest.mark.parametrize("step", [HOUR, -HOUR, 365 * 24 * HOUR], ids=["on", "back", "a year"])
def test_a_clock_that_steps_kills_nobody(
    store: Store, clock: FrozenClock, worker: str, moment: list[float], step: int
) -> None:
    """Not the database's clock, which is the host's on SQLite. Fails with taking the moment of the last beat, as it is
    written for people, for the age of the silence. And what a worker holds is still seen, by itself above all: broken
    by asking only for what was claimed before now."""
    upkeep = Upkeep(store)
    for turn in range(40):
        if turn == 20:
            clock.set(clock.now() + step)
        store.run_sync(workers.beat, [worker])
        upkeep.sweep()
        moment[0] += 2
    assert (state(store, worker), held(store, worker)) == ("live", 1)


def test_one_that_does_not_beat_is_lost_and_its_run_goes_on(store: Store, worker: str, moment: list[float]) -> None:
    upkeep = Upkeep(store)
    for _ in range(15):
        upkeep.sweep()
        assert state(store, worker) == "live"
        moment[0] += 2
    upkeep.sweep()
    assert (state(store, worker), held(store, worker)) == ("lost", 0)


def test_a_beat_between_the_look_and_the_word_saves_it(store: Store, worker: str, moment: list[float]) -> None:
    """Compare and set. Fails with declaring lost whoever was silent, without looking at the beat again."""
    seen = store.read_sync(workers.beats)
    store.run_sync(workers.beat, [worker])
    assert store.run_sync(workers.declare_lost, seen) == []
    assert state(store, worker) == "live"


class Door:
    """Makes a store's door for writing fail, or slow."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: Exception | None = None
        self.delay: Callable[[], None] = lambda: None
        door = store.submit

        def submit(f: Any, *, write: bool = True, again: bool = False) -> Any:
            def late(tx: Any) -> Any:
                self.delay()
                if self.error is not None:
                    raise self.error
                return f(tx)

            return door(late if write else f, write=write, again=again)

        monkeypatch.setattr(store, "submit", submit)


@pytest.fixture
def door(store: Store, monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(store, monkeypatch)


def attempt(act: Callable[[], object]) -> None:
    with contextlib.suppress(DatabaseError):
        act()


@pytest.mark.parametrize("kind", [DatabaseFull, DatabaseUnavailable])
def test_when_nothing_can_be_written_nobody_is_judged(
    store: Store, worker: str, moment: list[float], door: Door, kind: type[DatabaseError]
) -> None:
    """The disk is full, or the server only reads: reads succeed, and the beats of all stand still. When it is over, the
    sweep must not come before the first beat. Fails with counting the silence of such a time: half of the workers, and
    more, were declared lost when there was room again."""
    upkeep = Upkeep(store)
    door.error = kind("no room")
    for _ in range(40):
        attempt(lambda: upkeep.beat([worker]))
        attempt(upkeep.sweep)
        moment[0] += 2
    door.error = None
    upkeep.sweep()
    assert state(store, worker) == "live"
    moment[0] += 2
    assert set(upkeep.beat([worker])) == {worker}
    for _ in range(20):
        upkeep.sweep()
        upkeep.beat([worker])
        moment[0] += 2
    assert (state(store, worker), held(store, worker)) == ("live", 1)


def test_a_declaration_that_fails_is_not_made_later(store: Store, worker: str, moment: list[float], door: Door) -> None:
    """This host has no workers, so it has no beats to fail; its own words do. Fails with saying them again as soon as
    there is room."""
    upkeep = Upkeep(store)
    for turn in range(30):
        door.error = DatabaseFull("no room") if turn > 5 else None
        attempt(upkeep.sweep)
        moment[0] += 2
    door.error = None
    upkeep.sweep()
    assert state(store, worker) == "live"


def test_a_declaration_that_had_to_wait_is_not_made(store: Store, worker: str, moment: list[float], door: Door) -> None:
    """Somebody held the write lock of the file: the beats of the living may have stood in the same line. Broken by
    declaring whenever the lock comes."""
    upkeep = Upkeep(store)
    for _ in range(15):
        upkeep.sweep()
        moment[0] += 2

    def wait() -> None:
        moment[0] += 5

    door.delay = wait
    upkeep.sweep()
    door.delay = lambda: None
    assert state(store, worker) == "live"
    moment[0] += 1
    upkeep.sweep()
    assert state(store, worker) == "live"


def test_a_beat_that_had_to_wait_makes_the_watcher_start_anew(
    store: Store, worker: str, moment: list[float], door: Door
) -> None:
    upkeep = Upkeep(store)
    for _ in range(15):
        upkeep.sweep()
        moment[0] += 2

    def wait() -> None:
        moment[0] += 3

    door.delay = wait
    upkeep.beat(["somebody else"])
    door.delay = lambda: None
    upkeep.sweep()
    assert state(store, worker) == "live"


@pytest.fixture
def file_lock(store: Store) -> Iterator[Callable[[], Callable[[], None]]]:
    """Holds the database against all writers, as a long transaction of somebody else's does."""
    held: list[threading.Event] = []

    def hold() -> Callable[[], None]:
        release, inside = threading.Event(), threading.Event()

        def sit(tx: Any) -> None:
            tx.rows("worker_state", me="x")
            inside.set()
            release.wait(30)

        other = type(store)(store.path) if store.kind == "sqlite" else None  # type: ignore[call-arg,attr-defined]
        assert other is not None
        future = other.submit(sit)
        assert inside.wait(30)
        held.append(release)

        def let_go() -> None:
            release.set()
            future.result(30)
            other.close()

        return let_go

    yield hold
    for release in held:
        release.set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_lock_on_the_file_for_longer_than_the_lease_kills_nobody(
    store: Store, file_lock: Callable[[], Callable[[], None]]
) -> None:
    """With real time and two hosts: neither can beat, both can read. Fails with not waiting for beats of our own."""
    names = [new_id(), new_id()]
    for me in names:
        store.run_sync(workers.register, WorkerEntry(id=me, lease_ms=3_000, host="h", pid=1, concurrency=1), [])
    hosts = [Upkeep(store), Upkeep(type(store)(store.path))]  # type: ignore[call-arg,attr-defined]
    stopped = threading.Event()

    def live(upkeep: Upkeep, me: str, act: Callable[[Upkeep, str], object], seconds: float) -> None:
        while not stopped.wait(seconds):
            attempt(lambda: act(upkeep, me))

    def beat(upkeep: Upkeep, me: str) -> None:
        upkeep.beat([me])

    def sweep(upkeep: Upkeep, me: str) -> None:
        upkeep.declare()

    threads = [
        threading.Thread(target=live, args=(upkeep, me, act, seconds))
        for upkeep, me in zip(hosts, names, strict=True)
        for act, seconds in ((beat, 0.3), (sweep, 0.4))
    ]
    for thread in threads:
        thread.start()
    let_go = file_lock()
    began = time.monotonic()
    while time.monotonic() - began < 5:
        time.sleep(0.1)
    let_go()
    began = time.monotonic()
    while time.monotonic() - began < 1:
        time.sleep(0.1)
    stopped.set()
    for thread in threads:
        thread.join(10)
    hosts[1].store.close()
    assert [state(store, me) for me in names] == ["live", "live"]


def test_a_sweep_is_idempotent(store: Store, worker: str) -> None:
    store.run_sync(workers.declare_gone, worker)
    first = store.run_sync(reap.sweep)
    assert (len(first.recovered), store.run_sync(reap.sweep).recovered) == (1, [])
