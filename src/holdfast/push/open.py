"""What a pusher holds: requests that are open, and those that wait for their host.

A host may have as many open requests as there are slots left for others, and never more than its own limit: so however
many hosts are slow, there is always room. What its host has no room for waits here, a little; beyond that it goes back
in line for a while, so that others are claimed past it. The same happens to what a circuit stops.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from holdfast.engine import pushes
from holdfast.push.attempt import Push
from holdfast.push.circuit import GATEWAY, Change, Circuit
from holdfast.records import Claimed
from holdfast.worker.hold import Hold
from holdfast.worker.live import Live
from holdfast.worker.outcome import Outcome, Reason

if TYPE_CHECKING:
    from holdfast.push.deliver import Sender
    from holdfast.push.mail import MailServer
    from holdfast.push.pusher import Pusher, PushSettings
    from holdfast.sign import Signer

log = logging.getLogger("holdfast")

AT_ONCE: Final = 500  # runs in one claim
WAITING: Final = 500  # for one host, here
PATIENCE_SECONDS: Final = 2.0
LONGEST_DEFERRAL_SECONDS: Final = 60.0
FORGOTTEN_HOSTS: Final = 10_000


class Host:
    """A host that requests are sent to."""

    __slots__ = ("circuit", "name", "open", "waiting")

    def __init__(self, name: str) -> None:
        self.name, self.open = name, 0
        self.waiting: deque[Push] = deque()
        self.circuit = Circuit()

    @property
    def quiet(self) -> bool:
        return not (self.open or self.waiting or self.circuit.failures or self.circuit.open)


class OpenRequests(Hold):
    """The attempts of a pusher. A slot is an open request."""

    def __init__(self, pusher: Pusher) -> None:
        super().__init__(pusher.home, pusher.store, pusher.settings, pusher.outbox, pusher.changed)
        self.pusher = pusher
        self.hosts: dict[str, Host] = {}
        self.telling: set[asyncio.Task[None]] = set()

    @property
    def push(self) -> PushSettings:
        return self.pusher.push

    @property
    def sender(self) -> Sender:
        return self.pusher.sender

    @property
    def mail(self) -> MailServer | None:
        return self.pusher.mail

    @property
    def signer(self) -> Signer:
        return self.pusher.signer

    def room(self) -> int:
        return 0 if self.closing else max(0, min(AT_ONCE, self.settings.concurrency - self.running))

    def live(self, run: Claimed) -> Live:
        return Push(run, self.home.tasks[run.task], self)

    # starting

    def start_next(self) -> None:
        """Start what has come in, as far as its hosts have room; the rest waits there, or goes back in line."""
        while self.waiting:
            push = self.waiting.popleft()
            assert isinstance(push, Push)
            if push.claimed.granted and time.monotonic() - self.asked_at > 1:
                self.drop(push, "returned")
            else:
                self.place(push, self.host(push.sent_to))

    def place(self, push: Push, host: Host) -> None:
        now, room = time.monotonic(), self.has_room(host)
        if host.circuit.open and not (room and host.circuit.lets_through(now)):  # what is let through is sent
            push.defer(max(host.circuit.wait(now), 0.0 if deferred(push) == 0 else patience(push)))
        elif room:
            self.send(push, host)
        elif len(host.waiting) < WAITING:
            host.waiting.append(push)
        else:
            push.defer(patience(push))

    def has_room(self, host: Host) -> bool:
        free = self.settings.concurrency - self.running
        return host.open < min(self.push.per_host, free)

    def send(self, push: Push, host: Host) -> None:
        host.open += 1
        self.running += 1
        push.start()

    def host(self, name: str) -> Host:
        found = self.hosts.get(name)
        if found is None:
            if len(self.hosts) >= FORGOTTEN_HOSTS:
                self.hosts = {each.name: each for each in self.hosts.values() if not each.quiet}
            found = self.hosts[name] = Host(name)
        return found

    # ending

    def done(self, live: Live, outcome: Outcome | None) -> None:
        assert isinstance(live, Push)
        host = self.host(live.sent_to) if live.work is not None else None
        if host is not None:
            host.open -= 1
            self.learn(live, host)
        if live.invocation is not None and live.reason != "lost":
            self.outbox.invocations.append(live.invocation)
        super().done(live, outcome)
        if host is not None:
            self.go_on(host)

    def go_on(self, host: Host) -> None:
        """Send what has waited for this host, as far as it has room now."""
        now = time.monotonic()
        while host.waiting and self.has_room(host) and not self.closing:
            push = host.waiting.popleft()
            if host.circuit.open and not host.circuit.lets_through(now):
                push.defer(host.circuit.wait(now))
            else:
                self.send(push, host)

    def learn(self, push: Push, host: Host) -> None:
        """What an answer says of its host."""
        answer, circuit = push.answer, host.circuit
        if answer is None:
            circuit.gave_up()
            return
        if answer.down or answer.status in GATEWAY:
            reason = answer.error or f"it answered {answer.status}"
            self.tell(host, circuit.failed(reason, time.monotonic()))
        elif answer.status is not None:
            self.tell(host, circuit.answered())
        else:
            circuit.gave_up()

    def tell(self, host: Host, change: Change) -> None:
        """Let people see it: in the log, and in the database for the doctor and ``runs show``."""
        if change is None:
            return
        circuit = host.circuit
        if change == "closed":
            log.info("%s answers again: its circuit is closed", host.name)
        else:
            log.warning(
                "%s is down, its circuit is open: %d failures in a row, the last: %s",
                host.name,
                circuit.failures,
                circuit.reason,
            )
        task = self.loop.create_task(self.note(host, change))
        self.telling.add(task)
        task.add_done_callback(self.telling.discard)

    async def note(self, host: Host, change: Change) -> None:
        circuit, store = host.circuit, self.store
        with contextlib.suppress(Exception):  # only people look at it
            if change == "closed":
                await store.run(pushes.close_circuit, host.name)
            else:
                pause = round((circuit.pause) * 1000)
                await store.run(pushes.open_circuit, host.name, circuit.failures, circuit.reason, pause, self.pusher.me)

    # what waits for its host

    def drop(self, live: Live, reason: Reason) -> None:
        assert isinstance(live, Push)
        with contextlib.suppress(ValueError):
            self.host(live.sent_to).waiting.remove(live)
        super().drop(live, reason)

    def drop_waiting(self) -> None:
        super().drop_waiting()
        for host in self.hosts.values():
            while host.waiting:
                push = host.waiting.popleft()
                push.reason = "returned"
                push.abandon()

    def share(self) -> None:
        """What has waited here too long goes back in line: another pusher may have room for it."""
        for host in self.hosts.values():
            while host.waiting and host.waiting[0].age() > PATIENCE_SECONDS:
                push = host.waiting.popleft()
                push.defer(patience(push))

    def lose_all(self) -> None:
        for host in self.hosts.values():
            host.waiting.clear()
        super().lose_all()


def deferred(push: Push) -> int:
    """How often it was put off before: each claim that was not an attempt."""
    return max(0, push.claimed.claim - push.claimed.attempt)


def patience(push: Push) -> float:
    """How long to put it off, in seconds: longer each time."""
    longest = min(LONGEST_DEFERRAL_SECONDS, float(1 << min(deferred(push), 10)))
    return random.uniform(0.5, 1.0) * longest
