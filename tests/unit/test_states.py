"""The table of states is what the statements do: each row is carried out here, and any other event changes nothing."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from holdfast import storage
from holdfast.clock import FrozenClock
from holdfast.engine import cancel, due, journal, limits, read, reap, tokens
from holdfast.engine.states import FINAL, HOT, TABLE, allows, shown
from holdfast.records import Ended, NewEntry, NewToken, QueueEntry, Suspension
from holdfast.storage import Store
from tests.engine.making import Hand, know, new, override, promote, queue, send, state, stop


class Life:
    """One run in a database in memory, and what may happen to it."""

    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.store: Store = storage.open("sqlite://:memory:", clock=self.clock)
        rated = QueueEntry(name="rated", rate=1, rate_ms=1_000)
        know(self.store, queue("one", 1), queue("free"), rated, options='{"max_crashes":1}')
        self.hand = Hand(self.store)
        self.run, self.held = "", None

    # into each state

    def begin(self, where: str) -> Life:
        getattr(self, f"be_{where}")()
        assert where == "new" or self.now() == where
        return self

    def be_new(self) -> None:
        pass

    def be_delayed(self, name: str = "free") -> None:
        (self.run,) = send(self.store, new(queue=name, delay_ms=1_000, ttl_ms=5_000))

    def be_held(self) -> None:
        (self.run,) = send(self.store, new(queue="one", ttl_ms=5_000))

    def be_ready(self) -> None:
        (self.run,) = send(self.store, new(queue="free", ttl_ms=5_000))

    def be_executing(self, name: str = "free") -> None:
        (self.run,) = send(self.store, new(queue=name, ttl_ms=5_000))
        promote(self.store)
        self.held = self.hand.claim_one()

    def be_waiting(self, name: str = "free") -> None:
        self.be_executing(name)
        assert self.held is not None
        wait = NewEntry(
            run_id=self.run, claim=self.held.claim, attempt=1, key="wait#1", seq=1, branch="", kind="wait", name="wait"
        )
        token, _ = self.store.run_sync(tokens.create, NewToken(id="token", secret="secret", timeout_ms=1_000))
        wait.state, wait.target = "open", token.id
        self.store.run_sync(journal.write, [wait])
        suspend(self)

    # what is left of it

    def now(self) -> str:
        record = self.store.read_sync(read.run, self.run)
        return state(self.store, self.run) or (record.status if record else "new")


def end(life: Life, status: str) -> None:
    if life.held is not None:
        life.hand.exchange(ended=[Ended(life.run, life.held.claim, status)])
    else:  # an attempt that never was: any claim number
        life.hand.exchange(ended=[Ended(life.run or "nobody", 0, status)])


def retry(life: Life, delay_ms: int) -> None:
    if life.held is not None:
        life.hand.retry(life.held, delay_ms)


def lose(life: Life, *, first: str = "") -> None:
    if first == "suspect" and life.now() == "executing":
        lose(life)
        life.clock.advance("2s")  # the next start that a rate allows
        promote(life.store)
        life.hand = Hand(life.store)
        (life.held,) = life.hand.claim_suspects()
    if first == "canceled":
        stop(life.store, life.run)
    life.hand.gone()
    life.store.run_sync(reap.sweep)


def make_due(life: Life) -> None:
    life.clock.advance("1s")
    life.store.run_sync(due.go_on)


def take_due(life: Life) -> None:
    life.clock.advance("1s")
    life.store.run_sync(due.take, due.Room(life.hand.id, life.hand.routes, 10))


def expire(life: Life) -> None:
    life.clock.advance("6s")
    life.store.run_sync(reap.sweep)


def suspend(life: Life) -> None:
    claimed = life.held.claim if life.held is not None else 0
    life.hand.exchange(waits=[Suspension(life.run or "nobody", claimed)])


def settle(life: Life) -> None:
    life.store.run_sync(tokens.complete, "token", "1")


def demote(life: Life) -> None:
    life.clock.advance("11s")
    override(life.store, "free", 1)
    promote(life.store)
    life.clock.advance("11s")
    life.store.run_sync(limits.return_unserved, [])


WAYS: dict[str, list[Callable[[Life], object]]] = {
    "trigger": [Life.be_delayed, Life.be_held, Life.be_ready],
    "due": [make_due, take_due],
    "promote": [lambda life: promote(life.store)],
    "demote": [demote],
    "claim": [lambda life: life.hand.claim()],
    "complete": [lambda life: end(life, "completed")],
    "fail": [lambda life, status=status: end(life, status) for status in ("failed", "timed_out", "system_failure")],
    "retry": [lambda life: retry(life, 0), lambda life: retry(life, 1_000)],
    "return": [lambda life: life.held is not None and life.hand.give_back(life.held)],
    "lose": [lose, lambda life: lose(life, first="suspect"), lambda life: lose(life, first="canceled")],
    "cancel": [lambda life: stop(life.store, life.run), lambda life: cancel_and_report(life)],
    "expire": [expire],
    "suspend": [suspend],
    "settle": [settle],
}


def cancel_and_report(life: Life) -> None:
    if life.now() == "executing":
        stop(life.store, life.run)
        end(life, "canceled")
    else:
        life.store.run_sync(cancel.cancel, [life.run])


def begun(where: str) -> Iterator[Life]:
    """Lives that are in this state: in a queue without a limit, with one, and with a rate, where that differs."""
    yield Life().begin(where)
    if where in ("delayed", "executing", "waiting"):
        for name in ("one", "rated"):
            life = Life()
            getattr(life, f"be_{where}")(name)
            yield life


@pytest.mark.parametrize(("where", "event"), TABLE)
def test_every_row_of_the_table_is_what_happens(where: str, event: str) -> None:
    reached = set()
    for way in WAYS[event]:
        for life in begun(where):
            way(life)
            reached.add(life.now())
            life.store.close()
    assert reached == TABLE[where, event]


@pytest.mark.parametrize(
    ("where", "event"),
    [pair for pair in itertools.product(sorted(HOT), WAYS) if pair not in TABLE and pair[1] != "trigger"],
)
def test_what_the_table_does_not_say_changes_nothing(where: str, event: str) -> None:
    assert not allows(where, event)
    for way in WAYS[event]:
        life = Life().begin(where)
        way(life)
        assert life.now() in {where, *followed(where, event)}
        life.store.close()


def followed(where: str, event: str) -> set[str]:
    """What else the way of an event lets happen: a sweep that looks for one thing finds the others, too."""
    if where == "waiting" and event == "lose":
        return {"ready"}  # canceled, and on its way to be told so
    return {"canceled"} if event in ("lose", "cancel") and where != "executing" else set()


def test_every_state_that_is_reached_is_known() -> None:
    reached = frozenset().union(*TABLE.values())
    assert reached <= HOT | FINAL
    assert reached >= FINAL
    assert {where for where, _ in TABLE} <= HOT | {"new"}
    assert not FINAL & {where for where, _ in TABLE}  # what is final stays so


def test_users_see_one_word_for_a_run_that_waits_its_turn() -> None:
    assert {shown(one) for one in HOT} == {"delayed", "queued", "executing", "waiting"}
    assert {shown(one) for one in FINAL} == FINAL
