"""The hub: asks the database, for everybody who follows something, what has changed.

However many follow, there is one question at a time: which runs are new in the groups, and how the runs stand that may
still change. Where commits are heard (SQLite) it is asked when one is, else by the clock; and after an answer that took
long it rests for longer, so that the database has most of its time for others. Only runs that have changed are read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple

from holdfast import views
from holdfast.api.live.topics import Change, Followed, Topic
from holdfast.client import Client
from holdfast.errors import DatabaseError
from holdfast.ids import made_at
from holdfast.records import RunRecord
from holdfast.storage import Store, Tx
from holdfast.views import followed
from holdfast.views.followed import Group
from holdfast.views.marks import Mark

log = logging.getLogger("holdfast")

GAP_SECONDS: Final = 0.02
POLL_SECONDS: Final = 0.1  # where commits of others are not heard
HEARING_SECONDS: Final = 1.0  # where they are
REST: Final = 4  # times as long as the last answer took
MEMBERS_SECONDS: Final = 0.25  # between two looks for runs that are new in a group
OVERLAP_MS: Final = 600_000  # a run may be seen this long after it was made: a transaction was open
OUTAGE_SECONDS: Final = 0.5
RECORDS: Final = 200  # read at once


class Look(NamedTuple):
    """What one question answers: the runs of groups, and how runs stand."""

    members: list[list[str]]
    marks: dict[str, Mark]


class Hub:
    """One for an application. Everything happens on the event loop of whoever follows."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self.client = client
        self.topics: dict[Followed, Topic] = {}
        self.working: asyncio.Task[None] | None = None
        self.woken = asyncio.Event()
        self.store: Store | None = None
        self.unhear: Callable[[], None] = lambda: None
        self.rest = GAP_SECONDS
        self.closed = False

    @asynccontextmanager
    async def following(self, wanted: Followed) -> AsyncIterator[Topic]:
        """What this topic is, looked at once at least. Raises what the database raises."""
        topic = self.topics.get(wanted)
        if topic is None:
            topic = self.topics[wanted] = Topic(wanted)
        topic.readers += 1
        try:
            if not topic.known:
                await self.first_look(topic)
            yield topic
        finally:
            topic.readers -= 1
            topic.left_at = time.monotonic()

    async def first_look(self, topic: Topic) -> None:
        self.start()
        self.woken.set()
        told = asyncio.Event()
        topic.problem = None
        topic.waiting.add(told)
        try:
            while not topic.known:
                await told.wait()
                told.clear()
                if topic.problem is not None:
                    raise topic.problem
        finally:
            topic.waiting.discard(told)

    def forget(self, topic: Topic) -> None:
        """A run that is not there may be there soon."""
        self.topics.pop(topic.followed, None)

    def close(self) -> None:
        """End what readers follow: the server stops. Called from any thread."""
        self.closed = True
        working = self.working
        if working is not None and not working.get_loop().is_closed():
            working.get_loop().call_soon_threadsafe(self.tell_all)

    def tell_all(self) -> None:
        for topic in self.topics.values():
            topic.tell()

    async def present(self, topic: Topic) -> list[RunRecord]:
        """All runs of a topic as they are now, the oldest first."""
        return await self.read(sorted(topic.marks)[-followed.MEMBERS :])

    async def record(self, change: Change) -> RunRecord | None:
        """The run of a change, read again if it was not kept."""
        if change.record is not None:
            return change.record
        return next(iter(await self.read([change.run_id])), None)

    # asking

    def start(self) -> None:
        if self.working is None or self.working.done():
            self.woken = asyncio.Event()
            self.working = asyncio.create_task(self.work())

    async def work(self) -> None:
        try:
            while self.topics and not self.closed:
                pause = await self.round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self.woken.wait()
                await asyncio.sleep(self.rest)
                self.woken.clear()
                self.topics = {key: topic for key, topic in self.topics.items() if not topic.forgotten}
        finally:
            self.unhear()
            self.store, self.unhear = None, lambda: None

    async def round(self) -> float:
        """Ask once. Answers how long it may take until the next time."""
        began = time.monotonic()
        try:
            await self.listen()
            await self.ask(began)
        except Exception as error:
            if not isinstance(error, DatabaseError):
                log.exception("what is followed could not be looked at")
            for topic in self.topics.values():
                if not topic.known:
                    topic.problem = error
                    topic.tell()
            return OUTAGE_SECONDS
        self.rest = max(GAP_SECONDS, min(1.0, REST * (time.monotonic() - began)))
        assert self.store is not None
        return HEARING_SECONDS if self.store.wakes_for_all and self.store.early else POLL_SECONDS

    async def listen(self) -> None:
        """Hear the commits of the database that is in use, which may be another one by now."""
        client = self.client()
        store = await asyncio.to_thread(lambda: client.store)
        if store is self.store:
            return
        self.unhear()
        self.store, self.unhear = store, lambda: None
        if store.wakes_for_all:
            loop, woken = asyncio.get_running_loop(), self.woken
            store.listen()
            self.unhear = store.wakeups.subscribe(partial(wake, loop, woken))

    async def ask(self, now: float) -> None:
        assert self.store is not None
        topics = list(self.topics.values())
        due = [
            topic for topic in topics if isinstance(topic.followed, Group) and now - topic.looked_at >= MEMBERS_SECONDS
        ]
        ids = {run_id for topic in topics for run_id in topic.open}
        ended = {run_id for topic in due for run_id in topic.marks.keys() - topic.open}
        found = await self.store.read(look, [since(topic) for topic in due], ids, ended)
        for topic, members in zip(due, found.members, strict=True):
            topic.add(reversed(members))
            topic.looked_at = now
        changed = {topic: topic.changed(found.marks) for topic in topics}
        records = {
            each.id: each for each in await self.read(sorted({each for ids in changed.values() for each in ids}))
        }
        for topic in topics:
            mine = [records[run_id] for run_id in sorted(changed[topic]) if run_id in records]
            fresh, topic.known = not topic.known, True
            if mine or fresh:
                topic.take(found.marks, mine)

    async def read(self, ids: Sequence[str]) -> list[RunRecord]:
        found: list[RunRecord] = []
        for start in range(0, len(ids), RECORDS):
            found += await self.client().aread(views.records, ids[start : start + RECORDS])
        return found


def wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Event) -> None:
    """Something was committed. Called from storage threads, for every commit."""
    if not woken.is_set() and not loop.is_closed():
        loop.call_soon_threadsafe(woken.set)


def look(tx: Tx, groups: list[Group], ids: set[str], ended: set[str]) -> Look:
    """Which runs are in these groups, and how they stand, these runs too; but not those that have ended long since."""
    members = followed.members(tx, groups)
    new = {run_id for each in members for run_id in each} - ended
    return Look(members, followed.standing(tx, sorted(ids | new)))


def since(topic: Topic) -> Group:
    """What is new in a group: not before the newest of its runs, but for those that are seen late."""
    group = topic.followed
    assert isinstance(group, Group)
    newest = max(topic.marks, default=None)
    return group if newest is None else group._replace(since=max(group.since, made_at(newest) - OVERLAP_MS))
