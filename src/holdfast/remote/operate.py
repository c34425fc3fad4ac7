"""Queues, schedules and tokens over HTTP, each verb as a pair."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from holdfast import codec
from holdfast.duration import Duration, to_ms
from holdfast.errors import HoldfastError, TokenUnknown, UnknownQueue, UnknownSchedule
from holdfast.ids import new_secret
from holdfast.page import Page
from holdfast.queue import own_queue
from holdfast.remote.connection import Connection, RemoteError
from holdfast.remote.wire import bare, duration, own_key

OWN: Final = own_queue("")
STATUSES: Final[Mapping[str, Any]] = {"WAITING": "open", "COMPLETED": "completed", "TIMED_OUT": "expired"}
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as it stands: how many runs of it execute and wait, and how many may execute at a time; None is any."""

    name: str
    running: int
    queued: int
    paused: bool
    concurrency_limit: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it stands. ``next_at`` is None while it is paused."""

    id: str
    task: str
    cron: str
    timezone: str
    active: bool
    next_at: datetime | None
    external_id: str | None
    deduplication_key: str | None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it stands; ``value`` is what it was completed with."""

    id: str
    url: str
    status: Literal["open", "completed", "expired"]
    tags: list[str]
    value: Any = None


QueueList = list[Queue]  # within a class that has a verb ``list``, that word is the verb
ScheduleList = list[Schedule]
Tags = list[str]


class Queues:
    """The queues of a server. See `Client.queues`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self) -> QueueList:
        """All queues, by name."""
        return self._connection.wait(self._list())

    async def alist(self) -> QueueList:
        """`list` for async code."""
        return await self._connection.awaited(self._list())

    def retrieve(self, name: str, /) -> Queue:
        """One queue. Raises UnknownQueue."""
        return self._connection.wait(self._retrieve(name))

    async def aretrieve(self, name: str, /) -> Queue:
        """`retrieve` for async code."""
        return await self._connection.awaited(self._retrieve(name))

    def pause(self, name: str, /) -> Queue:
        """Let no run of it start until it is resumed. Those that execute go on."""
        return self._connection.wait(self._change(name, "pause", action="pause"))

    async def apause(self, name: str, /) -> Queue:
        """`pause` for async code."""
        return await self._connection.awaited(self._change(name, "pause", action="pause"))

    def resume(self, name: str, /) -> Queue:
        """Let a paused queue go on."""
        return self._connection.wait(self._change(name, "pause", action="resume"))

    async def aresume(self, name: str, /) -> Queue:
        """`resume` for async code."""
        return await self._connection.awaited(self._change(name, "pause", action="resume"))

    def limit(self, name: str, concurrency_limit: int | None, /) -> Queue:
        """Limit how many of its runs execute at a time; None gives the code its say back."""
        return self._connection.wait(self._limit(name, concurrency_limit))

    async def alimit(self, name: str, concurrency_limit: int | None, /) -> Queue:
        """`limit` for async code."""
        return await self._connection.awaited(self._limit(name, concurrency_limit))

    async def _list(self) -> QueueList:
        return [queue_of(each) async for each in everything(self._connection, "queues")]

    async def _retrieve(self, name: str) -> Queue:
        kind, path = named(name)
        return await self._ask(name, "GET", "api", "v1", "queues", path, query={"type": kind})

    async def _change(self, name: str, *verb: str, **said: Any) -> Queue:
        kind, path = named(name)
        return await self._ask(name, "POST", "api", "v1", "queues", path, *verb, body={"type": kind, **said})

    async def _ask(self, name: str, *call: str, **said: Any) -> Queue:
        try:
            return queue_of(await self._connection.ask(*call, **said))
        except RemoteError as error:
            raise unknown(
                error, UnknownQueue("There is no such queue", seen=name, do="See jobs.queues.list().")
            ) from None

    async def _limit(self, name: str, limit: int | None) -> Queue:
        if limit is None:
            return await self._change(name, "concurrency", "reset")
        return await self._change(name, "concurrency", "override", concurrencyLimit=limit)


class Schedules:
    """The schedules of a server. See `Client.schedules`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        task: str,
        cron: str,
        /,
        *,
        timezone: str = "UTC",
        external_id: str | None = None,
        deduplication_key: str | None = None,
    ) -> Schedule:
        """Make a schedule; with a ``deduplication_key`` that one has, change that. Raises RemoteError (422)."""
        return self._connection.wait(self._create(task, cron, timezone, external_id, deduplication_key))

    async def acreate(
        self,
        task: str,
        cron: str,
        /,
        *,
        timezone: str = "UTC",
        external_id: str | None = None,
        deduplication_key: str | None = None,
    ) -> Schedule:
        """`create` for async code."""
        return await self._connection.awaited(self._create(task, cron, timezone, external_id, deduplication_key))

    def list(self) -> ScheduleList:
        """All schedules, the newest first."""
        return self._connection.wait(self._list())

    async def alist(self) -> ScheduleList:
        """`list` for async code."""
        return await self._connection.awaited(self._list())

    def retrieve(self, schedule_id: str, /) -> Schedule:
        """One schedule. Raises UnknownSchedule."""
        return self._connection.wait(self._one("GET", schedule_id))

    async def aretrieve(self, schedule_id: str, /) -> Schedule:
        """`retrieve` for async code."""
        return await self._connection.awaited(self._one("GET", schedule_id))

    def pause(self, schedule_id: str, /) -> Schedule:
        """Let it fire no more until it is resumed."""
        return self._connection.wait(self._one("POST", schedule_id, "deactivate"))

    async def apause(self, schedule_id: str, /) -> Schedule:
        """`pause` for async code."""
        return await self._connection.awaited(self._one("POST", schedule_id, "deactivate"))

    def resume(self, schedule_id: str, /) -> Schedule:
        """Let a paused schedule go on."""
        return self._connection.wait(self._one("POST", schedule_id, "activate"))

    async def aresume(self, schedule_id: str, /) -> Schedule:
        """`resume` for async code."""
        return await self._connection.awaited(self._one("POST", schedule_id, "activate"))

    def delete(self, schedule_id: str, /) -> None:
        """Remove it. The runs that it has made stay."""
        self._connection.wait(self._delete(schedule_id))

    async def adelete(self, schedule_id: str, /) -> None:
        """`delete` for async code."""
        await self._connection.awaited(self._delete(schedule_id))

    async def _create(
        self, task: str, cron: str, timezone: str, external_id: str | None, deduplication_key: str | None
    ) -> Schedule:
        key = deduplication_key or f"call-{new_secret()}"
        body = {"task": task, "cron": cron, "timezone": timezone, "deduplicationKey": key}
        body |= {} if external_id is None else {"externalId": external_id}
        return schedule_of(await self._connection.ask("POST", "api", "v1", "schedules", body=body))

    async def _list(self) -> ScheduleList:
        return [schedule_of(each) async for each in everything(self._connection, "schedules")]

    async def _one(self, method: str, schedule_id: str, *verb: str) -> Schedule:
        return schedule_of(await self._ask(method, schedule_id, *verb))

    async def _delete(self, schedule_id: str) -> None:
        await self._ask("DELETE", schedule_id)

    async def _ask(self, method: str, schedule_id: str, *verb: str) -> Any:
        schedule = f"sched_{bare(schedule_id)}"
        try:
            return await self._connection.ask(method, "api", "v1", "schedules", schedule, *verb)
        except RemoteError as error:
            missing = UnknownSchedule("There is no such schedule", seen=schedule_id, do="See jobs.schedules.list().")
            raise unknown(error, missing) from None


class Tokens:
    """The tokens of a server. See `Client.tokens`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, *, timeout: Duration | None = None, tags: Sequence[str] = (), idempotency_key: str | None = None
    ) -> Token:
        """Make a token; after ``timeout`` (in whole seconds) it can no longer be completed."""
        return self._connection.wait(self._create(timeout, tags, idempotency_key))

    async def acreate(
        self, *, timeout: Duration | None = None, tags: Sequence[str] = (), idempotency_key: str | None = None
    ) -> Token:
        """`create` for async code."""
        return await self._connection.awaited(self._create(timeout, tags, idempotency_key))

    def complete(self, token_id: str, value: Any = None, /) -> None:
        """Complete a token, and let whoever waits for it go on. The first value stays.

        Raises:
            TokenUnknown: there is no such token, or no longer.
            RemoteError: its time is over, or the value does not fit.
        """
        self._connection.wait(self._complete(token_id, value))

    async def acomplete(self, token_id: str, value: Any = None, /) -> None:
        """`complete` for async code."""
        await self._connection.awaited(self._complete(token_id, value))

    def retrieve(self, token_id: str, /) -> Token:
        """How a token stands. Raises TokenUnknown."""
        return self._connection.wait(self._retrieve(token_id))

    async def aretrieve(self, token_id: str, /) -> Token:
        """`retrieve` for async code."""
        return await self._connection.awaited(self._retrieve(token_id))

    def list(self, *, limit: int = 50, cursor: str | None = None) -> Page[Token]:
        """The newest tokens, without their values. ``cursor`` is an earlier page's ``next_cursor``."""
        return self._connection.wait(self._list(limit, cursor))

    async def alist(self, *, limit: int = 50, cursor: str | None = None) -> Page[Token]:
        """`list` for async code."""
        return await self._connection.awaited(self._list(limit, cursor))

    async def _create(self, timeout: Duration | None, tags: Sequence[str], key: str | None) -> Token:
        body: dict[str, Any] = {"idempotencyKey": key or f"call-{new_secret()}"}
        body |= {} if timeout is None else {"timeout": duration(to_ms(timeout, name="timeout"))}
        body |= {"tags": Tags(tags)} if tags else {}
        said = await self._connection.ask("POST", "api", "v1", "waitpoints", "tokens", body=body)
        return Token(bare(said["id"]), said["url"], "open", Tags(tags))

    async def _complete(self, token_id: str, value: Any) -> None:
        token = f"waitpoint_{bare(token_id)}"
        try:
            await self._connection.ask(
                "POST", "api", "v1", "waitpoints", "tokens", token, "complete", body={"data": value}
            )
        except RemoteError as error:
            raise unknown(error, no_token(token_id)) from None

    async def _retrieve(self, token_id: str) -> Token:
        token = f"waitpoint_{bare(token_id)}"
        try:
            return token_of(await self._connection.ask("GET", "api", "v1", "waitpoints", "tokens", token))
        except RemoteError as error:
            raise unknown(error, no_token(token_id)) from None

    async def _list(self, limit: int, cursor: str | None) -> Page[Token]:
        query = {"page[size]": str(limit)} | ({} if cursor is None else {"page[after]": cursor})
        said = await self._connection.ask("GET", "api", "v1", "waitpoints", "tokens", query=query)
        return Page([token_of(each) for each in said["data"]], said["pagination"].get("next"))


async def everything(connection: Connection, things: str) -> AsyncIterator[Mapping[str, Any]]:
    """All of what is listed in numbered pages."""
    page, pages = 0, 1
    while page < pages:
        page += 1
        query = {"page": str(page), "perPage": str(PAGE)}
        said = await connection.ask("GET", "api", "v1", things, query=query)
        pages = said["pagination"]["totalPages"]
        for each in said["data"]:
            yield each


def named(name: str) -> tuple[str, str]:
    """What a queue is called in a path, and what kind of name that is; slashes are encoded once more there."""
    own = name.startswith(OWN)
    return "task" if own else "custom", (name.removeprefix(OWN) if own else name).replace("/", "%2F")


def queue_of(said: Mapping[str, Any]) -> Queue:
    name = own_queue(said["name"]) if said["type"] == "task" else said["name"]
    return Queue(name, said["running"], said["queued"], said["paused"], said["concurrencyLimit"])


def schedule_of(said: Mapping[str, Any]) -> Schedule:
    return Schedule(
        id=bare(said["id"]),
        task=said["task"],
        cron=said["generator"]["expression"],
        timezone=said["timezone"],
        active=said["active"],
        next_at=None if said["nextRun"] is None else datetime.fromisoformat(said["nextRun"]),
        external_id=said["externalId"],
        deduplication_key=own_key(said["deduplicationKey"]),
    )


def token_of(said: Mapping[str, Any]) -> Token:
    value = None
    if said["status"] == "COMPLETED" and "output" in said:
        value = codec.decode(said["output"])
    return Token(bare(said["id"]), said["url"], STATUSES[said["status"]], said["tags"], value)


def no_token(token_id: str) -> TokenUnknown:
    return TokenUnknown("There is no such token, or no longer", seen=token_id, do="See jobs.tokens.list().")


def unknown(error: RemoteError, instead: HoldfastError) -> HoldfastError:
    """What to raise: ``instead`` where there is no such thing."""
    return instead if error.status == 404 else error
