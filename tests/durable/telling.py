"""The words of the tests of the journal: entries, as attempts write them, and what became of them."""

from __future__ import annotations

from typing import Any

from holdfast.engine import journal, tokens
from holdfast.engine.journal import Look, Written
from holdfast.ids import new_id
from holdfast.records import Claimed, Ended, Entry, NewEntry, NewRun, NewToken, Suspension
from holdfast.storage import Store
from tests.engine.making import Hand, new


def entry(run: Claimed, key: str, seq: int = 1, **given: Any) -> NewEntry:
    given.setdefault("kind", "step")
    given.setdefault("branch", "")
    given.setdefault("name", key.partition("#")[0])
    return NewEntry(run_id=run.id, claim=run.claim, attempt=run.attempt, key=key, seq=seq, **given)


def child(of: Claimed, key: str, **given: Any) -> NewRun:
    """A run that the entry ``key`` waits for."""
    return new(parent_id=of.id, root_id=of.root_id or of.id, parent_key=key, depth=of.depth + 1, **given)


def waits_for(run: Claimed, *children: NewRun, key: str = "child#1", seq: int = 1) -> NewEntry:
    return entry(run, key, seq, kind="children", state="open", remaining=len(children), runs=list(children))


def waits_on(run: Claimed, token: str, key: str = "wait#1") -> NewEntry:
    return entry(run, key, kind="wait", state="open", target=token)


def write(store: Store, *entries: NewEntry) -> list[Written]:
    """Write these in one transaction; raises what was refused."""
    answers = store.run_sync(journal.write, list(entries))
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return [answer for answer in answers if isinstance(answer, Written)]


def token(store: Store, timeout_ms: int | None = None) -> str:
    return store.run_sync(tokens.create, NewToken(id=new_id(), secret="s", timeout_ms=timeout_ms))[0].id


def suspend(hand: Hand, run: Claimed, seen: int = 0) -> bool:
    """Whether the run has given up its slot."""
    return run.id in hand.exchange(waits=[Suspension(run.id, run.claim, seen)]).suspended


def ending(run: Claimed, status: str = "completed") -> Ended:
    return Ended(run.id, run.claim, status, "null" if status == "completed" else None, awaited=run.awaited)


def stands(store: Store, run: Claimed | str, key: str) -> Entry:
    """An entry as it stands."""
    run_id = run if isinstance(run, str) else run.id
    found = store.read_sync(journal.since, [Look(run_id, 0)])[run_id]
    (there,) = [each for each in found if each.key == key]
    return there


def keys(store: Store, run: Claimed) -> list[str]:
    return [each.key for each in store.read_sync(journal.since, [Look(run.id, 0)])[run.id]]
