"""A burst of triggers with one debounce key makes one run, at the end of the burst, with the payload asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from holdfast.clock import FrozenClock
from holdfast.engine import cancel, due, read, trigger
from holdfast.ids import new_id
from holdfast.records import NewRun, Triggered
from holdfast.storage import Store


def burst(store: Store, payload: str, *, leading: bool = False, longest: int | None = None) -> Triggered:
    run = NewRun(
        id=new_id(),
        task="t",
        queue="q",
        payload=payload,
        debounce_key="k",
        debounce_ms=10_000,
        debounce_max_ms=longest,
        debounce_leading=leading,
    )
    return store.gather(trigger.trigger, run).result()  # type: ignore[arg-type, return-value]


def due_in(store: Store, clock: FrozenClock, run_id: str) -> int:
    run = store.read_sync(read.run, run_id)
    assert run is not None
    assert run.due_at is not None
    return run.due_at - clock.now()


def payload(store: Store, run_id: str) -> str:
    run = store.read_sync(read.run, run_id)
    assert run is not None
    return run.payload


def test_a_later_trigger_pushes_the_run_back_and_brings_its_payload(store: Store, clock: FrozenClock) -> None:
    first = burst(store, '"one"')
    clock.advance("6s")
    second = burst(store, '"two"')
    assert (first.created, second) == (True, Triggered(first.id, created=False))
    assert due_in(store, clock, first.id) == 10_000
    assert payload(store, first.id) == '"two"'


def test_leading_keeps_the_first_payload(store: Store, clock: FrozenClock) -> None:
    first = burst(store, '"one"', leading=True)
    burst(store, '"two"', leading=True)
    assert payload(store, first.id) == '"one"'


def test_the_longest_delay_is_counted_from_the_first_trigger(store: Store, clock: FrozenClock) -> None:
    first = burst(store, "1", longest=15_000)
    clock.advance("9s")
    burst(store, "2", longest=15_000)
    assert due_in(store, clock, first.id) == 6_000


def test_a_trigger_after_the_run_became_due_makes_a_new_one(store: Store, clock: FrozenClock) -> None:
    first = burst(store, "1")
    clock.advance("10s")
    store.run_sync(due.go_on)
    second = burst(store, "2")
    assert second.created
    assert second.id != first.id
    assert payload(store, first.id) == "1"
    assert burst(store, "3") == Triggered(second.id, created=False)


def test_a_canceled_run_is_not_pushed_back(store: Store, clock: FrozenClock) -> None:
    first = burst(store, "1")
    store.run_sync(cancel.cancel, [first.id])
    assert burst(store, "2").created


def test_big_payloads_are_replaced_as_well(store: Store, clock: FrozenClock) -> None:
    small, big, bigger = '"s"', '"' + "b" * 20_000 + '"', '"' + "c" * 30_000 + '"'
    first = burst(store, small)
    for text in (big, bigger, small):
        burst(store, text)
        assert payload(store, first.id) == text


def test_sixteen_threads_at_once_make_one_run(store: Store, clock: FrozenClock) -> None:
    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(lambda n: burst(store, str(n)), range(64)))
    assert len({one.id for one in made}) == 1
    assert sum(one.created for one in made) == 1
