"""Errors: each run that ended badly is counted once, in the group of those that went wrong in the same way."""

from __future__ import annotations

import json

import pytest

from holdfast import views
from holdfast.clock import FrozenClock
from holdfast.engine import errors, reap
from holdfast.storage import Store
from holdfast.views import ErrorView, Filter
from tests.engine.making import Hand, know, new, send, stop


@pytest.fixture(autouse=True)
def known(store: Store, clock: FrozenClock) -> None:
    know(store, tasks=("greet", "wave"))


def error(kind: str, message: str) -> str:
    return json.dumps({"type": kind, "message": message, "traceback": ""})


def end(store: Store, kind: str, message: str, version: str | None = None) -> str:
    """A run that has failed like this."""
    (run_id,) = send(store, new())
    hand = Hand(store, version=version)
    (run,) = hand.claim()
    hand.end(run, status="failed", error=error(kind, message))
    return run_id


def grouped(store: Store) -> list[ErrorView]:
    while store.run_sync(errors.group, 2):
        pass
    return store.read_sync(views.errors).errors


def of(store: Store, fingerprint: str, **more: object) -> list[str]:
    wanted = Filter(error=fingerprint, **more)  # type: ignore[arg-type]
    return [run.id for run in store.read_sync(views.page, wanted).runs]


def test_runs_that_failed_alike_are_one_error(store: Store, clock: FrozenClock) -> None:
    """Seen first and last, with the versions of then, the latest message, and how many they are."""
    began = clock.now()
    ids = []
    for n, version in ((1, "a"), (2, "a"), (3, "b")):
        ids.append(end(store, "ValueError", f"no card {n}", version=version))
        clock.advance(1)
    other = end(store, "KeyError", "'ada'")
    latest, first = grouped(store)
    assert (latest.type, latest.runs, latest.last_run) == ("KeyError", 1, other)
    assert (first.type, first.message, first.runs, first.last_run) == ("ValueError", "no card 3", 3, ids[-1])
    assert (first.first_at, first.last_at) == (began, began + 2_000)
    assert (first.first_version, first.last_version) == ("a", "b")
    assert of(store, first.fingerprint) == ids[::-1]
    assert of(store, latest.fingerprint) == [other]


def test_each_run_is_counted_once(store: Store) -> None:
    """However often it is looked at. Fails with a group that does not remember whom it has counted."""
    for n in range(5):
        end(store, "ValueError", f"no {n}")
    assert [one.runs for one in grouped(store)] == [5]
    assert store.run_sync(errors.group) == 0
    end(store, "ValueError", "no 6")
    assert [one.runs for one in grouped(store)] == [6]


def test_what_ends_well_or_on_purpose_is_no_error(store: Store) -> None:
    hand = Hand(store)
    (well,) = send(store, new())
    (run,) = hand.claim()
    assert run.id == well
    hand.end(run)
    (canceled,) = send(store, new())
    stop(store, canceled)
    assert grouped(store) == []


@pytest.mark.parametrize("message", ["half a pair: \ud800", "a NUL: \0"])
def test_what_no_column_holds_keeps_no_other_from_being_counted(store: Store, clock: FrozenClock, message: str) -> None:
    end(store, "ValueError", message)
    clock.advance(1)
    end(store, "KeyError", "'ada'")
    assert [each.type for each in grouped(store)] == ["KeyError", "ValueError"]
    assert grouped(store)[1].message.startswith(message[:6])


def test_an_error_that_cannot_be_read_goes_by_its_status(store: Store) -> None:
    (run_id,) = send(store, new())
    hand = Hand(store)
    (run,) = hand.claim()
    hand.end(run, status="failed", error="{")
    (found,) = grouped(store)
    assert (found.type, found.message, found.last_run) == ("failed", "", run_id)


def test_a_run_without_an_error_goes_by_its_status(store: Store, clock: FrozenClock) -> None:
    send(store, new(ttl_ms=1_000))
    clock.advance(2)
    store.run_sync(reap.sweep)
    (one,) = grouped(store)
    assert (one.type, one.message, one.place) == ("expired", "", "")


def test_pages_of_errors_miss_none(store: Store, clock: FrozenClock) -> None:
    """Also those that were last seen in the same millisecond."""
    for n in range(7):
        end(store, f"Error{n // 2}{n % 2}", "oops")
        clock.advance(n % 2)
    assert len(grouped(store)) == 7
    seen, cursor = [], None
    while True:
        page = store.read_sync(views.errors, limit=2, before=cursor)
        seen += [one.fingerprint for one in page.errors]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 7
    assert len(store.read_sync(views.errors, before="nonsense").errors) == 7


def test_a_list_of_an_error_can_be_sifted_further(store: Store) -> None:
    red = [end(store, "ValueError", "no") for _ in range(3)]
    (one,) = grouped(store)
    assert of(store, one.fingerprint, statuses=frozenset({"failed"})) == red[::-1]
    assert of(store, one.fingerprint, tasks=frozenset({"wave"})) == []
    assert of(store, one.fingerprint, tags=("no such",)) == []
    assert of(store, "0" * 16) == []
    page = store.read_sync(views.page, Filter(error=one.fingerprint), limit=2)
    rest = store.read_sync(views.page, Filter(error=one.fingerprint), limit=2, before=page.next_cursor)
    assert [run.id for run in (*page.runs, *rest.runs)] == red[::-1]
    back = store.read_sync(views.page, Filter(error=one.fingerprint), limit=2, after=rest.runs[0].id)
    assert [run.id for run in back.runs] == [run.id for run in page.runs]


def test_an_error_is_forgotten_when_nothing_of_it_was_seen_for_long(store: Store, clock: FrozenClock) -> None:
    end(store, "ValueError", "old")
    clock.advance(100)
    end(store, "KeyError", "new")
    assert len(grouped(store)) == 2
    store.run_sync(errors.prune, 50_000)
    (kept,) = store.read_sync(views.errors).errors
    assert kept.type == "KeyError"
    assert store.read_sync(views.error, kept.fingerprint) == kept
    assert store.read_sync(views.error, "0" * 16) is None
