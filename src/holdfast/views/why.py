"""Why is this run not running?

`situation` reads what bears on it, in one transaction; `reasons` decides purely, and answers the reasons in the order
in which one would have to do something about them. A reason is a sentence that is true at this moment, and what to do
if one wants it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from holdfast import codec
from holdfast.duration import format_ms
from holdfast.engine import pushes
from holdfast.engine.limits import SLACK_MS
from holdfast.engine.pushes import CircuitRow
from holdfast.machine import Machine, format_bytes, machine_in, machine_of
from holdfast.records import RunRecord
from holdfast.request import Request, host_of, request_in
from holdfast.storage import Tx
from holdfast.views.backlog import QueueView, queue
from holdfast.views.hosts import WorkerView, worker, workers, workers_of
from holdfast.views.served import pins
from holdfast.views.waits import MANY, Wait, brief, waits

NAMED: Final = 5  # runs that are named as the holders of slots
LATE_MS: Final = 60_000  # a circuit that was to be tried so long ago, and was not renewed, says nothing any more
AHEAD: Final = 1_000  # runs ahead that are counted


class Reason(msgspec.Struct, kw_only=True, frozen=True):
    """Why a run is not running, or not final. ``code`` is for programs; ``runs`` are those it waits for, a few of them;
    ``until_at`` is when it changes by itself, if that is known."""

    code: str
    text: str
    do: str | None = None
    runs: list[str] = []
    until_at: int | None = None


class Slots(NamedTuple):
    """The slots of a lane or a queue: how many there are, how many are taken, and by whom."""

    limit: int | None
    taken: int
    holders: list[tuple[str, str]]
    rate: int | None
    rate_ms: int | None
    started: int

    @property
    def full(self) -> bool:
        return self.limit is not None and self.taken >= self.limit

    @property
    def too_fast(self) -> bool:
        return self.rate is not None and self.started >= self.rate


class Situation(NamedTuple):
    """What was read about a run that is not final."""

    record: RunRecord
    now: int
    state: str
    suspect: int  # how many suspects like it a process may hold, 0 if it is none
    claimed_at: int | None
    queue: QueueView | None
    knowing: list[WorkerView]  # workers that know the task, live or draining
    others: int  # live workers of any kind
    ahead: int
    key: Slots | None
    whole: Slots | None
    holder: WorkerView | None
    place: int  # among what its worker holds, counted from 0
    last_error: str | None
    pin: str | None = None  # the version that it is pinned to
    waits: Sequence[Wait] = ()  # what it is suspended for
    machine: Machine | None = None  # that it asks for
    sent: bool = False  # it is a request, which pushers send …
    circuit: CircuitRow | None = None  # … and this its host, if that is down

    @property
    def serving(self) -> list[WorkerView]:
        """The live workers that may take it."""
        return [each for each in self.fitting if each.alive and each.takes_from(self.record.queue)]

    @property
    def fitting(self) -> list[WorkerView]:
        """The workers that know the task, in the version that it is pinned to."""
        return [each for each in self.knowing if self.pin is None or each.version == self.pin]

    @property
    def roomy(self) -> list[WorkerView]:
        """The live workers that may take it, and are large enough."""
        return [each for each in self.serving if self.machine is None or each.takes(self.machine)]


# -- reading ----------------------------------------------------------------------------------------------------------


def situation(tx: Tx, record: RunRecord) -> Situation | None:
    """Read what bears on this run; None if it is final by now."""
    row = tx.row("state", id=record.id)
    if row is None:
        return None
    state, queue_id, lane, route, sort_at, _, suspect, claimed_at, now = row
    where = queue(tx, record.queue)
    knowing = workers_of(tx, record.task)
    held = state == "held"
    key = slots(tx, where, lane) if held and where is not None and lane not in (None, queue_id) else None
    whole = slots(tx, where, queue_id) if held and where is not None else None
    here = {"sort_at": sort_at, "id": record.id}
    ahead = place = 0
    if held:
        ahead = tx.rows("ahead_in_lane", queue_id=queue_id, lane_id=lane, bound=AHEAD, **here)[0][0]
    elif state == "ready":
        ahead = tx.rows("ahead", route_id=route, **here)[0][0]
    holder = worker(tx, record.worker_id) if state == "executing" and record.worker_id else None
    if holder is not None:
        place = tx.rows("ahead_in_worker", worker_id=holder.id, claimed_at=claimed_at, **here)[0][0]
    usual = request_of(tx, record)
    return Situation(
        record=record,
        now=now,
        state=state,
        suspect=suspect,
        claimed_at=claimed_at,
        queue=where,
        knowing=knowing,
        others=sum(each.alive for each in workers(tx)),
        ahead=ahead,
        key=key,
        whole=whole,
        holder=holder,
        place=place,
        last_error=last_error(tx, record.id) if state == "delayed" and record.attempts > 1 else None,
        pin=pins(tx, [record.id]).get(record.id),
        waits=waits(tx, record.id) if state == "waiting" else (),
        machine=None if usual is not None else asked(record),
        sent=usual is not None,
        circuit=None if usual is None else circuit(tx, record, usual),
    )


def asked(record: RunRecord) -> Machine | None:
    """The machine that this run asks for."""
    word = machine_in(record.options)
    return None if word is None else machine_of(word)


def request_of(tx: Tx, record: RunRecord) -> Request | None:
    """What the task of this run usually sends; None if it is code."""
    row = tx.row("task_request", id=record.task)
    return None if row is None else request_in(codec.decode(row[0]))


def circuit(tx: Tx, record: RunRecord, usual: Request) -> CircuitRow | None:
    """What a pusher has found of the host that this run's request goes to, if it is down."""
    request = request_in(codec.decode(record.options or "{}")).over(usual)
    return pushes.circuit(tx, host_of(request.url)) if request.url else None


def slots(tx: Tx, where: QueueView, lane: int) -> Slots:
    """The slots of one lane, or of the queue as a whole, and what has started in it under its rate."""
    whole = lane == where.id
    limit, rate, rate_ms = (
        (where.concurrency_limit, where.rate, where.rate_ms)
        if whole
        else (where.concurrency_limit_per_key, where.rate_per_key, where.rate_per_key_ms)
    )
    if whole:
        taken = tx.rows("queue_used", queue_id=where.id)[0][0]
        holders = tx.rows("slots_of_queue", queue_id=where.id, n=NAMED)
    else:
        taken = tx.rows("lane_used", queue_id=where.id, lane_id=lane)[0][0]
        holders = tx.rows("slots_of_lane", queue_id=where.id, lane_id=lane, n=NAMED)
    started = 0
    if rate is not None and rate_ms is not None:
        started = tx.rows("starts_counted", lane_id=lane, window_ms=rate_ms + SLACK_MS)[0][0]
    return Slots(limit, taken, [(run_id, state) for run_id, state in holders], rate, rate_ms, started)


def last_error(tx: Tx, run_id: str) -> str | None:
    """What its last attempt ended with, in short."""
    rows = tx.rows("attempts", run_id=run_id)
    text = rows[-1][6] if rows else None
    return None if text is None else brief(text)


# -- deciding ---------------------------------------------------------------------------------------------------------


def reasons(seen: Situation) -> list[Reason]:
    """Why the run is where it is, the most important reason first."""
    match seen.state:
        case "executing":
            return list(of_executing(seen))
        case "delayed":
            return list(of_delayed(seen))
        case "waiting":
            return list(of_waiting(seen))
        case _:
            return list(of_queued(seen))


def of_queued(seen: Situation) -> Iterator[Reason]:
    """In the order of the hurdles: an end that is near, the queue, the workers, the slot, the line."""
    yield from ending(seen)
    yield from paused(seen)
    yield from down(seen)
    if not seen.serving:
        yield unserved(seen)
        return
    if not seen.roomy:
        yield too_large(seen)
        return
    if seen.state == "held":
        yield from without_slot(seen)
    elif seen.suspect:
        yield suspicion(seen)
    else:
        yield from in_line(seen)


def ending(seen: Situation) -> Iterator[Reason]:
    """It is about to end without having run."""
    if seen.record.cancel_at is not None:
        yield Reason(code="cancel_requested", text="Its cancel was requested: the next sweep ends it.")
    expire = seen.record.expire_at
    if expire is not None and expire <= seen.now and seen.record.started_at is None:
        yield Reason(code="expired", text="Its ttl has passed: the next sweep ends it as expired.")


def paused(seen: Situation) -> Iterator[Reason]:
    if seen.queue is not None and seen.queue.paused_at is not None:
        name = seen.queue.name
        yield Reason(
            code="queue_paused",
            text=f"Its queue {name} has been paused for {format_ms(max(0, seen.now - seen.queue.paused_at))}.",
            do=f"holdfast queues resume {name}",
        )


def unserved(seen: Situation) -> Reason:
    """Nobody takes it; whether for want of workers, of the task, or of the queue."""
    task, queue = seen.record.task, seen.record.queue
    if not seen.others:
        silent = [each for each in seen.knowing if each.silent]
        heard = f" The last was heard of {format_ms(min(each.silent_ms for each in silent))} ago." if silent else ""
        return Reason(code="no_worker", text=f"No worker is alive.{heard}", do="Start one: holdfast worker")
    if seen.pin is not None and not any(each.alive for each in seen.fitting):
        bound = "It was triggered for" if seen.record.started_at is None else "It began with"
        return Reason(
            code="version_gone",
            text=f"{bound} version {seen.pin}, is pinned to that, and no live worker has it.",
            do=f"Start a worker of it (HOLDFAST_VERSION={seen.pin}), or cancel this run and replay it with another",
        )
    if seen.sent and not seen.knowing:
        return Reason(
            code="no_worker",
            text="No pusher is alive, which would send it.",
            do="Start one: holdfast worker, or server",
        )
    alive = [each for each in seen.fitting if each.alive]
    if alive:
        bound = ", ".join(sorted({name for each in alive for name in each.queues or []}))
        return Reason(
            code="queue_not_served",
            text=f"The workers that know {task} take from other queues only: {bound}.",
            do=f"Start one that takes from {queue}: holdfast worker --queues {queue}",
        )
    if any(each.state == "draining" for each in seen.knowing):
        return Reason(code="workers_drain", text=f"The workers that know {task} drain, and take no more runs.")
    return Reason(
        code="task_unknown",
        text=f"No live worker knows the task {task}.",
        do="Start a worker whose app has it, or correct the name: holdfast tasks lists what is known",
    )


def too_large(seen: Situation) -> Reason:
    """No live worker is large enough for its machine."""
    machine = seen.machine
    assert machine is not None
    memory = max(each.memory_bytes or 0 for each in seen.serving)
    cpu = max(each.cpu_millis or 0 for each in seen.serving)
    if not any(each.has(0, machine.memory_bytes) for each in seen.serving):
        text = f"It needs {format_bytes(machine.memory_bytes)}; the largest worker has {format_bytes(memory)}."
    elif not any(each.has(machine.cpu_millis, 0) for each in seen.serving):
        text = f"It needs {machine.cpu:g} vCPU; the largest worker has {cpu / 1000:g}."
    elif not any(each.has(machine.cpu_millis, machine.memory_bytes) for each in seen.serving):
        text = f"It needs {machine}; no worker has both."
    else:
        text = f"It asks for {machine.name}; the workers that are large enough take other machines only."
    return Reason(
        code="machine_too_large",
        text=text,
        do="Start a worker where there is as much, or that may use more (holdfast worker --cpu, --memory)",
    )


def without_slot(seen: Situation) -> Iterator[Reason]:
    """Held: its key's slots, its queue's slots, the rates, or a promotion that comes at once."""
    name, key = seen.record.queue, seen.record.concurrency_key
    blocked = False
    if seen.key is not None and (seen.key.full or seen.key.too_fast):
        blocked = True
        yield from hurdle(
            seen.key, f"Its concurrency key {key} in the queue {name}", "key", f"holdfast queues limit {name} --per-key"
        )
    if seen.whole is not None and (seen.whole.full or seen.whole.too_fast):
        blocked = True
        yield from hurdle(seen.whole, f"Its queue {name}", "queue", f"holdfast queues limit {name}")
    if seen.ahead:
        yield Reason(code="line", text=f"{counted(seen.ahead)} of the same line {are(seen.ahead)} ahead of it.")
    elif not blocked:
        yield Reason(code="slot_free", text="A slot is free: it is given one with the next promotion, within moments.")


def hurdle(slots: Slots, whose: str, kind: str, change: str) -> Iterator[Reason]:
    """A limit that is reached."""
    if slots.full and slots.limit is not None:
        names = ", ".join(run_id for run_id, _ in slots.holders) + (", …" if slots.taken > len(slots.holders) else "")
        held = "that slot is held" if slots.limit == 1 else f"{slots.taken} of {slots.limit} slots are held"
        yield Reason(
            code=f"{kind}_limit",
            text=f"{whose} runs {slots.limit} at a time, and {held} by {names}.",
            do=f"{change} {slots.limit + 1}",
            runs=[run_id for run_id, _ in slots.holders],
        )
    elif slots.rate_ms is not None:
        yield Reason(
            code=f"{kind}_rate",
            text=f"{whose} starts at most {slots.rate} in {format_ms(slots.rate_ms)}, and so many have started.",
        )


def suspicion(seen: Situation) -> Reason:
    deaths = seen.record.crashes
    since = f" ({deaths} such deaths count against it)" if deaths else ""
    company = "one such run" if seen.suspect == 1 else f"at most {seen.suspect} such runs"
    return Reason(
        code="suspect",
        text=f"The process that held it died{since}. It goes before all others, and a worker process takes {company} "
        "at a time.",
    )


def in_line(seen: Situation) -> Iterator[Reason]:
    """Ready: it waits for those ahead, for a slot of a worker, or just for the next look."""
    slots = sum(each.concurrency for each in seen.serving)
    taken = sum(min(each.held, each.concurrency) for each in seen.serving)
    if seen.ahead:
        yield Reason(code="line", text=f"{counted(seen.ahead)} {are(seen.ahead)} ahead of it.")
    if seen.machine is not None and not any(each.has_room(seen.machine) for each in seen.roomy):
        whose = "the worker that is" if len(seen.roomy) == 1 else f"the {len(seen.roomy)} workers that are"
        yield Reason(
            code="machine_busy",
            text=f"It asks for {seen.machine}, and the runs that {whose} large enough for it carry out leave less.",
            do="Start another worker",
        )
    elif taken >= slots:
        whose = "the worker that serves" if len(seen.serving) == 1 else f"the {len(seen.serving)} workers that serve"
        yield Reason(
            code="workers_busy",
            text=f"All {slots} slots of {whose} it are taken.",
            do="Start another worker, or give it more: holdfast worker --concurrency",
        )
    elif not seen.ahead:
        yield Reason(code="ready", text="It is ready: a worker takes it within moments.")


def down(seen: Situation) -> Iterator[Reason]:
    """The host that its request goes to does not answer."""
    found = seen.circuit
    if found is not None and found.until_at > seen.now - LATE_MS:
        yield Reason(
            code="circuit_open",
            text=f"Its host {found.host} has been down for {format_ms(max(0, seen.now - found.since_at))}: "
            f"{found.failures} failures in a row, the last: {found.reason}. Requests to it wait, using up no attempts.",
            until_at=found.until_at if found.until_at > seen.now else None,
        )


def of_delayed(seen: Situation) -> Iterator[Reason]:
    record = seen.record
    yield from ending(seen)
    yield from down(seen)
    left = (record.due_at or seen.now) - seen.now
    if seen.last_error is not None:
        yield Reason(
            code="retry",
            text=f"Attempt {record.attempts - 1} ended with {seen.last_error}. "
            + (f"The next one starts in {format_ms(left)}." if left > 0 else "The next one is due."),
            until_at=record.due_at,
        )
    elif left > 0:
        yield Reason(code="not_due", text=f"It is not due for another {format_ms(left)}.", until_at=record.due_at)
    else:
        yield Reason(code="due", text="It is due: a worker makes it ready within moments.")
    yield from paused(seen)
    if not seen.serving:
        yield unserved(seen)
    elif not seen.roomy:
        yield too_large(seen)


def of_waiting(seen: Situation) -> Iterator[Reason]:
    """Suspended: what has to come, and whether anybody is there to go on with it then."""
    for wait in seen.waits[:NAMED]:
        yield awaited(wait, seen.now)
    if (more := len(seen.waits) - NAMED) > 0:
        yield Reason(
            code="waits",
            text=f"It waits for {more}{' or more' if len(seen.waits) == MANY else ''} other things as well.",
        )
    if not seen.waits:
        yield Reason(code="waiting", text="What it waited for has come: it goes on within moments.")
    if seen.pin is not None and not seen.serving:
        yield unserved(seen)


def awaited(wait: Wait, now: int) -> Reason:
    """One thing that a suspended run waits for."""
    left = None if wait.until_at is None else format_ms(max(0, wait.until_at - now))
    match wait.kind:
        case "sleep":
            return Reason(code="sleeps", text=f"It sleeps for another {left}.", until_at=wait.until_at)
        case "wait":
            within = "" if left is None else f", for another {left}"
            return Reason(
                code="waits_token",
                text=f"It waits for the token {wait.token}{within}.",
                do=f"holdfast tokens complete {wait.token} JSON",
                until_at=wait.until_at,
            )
        case "limit":
            return Reason(
                code="waits_limit", text=f"A time limit in its code is over in {left}.", until_at=wait.until_at
            )
        case "step":
            why = "" if wait.error is None else f" with {wait.error}"
            return Reason(
                code="waits_step",
                text=f"Its step {wait.name} failed{why}, and is tried again in {left}.",
                until_at=wait.until_at,
            )
        case _:
            named = ", ".join(wait.runs) + (", …" if wait.left > len(wait.runs) else "")
            of = "" if wait.kind == "children" and wait.name == "batch" else f" of {wait.name}"
            many = f"{wait.left} of {wait.total} children{of}: {named}" if wait.total > 1 else f"its child{of}, {named}"
            return Reason(code="waits_children", text=f"It waits for {many}.", runs=wait.runs)


def of_executing(seen: Situation) -> Iterator[Reason]:
    """Somebody holds it; what there is to say of them."""
    since = format_ms(max(0, seen.now - (seen.claimed_at or seen.now)))
    holder = seen.holder
    if holder is None or holder.state not in ("live", "draining"):
        yield Reason(
            code="worker_lost", text="Its worker is gone: the next sweep of any host hands it on.", do=nobody(seen)
        )
        return
    if holder.silent:
        yield Reason(
            code="worker_silent",
            text=f"Its worker {holder.id} has been silent for {format_ms(holder.silent_ms)}; its lease is "
            f"{format_ms(holder.lease_ms)}. A host that watches it declares it lost, and the run goes on elsewhere.",
            do=nobody(seen),
        )
    elif seen.place >= holder.concurrency:
        yield Reason(
            code="claimed",
            text=f"Its worker {holder.id} has claimed it ahead, and starts it when one of its "
            f"{holder.concurrency} slots is free.",
        )
    else:
        alone = ", under suspicion since the process that held it before died" if seen.suspect else ""
        yield Reason(code="executing", text=f"Its worker {holder.id} has held it for {since}{alone}.")
    if seen.record.cancel_at is not None:
        yield Reason(
            code="cancel_requested",
            text=f"Its cancel was requested {format_ms(max(0, seen.now - seen.record.cancel_at))} ago: its worker "
            "interrupts it, and kills it after a while if it has a process of its own. A def task that has none keeps "
            "its slot until it returns.",
        )


def nobody(seen: Situation) -> str | None:
    return None if seen.others else "No other worker is alive to take it: holdfast worker"


def counted(count: int) -> str:
    return f"{AHEAD} or more runs" if count >= AHEAD else "1 run" if count == 1 else f"{count} runs"


def are(count: int) -> str:
    return "is" if count == 1 else "are"
