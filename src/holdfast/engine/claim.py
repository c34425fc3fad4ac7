"""A worker's round: what it has finished goes out and what it may start comes in, in one transaction and one journey.

A slot that is freed by what has ended goes to the next run of its lane in the same transaction, where there are limits.
Everything a worker needs to know before it sleeps comes along: whether lanes wait to be promoted, whether suspects
wait, when the next delayed run is due, and whether it is still taken to be alive.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from holdfast.engine import aftermath, journal, limits, telling
from holdfast.records import Claimed, Ended, Invocation, LogLine, Suspension, Telling
from holdfast.storage import runs as store_runs
from holdfast.storage.base import Deferred, Row, Tx
from holdfast.storage.runs import AgainRow, Fence, Holding, Place


class Ask(NamedTuple):
    """What a worker can take: ``n`` runs from these routes, at most ``each`` from one, and ``suspects`` of those
    suspects of which a process may hold ``group`` at once.

    Runs that start remember ``version``; if it ``pins``, they go on only where that version is.
    ``since`` tells for routes where their lines began a moment ago. ``idle`` tells, when it changes, whether the worker
    is about to sleep and wants to be notified. Who ``promotes`` gives free slots to the runs that are held for one, and
    may take these, too. ``places`` are the routes of runs with machines, which count among the
    ``n``, and are only taken as far as they fit together into so much CPU and memory.
    """

    me: str
    routes: Sequence[int] = ()
    n: int = 0
    each: int = 1
    group: int = 0
    suspects: int = 0
    idle: bool | None = None
    promotes: bool = False
    since: Mapping[int, int] = store_runs.NOWHERE
    version: str | None = None
    pins: bool = False
    places: Sequence[Place] = ()
    cpu_millis: int = 0
    memory_bytes: int = 0


class Round(NamedTuple):
    """What came of it. ``lost`` are fences that no longer held; ``suspended`` are the runs that gave up their slots;
    ``told`` says that something has settled for which a run of this worker waits. ``promoted`` runs were held and are
    ready now. ``me`` is the worker's state, None if it is unknown."""

    claimed: list[Claimed]
    lost: list[Fence]
    suspended: list[str]
    told: bool
    notes: bool
    suspects: bool
    due_in_ms: int | None
    me: str | None
    promoted: int


def exchange(
    tx: Tx,
    ask: Ask,
    ended: list[Ended],
    again: list[AgainRow],
    logs: list[LogLine],
    invocations: Sequence[Invocation] = (),
    waits: Sequence[Suspension] = (),
) -> Deferred[Round]:
    """Write logs and outcomes, promote, then claim. Everything is fenced; what was not ours any more is named in the
    answer."""
    losses: list[Callable[[], list[Fence]]] = []
    if logs:
        tx.batch("insert_logs", logs)
    if invocations:
        tx.batch("insert_invocations", invocations)
    outcomes: list[Ended | AgainRow] = [*ended, *again]
    if woke := [Holding(run.id, run.claim, ask.me) for run in outcomes if run.woke]:
        journal.lock(tx, [run.id for run in woke], [run.id for run in ended if run.woke])
        store_runs.take_back(tx, woke)
    ended, again = telling.with_outcomes(tx, ended), telling.with_outcomes(tx, again)
    forgetful = [run for run in again if run.forget]
    awaited = [run.id for run in ended if run.awaited]
    journal.lock(tx, [run.id for runs in (forgetful, waits) for run in runs], awaited)
    if ended:
        completed = store_runs.complete(tx, ended)
        losses.append(completed.lost)
        if awaited:
            journal.settle_children(tx, completed.children, awaited)
        aftermath.note_unheard(tx, ended)
    if again:
        for run in forgetful:
            journal.forget(tx, run.id, run.claim, run.forget)
        losses.append(store_runs.put_back(tx, again))
        if any(not run.delay_ms for run in again):
            store_runs.wake(tx, ask.me)
    suspended = suspend(tx, waits) if waits else list
    if ask.idle is not None:
        tx.send("set_idle", me=ask.me, idle=int(ask.idle))
    promoted = limits.promote(tx, ask.me) if ask.promotes else 0  # after this nothing waits for a lock any more
    home = store_runs.Home(ask.version, ask.version if ask.pins else None)
    taken, fit = claim_fitting(tx, ask, home) if ask.places else (0, list)
    wanted, n = (ask.suspects - taken, ask.n) if ask.suspects else (0, ask.n - taken)
    suspects = store_runs.claim(tx, ask.me, ask.routes, n=wanted, each=wanted, suspect=ask.group, home=home)
    plain = store_runs.claim(tx, ask.me, ask.routes, n=n, each=ask.each, since=ask.since, home=home)
    outlook = tx.send("outlook", me=ask.me)

    def read() -> Round:
        (notes, waiting, *later, told, me) = outlook.rows()[0]
        due_in = min((ms for ms in later if ms is not None), default=None)
        rows = [store_runs.claimed(row) for row in (*fit(), *suspects(), *plain())]
        lost = [fence for losses_of in losses for fence in losses_of()]
        return Round(rows, lost, suspended(), bool(told), bool(notes), bool(waiting), due_in, me, promoted)

    return Deferred(read)


def claim_fitting(tx: Tx, ask: Ask, home: store_runs.Home) -> tuple[int, Callable[[], list[Row]]]:
    """Claim runs with machines: suspects and no others while there are some, as they go first, and there may be room
    for them only. Returns how many, and what reads the rows."""
    return store_runs.claim_fitting(
        tx,
        ask.me,
        ask.places,
        n=ask.suspects or ask.n,
        suspect=ask.group if ask.suspects else 0,
        cpu_millis=ask.cpu_millis,
        memory_bytes=ask.memory_bytes,
        home=home,
    )


def payloads(tx: Tx, ids: list[str]) -> dict[str, str]:
    """The payloads that were too big to ride along."""
    return dict(tx.rows("fill_blob", ids=ids, name="payload"))


def suspend(tx: Tx, waits: Sequence[Suspension]) -> Callable[[], list[str]]:
    """Let runs give up their slots, and write what they have told."""
    told = [Telling(wait.id, wait.claim, wait.tidings) for wait in waits if wait.tidings is not None]
    if told:
        telling.write(tx, told)
    return store_runs.suspend(tx, waits)


def held(tx: Tx, me: str) -> list[Fence]:
    """What the database says this worker holds."""
    return [(run_id, claim) for run_id, claim, _ in tx.rows("held", me=me)]


class Orders(NamedTuple):
    """What a worker is told between rounds: its own state, the runs to cancel, and what it is said to hold."""

    state: str | None
    cancel: list[Fence]
    held: list[Fence]
    told: bool


def orders(tx: Tx, me: str) -> Orders:
    """Read a worker's orders; changes nothing."""
    row, there = tx.row("worker_state", me=me), tx.rows("held", me=me)
    cancel = [(run_id, claim) for run_id, claim, canceled in there if canceled]
    return Orders(row[0] if row else None, cancel, [(each[0], each[1]) for each in there], bool(row and row[1]))


class Standing(NamedTuple):
    """The state and claim of runs that are not final; and the runs of a worker in which something has settled, with
    whether somebody waits for their ends."""

    runs: dict[str, tuple[str, int]]
    news: dict[str, bool]


def standing(tx: Tx, me: str, ids: Sequence[str]) -> Standing:
    """How these runs stand that did not give up their slots, and what this worker is to hear."""
    runs = {row[0]: (row[1], row[2]) for row in tx.rows("standing", ids=list(ids))}
    return Standing(runs, journal.take_news(tx, me))


def clear_suspects(tx: Tx, me: str, ids: list[str]) -> None:
    """These have outlived their last life: they are suspects no more."""
    tx.rows("clear_suspect", me=me, ids=ids)


def write_logs(tx: Tx, logs: list[LogLine]) -> None:
    """Write what running attempts have logged so far."""
    tx.batch("insert_logs", logs)
