"""The journal: what an attempt writes of what it has done, and what wakes a run that waits.

    write     entries of attempts, each under its fence, and with those that trigger, the runs that they make
    settle    what ended: children, tokens, times that are over; the run is woken, or told if it executes
    since     what has settled in runs since their worker last looked

An entry is settled once, and numbered in the order in which that happened to its run: the run's row is locked before
the number is taken. A run that executes is told by its mark ``news``, which also keeps it from being suspended: what it
waits for has come already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from holdfast.engine import telling
from holdfast.engine.trigger import Made, make
from holdfast.errors import AttemptLost
from holdfast.records import Claimed, Entry, Here, NewEntry, NewToken, Recorded, Triggered
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Row, Tx, repeatable
from holdfast.storage.runs import Fence

ENDS = 500  # told in one sweep


class Written(msgspec.Struct):
    """What became of an entry: as it stands now, the runs made with it, those of them that were ``claimed`` here, and
    whether something else has settled."""

    entry: Entry
    runs: list[Triggered | Exception] = []
    claimed: list[Claimed] = []
    news: bool = False


class Count(msgspec.Struct):
    """So many children that an entry waits for have ended."""

    id: str
    key: str
    n: int


class Waiter(msgspec.Struct):
    """An entry that waits for a run that is not a child."""

    target: str
    run_id: str
    key: str


class Look(msgspec.Struct):
    """A run, and the number of the last settled entry that its worker knows."""

    id: str
    since: int


# -- what attempts write ----------------------------------------------------------------------------------------------


@repeatable
def write(tx: Tx, entries: list[NewEntry]) -> list[Written | Exception]:
    """Write entries, each if its attempt still holds its run; one that is there already is answered as it stands."""
    tokens = {entry.target or "" for entry in entries if entry.kind == "wait"}
    answers = {token: tx.row("share_token", id=token) for token in sorted(tokens)}
    there = tx.rows("hold_run", ids=sorted({entry.run_id for entry in entries}))
    held = {(row[0], row[1]): bool(row[2]) for row in there}
    mine = [entry for entry in entries if (entry.run_id, entry.claim) in held]
    for entry in mine:
        if entry.kind == "wait":
            answer_at_once(entry, answers[entry.target or ""])
    telling.write_chunks(tx, [chunk for entry in mine for chunk in entry.chunks])
    number(mine)
    rows = {(row[0], row[1]): row for row in tx.batch("write_entries", list(map(bare, mine))).rows()} if mine else {}
    trust(tx, {row[0] for row in there if row[3]} & {run_id for run_id, _ in rows})
    return [
        written(tx, entry, rows.get((entry.run_id, entry.key)), held[entry.run_id, entry.claim])
        if (entry.run_id, entry.claim) in held
        else lost(entry)
        for entry in entries
    ]


def number(entries: Iterable[NewEntry]) -> None:
    """The order within this transaction of what is settled in one run."""
    places: dict[str, int] = {}
    for entry in entries:
        places[entry.run_id] = entry.place = places.get(entry.run_id, 0) + 1


def bare(entry: NewEntry) -> NewEntry:
    """An entry without the runs that are made with it: they go their own way."""
    return msgspec.structs.replace(entry, runs=[], here=Here()) if entry.runs else entry


def written(tx: Tx, entry: NewEntry, row: Row | None, news: bool) -> Written:
    if row is None:  # an earlier claim of this run has written it, and its answer was lost
        there = tx.row("entry", run_id=entry.run_id, key=entry.key)
        assert there is not None
        return Written(Entry._make(there), news=news)
    runs, claimed = make_runs(tx, entry) if entry.runs else Made([], [])
    if entry.token is not None:
        make_token(tx, entry.run_id, entry.token)
    stands = Entry(
        entry.run_id,
        entry.key,
        entry.seq,
        entry.branch,
        entry.kind,
        entry.name,
        entry.digest,
        entry.state,
        row[2],
        entry.target,
        row[3],
        entry.tries,
        entry.result,
        entry.error,
    )
    return Written(stands, runs, claimed, news)


def make_runs(tx: Tx, entry: NewEntry) -> Made:
    """Make the runs that an entry triggers. Those it waits for, and that others have made, are waited for apart."""
    made = make(tx, entry.runs, entry.here).read()
    outcomes = made.outcomes
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
    if any(isinstance(outcome, Triggered) and not outcome.created for outcome in outcomes):
        keep_earlier_runs(tx, entry, [outcome for outcome in outcomes if isinstance(outcome, Triggered)])
    return made


def keep_earlier_runs(tx: Tx, entry: NewEntry, outcomes: list[Triggered]) -> None:
    """Some of its runs were there already, made by others with the same idempotency keys."""
    own = {outcome.id for outcome in outcomes if outcome.created}
    others = {outcome.id for outcome in outcomes} - own
    entry.result = msgspec.json.encode(led_to(entry, outcomes)).decode()
    remaining = len(own | others) if entry.remaining else 0  # several items may have led to one run
    tx.send("set_result", run_id=entry.run_id, key=entry.key, result=entry.result, remaining=remaining)
    if entry.remaining and others:
        await_others(tx, entry, sorted(others))


def await_others(tx: Tx, entry: NewEntry, others: Sequence[str]) -> None:
    """Let these runs, which are no children, tell of their ends. One that has ended already does so here."""
    going_on = {row[0] for row in tx.rows("mark_awaited", ids=list(others))}
    tx.batch("insert_waiters", [Waiter(other, entry.run_id, entry.key) for other in others if other in going_on])
    count_down(tx, {(entry.run_id, entry.key): len(others) - len(going_on)})


def led_to(entry: NewEntry, outcomes: list[Triggered]) -> list[object]:
    """The runs of an entry; of one that is not waited for, whether it made them, too."""
    if not entry.remaining:
        return [(outcome.id, outcome.created) for outcome in outcomes]
    there = {run.id: outcome.id for run, outcome in zip(entry.runs, outcomes, strict=True)}
    return [there.get(run_id, run_id) for run_id in msgspec.json.decode(entry.result or "[]")]


def forget(tx: Tx, run_id: str, claim: int, keys: Sequence[str]) -> None:
    """Let the next attempt try these failures again. Of a batch of children only those that failed are."""
    tx.send("forget_ends", run_id=run_id, claim=claim, keys=list(keys))
    tx.send("forget_entries", run_id=run_id, claim=claim, keys=list(keys))


def make_token(tx: Tx, run_id: str | None, token: NewToken) -> bool:
    """False if there is one with this idempotency key."""
    return bool(
        tx.rows(
            "insert_token",
            id=token.id,
            run_id=run_id,
            schema=token.schema,
            tags=token.tags,
            idempotency_key=token.idempotency_key,
            secret=token.secret,
            timeout_ms=token.timeout_ms,
        )
    )


def trust(tx: Tx, suspects: set[str]) -> None:
    """These have recorded something new since their process died."""
    if suspects:
        tx.rows("trust", ids=sorted(suspects))


def answer_at_once(entry: NewEntry, token: Row | None) -> None:
    """A token may have been completed before it is waited for: the entry is settled when it is written."""
    if token is None:
        entry.state = "failed"
        return
    _, state, expires_at, result, now = token
    entry.due_at = expires_at
    if state == "completed":
        entry.state, entry.result = "done", result
    elif expires_at is not None and expires_at <= now:
        entry.state = "expired"


def lost(entry: NewEntry) -> AttemptLost:
    return AttemptLost(
        f"this attempt no longer holds its run, so {entry.name} is not recorded",
        seen=f"run {entry.run_id}, claim {entry.claim}",
        do="let it end: the run has been taken over, or is finished",
    )


# -- what settles -----------------------------------------------------------------------------------------------------


def lock(tx: Tx, own: Sequence[str], ended: Sequence[str] = ()) -> None:
    """Lock runs of one's own, and who waits for those that are about to end, all at once and by id: whoever needs
    several rows takes them in this order."""
    if tx.kind == "postgres" and (own or ended):
        tx.send("lock_family", own=sorted(own), ended=sorted(ended))


def settle_children(tx: Tx, children: Callable[[], Counter[tuple[str, str]]], ended: Sequence[str]) -> None:
    """Tell who waits for these runs, which have just ended: of so many ``children`` each of these entries, and others.
    They are read once both are under way."""
    others = tx.send("ended_others", ids=list(ended))
    counts = children()
    if found := others.rows():  # perhaps they have begun to wait since the locks were taken
        tx.rows("lock_waiting", ids=sorted({row[0] for row in found}))
    counts.update((run_id, key) for run_id, key in found)
    count_down(tx, counts)


def count_down(tx: Tx, counts: Mapping[tuple[str, str], int]) -> None:
    ends = [Count(run_id, key, n) for (run_id, key), n in sorted(counts.items()) if n]
    if not ends:
        return
    answer = tx.batch("settle_children", ends)
    if tx.kind == "sqlite":
        wake(tx, {run_id for run_id, state in answer.rows() if state == "done"})


def wake(tx: Tx, ids: Iterable[str]) -> None:
    """Something that these runs wait for has settled. Their rows are locked already, or are locked here one by one."""
    wanted = sorted(ids)
    if not wanted:
        return
    woken = tx.rows("wake", ids=wanted)
    store_runs.leave_notes(tx, ((queue, lane) for _, queue, lane, state in woken if state == "held"))
    store_runs.wake(tx)


def settle_others(tx: Tx, n: int = ENDS) -> int:
    """Runs that ended before their workers heard that others than their parents wait for them: a sweep. Answers how
    many there were."""
    found = tx.rows("foreign_ends", n=n)
    if found:
        tx.rows("lock_waiting", ids=sorted({row[1] for row in found}))
    counts: Counter[tuple[str, str]] = Counter()
    for target, run_id, key in found:
        if tx.rows("forget_waiters", target=target, run_id=run_id, key=key):  # else another sweep has just told it
            counts[run_id, key] += 1
    count_down(tx, counts)
    return len(found)


def expire(tx: Tx, ids: Sequence[str]) -> None:
    """Settle what is due in these runs, whose rows are locked here."""
    if ids:
        tx.send("lock_waiting", ids=sorted(ids))
        settle_due(tx, ids)


def settle_due(tx: Tx, ids: Sequence[str]) -> None:
    """The same where their rows are locked."""
    if ids:
        tx.send("expire_entries", ids=list(ids))
        wake(tx, ids)


# -- what workers read ------------------------------------------------------------------------------------------------


def since(tx: Tx, looks: Sequence[Look]) -> dict[str, list[Entry]]:
    """What has settled in these runs since their worker last looked; everything, where that was never."""
    found: dict[str, list[Entry]] = {look.id: [] for look in looks}
    for row in tx.batch("entries", looks).rows() if looks else []:
        found[row[0]].append(Entry._make(row))
    return found


def news(tx: Tx, looks: Sequence[Look]) -> tuple[dict[str, list[Entry]], list[Fence]]:
    """The same of runs that execute, and which of them are canceled. In this order: a child that was canceled with its
    parent is not heard of before that."""
    found = since(tx, looks)
    return found, [(row[0], row[1]) for row in tx.rows("canceled_of", ids=sorted(found))] if found else []


def take_news(tx: Tx, me: str) -> dict[str, bool]:
    """The runs of this worker in which something has settled, and whether somebody waits for their ends."""
    return {row[0]: bool(row[1]) for row in tx.rows("take_news", me=me)}


def of_run(tx: Tx, run_id: str) -> list[Recorded]:
    """A run's whole journal, for people to read."""
    return [Recorded._make(row) for row in tx.rows("journal", run_id=run_id)]
