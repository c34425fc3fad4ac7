"""The sweep: what lost workers held goes on elsewhere, the culprit is found and not its neighbours, and TTLs pass.

A process that dies makes suspects of all it held. The more deaths a run was in, the fewer like it a process holds at a
time, until it is alone.
"""

from __future__ import annotations

import json

import pytest

from holdfast.clock import FrozenClock
from holdfast.engine import claim, reap, workers
from holdfast.engine.reap import Swept
from holdfast.storage import Store
from tests.engine.making import Hand, ids, know, look, new, send, state, status, statuses

NOTHING = Swept([], [], [], [])


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store)


def sweep(store: Store) -> Swept:
    return store.run_sync(reap.sweep)


def test_what_a_lost_worker_held_goes_back_in_line(store: Store) -> None:
    hand = Hand(store)
    made = send(store, new(), new(), new())
    hand.claim(2)
    hand.gone()
    assert sweep(store) == Swept(made[:2], [], [], [])
    assert [state(store, run) for run in made] == ["ready"] * 3
    assert look(store, made[0]).worker_id is None


def test_a_second_sweep_finds_nothing(store: Store) -> None:
    hand = Hand(store)
    send(store, new())
    hand.claim()
    hand.gone()
    sweep(store)
    assert sweep(store) == NOTHING


def test_what_living_workers_hold_is_left_to_them(store: Store, clock: FrozenClock) -> None:
    live, draining = Hand(store), Hand(store)
    send(store, new(), new())
    live.claim(1)
    draining.claim(1)
    store.run_sync(workers.drain, draining.id)
    clock.advance("30d")
    assert sweep(store) == NOTHING


@pytest.mark.parametrize("how", ["stopped", "forgotten"])
def test_no_run_is_left_with_a_worker_that_is_not_there(store: Store, clock: FrozenClock, how: str) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    store.run_sync(workers.stop, hand.id)
    if how == "forgotten":
        clock.advance("10d")
        store.run_sync(reap.tidy, 1_000)
    assert sweep(store).recovered == [run]


def test_a_crash_costs_no_attempt_and_is_remembered(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    (run,) = send(store, new())
    hand.claim()
    clock.advance("4s")
    hand.gone()
    sweep(store)
    assert (look(store, run).attempts, look(store, run).crashes) == (1, 0)
    ((number, _, worker, *_, outcome, error, _),) = (
        row[1:] for row in store.read_sync(lambda tx: tx.rows("attempts", run_id=run))
    )
    assert (number, outcome) == (1, "crashed")
    assert hand.id in json.loads(str(error))["message"]
    assert worker is not None


# suspects


def died_with(store: Store, *runs: str) -> None:
    """A worker claims all there is, and dies."""
    hand = Hand(store)
    assert sorted(ids(hand.claim())) == sorted(runs)
    hand.gone()
    sweep(store)


def test_suspects_are_not_claimed_with_the_others(store: Store) -> None:
    died_with(store, *send(store, new(), new()))
    (fresh,) = send(store, new())
    heir = Hand(store)
    answer = heir.exchange(10)
    assert ids(answer.claimed) == [fresh]
    assert answer.suspects


def test_the_more_deaths_the_fewer_are_held_at_once(store: Store) -> None:
    """After one death all go on at once, for most are innocent and may take long; then ten; then each alone."""
    made = send(store, *(new() for _ in range(30)))
    died_with(store, *made)
    for company, suspects in ((1_000, 30), (10, 10), (1, 1)):
        heir = Hand(store)
        claimed = heir.claim_suspects(company)
        assert [len(claimed), claimed[0].suspect] == [suspects, company]
        assert all(heir.claim_suspects(other) == [] for other in reap.GROUPS if other < company)
        heir.gone()
        sweep(store)
    assert statuses(store, made).count("crashed") == 1


@pytest.mark.parametrize(
    ("limit", "companies"), [(1, [1]), (2, [10, 1]), (3, [1_000, 10, 1]), (5, [1_000, 10, 1, 1, 1])]
)
def test_nobody_is_in_company_when_the_next_death_would_end_it(limit: int, companies: list[int]) -> None:
    assert [reap.group(deaths, limit) for deaths in range(limit)] == companies


def test_a_round_may_take_suspects_and_others(store: Store) -> None:
    (suspect,) = send(store, new())
    died_with(store, suspect)
    fresh = send(store, new(), new())
    claimed = Hand(store).exchange(10, group=reap.GROUPS[-1], suspects=10).claimed
    assert sorted(ids(claimed)) == sorted([suspect, *fresh])
    assert [run.id for run in claimed if run.suspect] == [suspect]


def test_of_a_hundred_only_the_culprit_ends_as_crashed(store: Store) -> None:
    made = send(store, *(new() for _ in range(100)))
    culprit = made[42]
    died_with(store, *made)
    deaths = 1
    while status(store, culprit) != "crashed":
        heir = Hand(store)
        while claimed := heir.claim_suspects():
            if culprit in ids(claimed):
                heir.gone()
                sweep(store)
                deaths += 1
                break
            heir.end(*claimed)
        assert deaths <= 10
    assert deaths == 1 + 3  # only deaths as a suspect count: the first one might have been anybody's
    assert look(store, culprit).crashes == 3
    heir = Hand(store)
    while claimed := heir.claim_suspects():
        heir.end(*claimed)
    final = {run: status(store, run) for run in made}
    assert [run for run, how in final.items() if how != "completed"] == [culprit]


def test_a_crashed_run_says_why(store: Store, clock: FrozenClock) -> None:
    know(store, options='{"max_crashes":1}')
    (run,) = send(store, new())
    died_with(store, run)
    heir = Hand(store)
    heir.claim_suspects()
    heir.gone()
    assert sweep(store).crashed == [run]
    record = look(store, run)
    assert (record.status, record.crashes, record.finished_at) == ("crashed", 1, clock.now())
    error = json.loads(record.error or "")
    assert error["type"] == "RunCrashed"
    assert heir.id in error["message"]


@pytest.mark.parametrize(
    ("task_options", "own_options", "deaths"),
    [("{}", None, 3), ('{"max_crashes":1}', None, 1), ('{"max_crashes":5}', '{"max_crashes":2}', 2), ("{}", "{}", 3)],
)
def test_how_often_a_run_may_crash_is_said_by_itself_or_its_task(
    store: Store, task_options: str, own_options: str | None, deaths: int
) -> None:
    know(store, options=task_options)
    (run,) = send(store, new(options=own_options))
    died_with(store, run)
    counted = 0
    while status(store, run) == "queued":
        heir = Hand(store)
        heir.claim_suspects()
        heir.gone()
        sweep(store)
        counted += 1
    assert (status(store, run), counted) == ("crashed", deaths)


def test_a_suspect_that_has_outlived_its_last_life_is_one_no_more(store: Store, clock: FrozenClock) -> None:
    (run,) = send(store, new())
    died_with(store, run)
    heir = Hand(store)
    heir.claim_suspects()
    store.run_sync(claim.clear_suspects, heir.id, [run])
    heir.gone()
    sweep(store)
    assert look(store, run).crashes == 0
    assert len(Hand(store).claim_suspects()) == 1


def test_a_suspect_is_told_how_long_it_lived(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    send(store, new())
    hand.claim()
    clock.advance("7s")
    store.run_sync(workers.beat, [hand.id])
    clock.advance("60s")  # silence, until it was declared dead
    hand.gone()
    sweep(store)
    (suspect,) = Hand(store).claim_suspects()
    assert suspect.lived_ms == 7_000 + reap.GRACE_MS


def test_a_suspect_that_is_handed_back_is_still_one_and_one_that_is_retried_is_not(store: Store) -> None:
    """Whoever lives to tell how an attempt ended was not killed by it."""
    (run,) = send(store, new())
    died_with(store, run)
    heir = Hand(store)
    heir.give_back(*heir.claim_suspects())
    assert heir.claim() == []
    heir.retry(*heir.claim_suspects())
    assert heir.claim_suspects() == []
    assert ids(heir.claim()) == [run]


def test_where_processes_die_anyway_it_takes_twice_as_many_deaths(store: Store, clock: FrozenClock) -> None:
    """Somebody kills workers all the time. A run that is caught three times has not been shown to be to blame."""
    (run,) = send(store, new())
    died_with(store, run)
    deaths = 0
    while status(store, run) == "queued":
        Hand(store).gone()  # another one, that held nothing
        heir = Hand(store)
        assert ids(heir.claim_suspects()) == [run]
        heir.gone()
        sweep(store)
        deaths += 1
    assert (status(store, run), deaths) == ("crashed", 2 * reap.MAX_CRASHES)


def test_what_died_long_ago_excuses_nobody(store: Store, clock: FrozenClock) -> None:
    Hand(store).gone()
    clock.advance(reap.STORM_MS)
    (run,) = send(store, new())
    died_with(store, run)
    for _ in range(reap.MAX_CRASHES):
        heir = Hand(store)
        heir.claim_suspects()
        heir.gone()
        sweep(store)
    assert status(store, run) == "crashed"


@pytest.mark.parametrize("options", ["{", "[]", "7", '"\\ud800"', '{"max_crashes":"many"}', '{"max_crashes":-1}'])
@pytest.mark.parametrize("whose", ["its own", "its task's"])
def test_options_that_cannot_be_read_do_not_keep_the_sweep_from_others(store: Store, options: str, whose: str) -> None:
    """One such row, and no run of any lost worker was recovered any more."""
    if whose == "its task's":
        know(store, options=options)
    broken, sound = send(store, new(options=options if whose == "its own" else None), new())
    hand = Hand(store)
    hand.claim()
    hand.gone()
    assert sorted(sweep(store).recovered) == sorted([broken, sound])


# time


def test_what_did_not_start_in_time_expires(store: Store, clock: FrozenClock) -> None:
    ready, delayed, patient = send(store, new(ttl_ms=1_000), new(ttl_ms=1_000, delay_ms=500), new())
    clock.advance("1s")
    assert sweep(store).expired == [ready]
    clock.advance("500ms")
    assert sweep(store).expired == [delayed]
    assert [status(store, run) for run in (ready, delayed, patient)] == ["expired", "expired", "queued"]
    assert look(store, ready).finished_at == clock.now() - 500


def test_what_has_started_does_not_expire(store: Store, clock: FrozenClock) -> None:
    hand = Hand(store)
    executing, retried = send(store, new(ttl_ms=1_000), new(ttl_ms=1_000))
    claimed = {run.id: run for run in hand.claim()}
    hand.retry(claimed[retried], delay_ms=10_000)
    clock.advance("1h")
    assert sweep(store) == NOTHING
    hand.end(claimed[executing])
    assert status(store, executing) == "completed"


def test_a_sweep_takes_a_bounded_number_and_goes_on_the_next_time(store: Store, clock: FrozenClock) -> None:
    made = send(store, *(new(ttl_ms=1) for _ in range(reap.SWEEP + 20)))
    clock.advance("1s")
    assert [len(sweep(store).expired) for _ in range(3)] == [reap.SWEEP, 20, 0]
    assert {status(store, run) for run in made} == {"expired"}
