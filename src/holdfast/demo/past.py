"""The day before: some two thousand runs of the shop, written through the engine's verbs with a clock of its own.

Orders come as they do, few at night and many at noon; in the afternoon a bank was down for twenty minutes. What is left
open at the end (something delayed, a newsletter that was paused, a task that nobody knows any more) is there to be
looked at.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from holdfast import codec, storage
from holdfast.clock import FrozenClock, SystemClock
from holdfast.demo import shop, strangers
from holdfast.engine import catalogue, claim, limits, schedules, ticks, trigger, workers
from holdfast.engine.claim import Ask
from holdfast.engine.due import go_on
from holdfast.errors import InvalidOption
from holdfast.ids import least_id, new_id
from holdfast.inside import home_of
from holdfast.model import RunError
from holdfast.records import Again, Claimed, Ended, Invocation, LogLine, NewRun, QueueEntry, TaskEntry
from holdfast.storage import Store
from holdfast.storage.runs import AgainRow, again_row
from holdfast.views.filter import Filter
from holdfast.views.lists import page

HOURS: Final = 24
TICK_MS: Final = 120_000
VERSIONS: Final = ("2026.11.3", "2026.11.4")
HOST: Final = "https://hooks.reef.example"
HOSTS: Final = (HOST, "https://api.tide.example", "http://10.0.4.7:8080")
HOOK: Final = TaskEntry(id="http", queue="http", options="{}", kind="http")
BY_THE_CLOCK: Final = ("count-stock", "nightly-report")
TASKS: Final = ("fulfil-order", "charge-card", "pack", "send-receipt", "import-catalogue", "http", "payment")
MEDIANS_MS: Final = {
    "fulfil-order": 9_000,
    "charge-card": 320,
    "pack": 2_400,
    "send-receipt": 160,
    "http": 240,
    "count-stock": 160_000,
}


def fill(url: str, hours: int = HOURS) -> int:
    """Write so many hours into a database that has no runs. Answers how many there are.

    Raises:
        InvalidOption: it has runs.
    """
    random.seed(7)
    clock = FrozenClock(SystemClock().now() - hours * 3_600_000)
    with closing(storage.open(url, clock=clock, migrate=True)) as store:
        if store.read_sync(page, Filter(), limit=1).runs:
            raise InvalidOption("The demo needs an empty database", seen=store.url, do="Leave --database out.")
        return Past(store, clock).live()


class Past:
    """A worker and its customers."""

    def __init__(self, store: Store, clock: FrozenClock) -> None:
        self.store, self.clock = store, clock
        self.made = 0
        entries = [task.entry(VERSIONS[0]) for task in shop.app.tasks.values()]
        queues = [queue.entry() for queue in (shop.packing, shop.mail)]
        store.run_sync(catalogue.announce, [*entries, HOOK], queues)
        declared = [each for each in home_of(shop.app).schedules if each.task in BY_THE_CLOCK]
        store.run_sync(schedules.declare, shop.app.settings.app, declared)

    def live(self) -> int:
        """Tick by tick."""
        begun, end = self.clock.now(), SystemClock().now()
        visits = strangers.visits()
        worker = self.begin(VERSIONS[0])
        changed = self.clock.now() + (end - self.clock.now()) * 2 // 3
        while self.clock.now() < end - TICK_MS:
            if changed and self.clock.now() > changed:
                self.store.run_sync(workers.stop, worker)
                worker, changed = self.begin(VERSIONS[1]), 0
            self.tick(worker)
            while visits and self.clock.now() - begun > visits[0].at * (end - begun):
                visits.pop(0).come(self.store)
            self.clock.advance(f"{TICK_MS}ms")
        self.store.run_sync(workers.stop, worker)
        self.leave_open()
        for visit in visits:
            visit.come(self.store)
        return self.made

    def begin(self, version: str) -> str:
        entry = workers.WorkerEntry(
            id=new_id(), lease_ms=30_000, host="reef-2", pid=4711, concurrency=32, version=version
        )
        self.store.run_sync(workers.register, entry, [*TASKS, *BY_THE_CLOCK])
        return entry.id

    # -- a tick --

    def tick(self, worker: str) -> None:
        """What comes in, is done a little later, or comes back."""
        runs = [self.order() for _ in range(self.busy())]
        for found in self.store.run_sync(trigger.trigger, runs) if runs else ():
            if isinstance(found, Exception):
                raise found
        self.made += len(runs)
        now, due = self.store.read_sync(ticks.due)
        self.made += len(self.store.run_sync(ticks.fire, [ticks.decide(each, now) for each in due]).runs)
        routes = [way.id for way in self.store.read_sync(workers.routes, [*TASKS, *BY_THE_CLOCK], None, None)]
        self.clock.advance(f"{random.randrange(20, 400)}ms")
        self.store.run_sync(go_on)
        while self.store.run_sync(limits.promote) + self.round(worker, routes):
            pass

    def round(self, worker: str, routes: list[int]) -> int:
        """Claim what is ready, and end it. Answers how much that was."""
        claimed = self.store.run_sync(claim.exchange, Ask(worker, routes, 200, 200), [], [], []).claimed
        for run in sorted(claimed, key=lambda each: (each.task in BY_THE_CLOCK, random.random())):  # the longest last
            self.clock.advance(f"{self.took(run.task)}ms")
            self.end(worker, run)
        return len(claimed)

    def end(self, worker: str, run: Claimed) -> None:
        again: list[AgainRow] = []
        ended: list[Ended] = []
        error = self.luck(run)
        logs = [] if run.task == "http" else [self.line(run, error)]
        if error is not None and run.attempt < 3 and error.type == "shop.BankUnreachable":
            back = Again(run.id, run.claim, delay_ms=random.randrange(1_000, 30_000), error=error.text())
            again.append(again_row(back, worker, run.attempt, run.started_at))
        else:
            output = codec.encode({"ok": True, "at": self.clock.now()}) if error is None else None
            status = "completed" if error is None else "failed"
            ended.append(Ended(run.id, run.claim, status, output, None if error is None else error.text()))
        sent = [self.sent(run, error)] if run.task == "http" else []
        self.store.run_sync(claim.exchange, Ask(worker), ended, again, logs, sent)

    def busy(self) -> int:
        """How many orders come in a tick at this time of the day."""
        hour = self.clock.now() / 3_600_000 % 24
        return round(max(0.0, random.gauss(3.2 + 2.8 * math.sin((hour - 8) / 12 * math.pi), 1.6)))

    def down(self) -> bool:
        """Whether the bank is down."""
        return 4.2 < (SystemClock().now() - self.clock.now()) / 3_600_000 < 4.6

    def order(self) -> NewRun:
        order, task = shop.an_order(), random.choices(TASKS, (2, 4, 3, 4, 0.1, 3, 2))[0]
        payload: Any = order.model_dump(mode="json")
        if task == "charge-card":
            card = {"holdfast:secret": "4242424242424242"}
            payload = {"order": order.number, "customer": order.customer, "amount": order.total, "card": card}
        elif task == "import-catalogue":
            payload = random.randrange(20, 200)
        elif task == "payment":
            payload = strangers.told(order.number, order.total)
        elif task == "http":
            payload = {"url": f"{random.choices(HOSTS, (6, 3, 1))[0]}/orders", "method": "POST"}
        queue = {"pack": "packing", "send-receipt": "mail", "http": "http"}.get(task, f"task/{task}")
        run = self.new(task, payload, queue, [f"customer:{order.customer}", *(["express"] if order.express else [])])
        if task == "pack":
            run.concurrency_key = order.customer
        return run

    def new(self, task: str, payload: Any, queue: str, tags: Sequence[str] = ()) -> NewRun:
        run = NewRun(id=self.id(), task=task, queue=queue, payload=codec.encode(payload))
        run.tags = codec.encode(list(tags)) if tags else None
        return run

    def id(self) -> str:
        """An id as it would have been made then."""
        return least_id(self.clock.now()) + new_id()[10:]

    def took(self, task: str) -> int:
        return max(1, round(MEDIANS_MS.get(task, 500) * random.lognormvariate(0, 0.5)) // 4)

    def luck(self, run: Claimed) -> RunError | None:
        """What goes wrong, if something does."""
        luck = random.random()
        if run.task == "charge-card" and (luck < 0.04 or (self.down() and luck < 0.8)):
            return trouble("shop.BankUnreachable", "read timed out after 2 s", "charge", 121)
        if run.task == "charge-card" and luck < 0.10:
            number = codec.decode(run.payload or "{}").get("order")
            return trouble("shop.CardDeclined", f"order {number}: insufficient funds", "charge", 123)
        if run.task == "http" and luck < 0.07:
            return trouble("holdfast.RequestFailed", "503 Service Unavailable", "deliver", 88)
        if run.task == "import-catalogue" and luck < 0.3:
            return trouble("KeyError", "'price'", "load", 164)
        if run.task == "count-stock" and luck < 0.1:
            return trouble("TimeoutError", "the scale under shelf B4 did not answer", "count", 188)
        return None

    def line(self, run: Claimed, error: RunError | None) -> LogLine:
        text = f"{run.task} for {random.choice(shop.CUSTOMERS)}" if error is None else f"gave up: {error.message}"
        level = "INFO" if error is None else "WARNING"
        return LogLine(run.id, run.claim, 1, self.clock.now(), level, run.attempt, "shop", codec.encode(text))

    def sent(self, run: Claimed, error: RunError | None) -> Invocation:
        url = codec.decode(run.payload or "{}").get("url", HOST)
        total = round(MEDIANS_MS["http"] * 1_000 * random.lognormvariate(0, 0.4))
        status = 200 if error is None else 503
        record = {
            "method": "POST",
            "url": url,
            "error": None,
            "dns_us": 900,
            "connect_us": 14_000,
            "first_byte_us": total - 2_000,
            "reused": False,
            "request_headers": {"Content-Type": "application/json", "Authorization": "**********"},
            "request_bytes": 214,
            "response_headers": {"content-type": "application/json", "server": "reef"},
            "body": '{"accepted": true}' if error is None else "upstream is busy",
            "truncated": False,
        }
        return Invocation(run.id, run.claim, run.attempt, self.clock.now(), status, total, codec.encode(record))

    # -- what is left --

    def leave_open(self) -> None:
        unknown = [("newsletter", "newsletter"), ("task/sync-warehouse", "sync-warehouse")]
        self.store.run_sync(catalogue.ensure_names, [QueueEntry(name=queue) for queue, _ in unknown], unknown)
        letters = [self.new("newsletter", None, "newsletter") for _ in range(40)]
        reminded = [shop.an_order().model_dump(mode="json") for _ in range(6)]
        later = [self.new("send-receipt", order, "mail", ["reminder"]) for order in reminded]
        for n, run in enumerate(later):
            run.delay_ms = (n + 1) * 1_800_000
        gone = [self.new("sync-warehouse", {"since": "yesterday"}, "task/sync-warehouse") for _ in range(3)]
        refunds = [self.refund(shop.an_order()) for _ in "123"]
        loads = [self.new("import-catalogue", 240, "task/import-catalogue")]
        for found in self.store.run_sync(trigger.trigger, [*letters, *later, *gone, *refunds, *loads]):
            if isinstance(found, Exception):
                raise found
        self.store.run_sync(catalogue.pause, "newsletter")
        self.made += len(letters) + len(later) + len(gone) + len(refunds) + len(loads)

    def refund(self, order: shop.Order) -> NewRun:
        tags = [f"order:{order.number}", f"customer:{order.customer}"]
        return self.new("refund", order.model_dump(mode="json"), "task/refund", tags)


def trouble(kind: str, message: str, function: str, line: int) -> RunError:
    code = {
        "charge": "bank.charge(wanted)",
        "load": 'price = row["price"]',
        "count": "weight = scale.read()",
        "deliver": "check(response)",
    }[function]
    place = f'  File "/srv/shop/tasks.py", line {line}, in {function}\n    {code}\n'
    inner = (
        '  File "/usr/lib/python3.12/site-packages/bank/client.py", line 212, in charge\n    raise self.error(answer)\n'
    )
    told = f"Traceback (most recent call last):\n{place}{inner if function == 'charge' else ''}{kind}: {message}\n"
    return RunError(kind, message, told)
