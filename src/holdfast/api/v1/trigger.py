"""Trigger a task: ``POST /api/v1/tasks/{task}/trigger``.

The task's code need not be here: its queue, its defaults and the schema of its payload are in the catalogue, as workers
announced them last. A task that nobody has announced yet is triggered all the same, and waits for who knows it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec
from holdfast.api.auth import caller_of, needs, public_token
from holdfast.api.refused import Refused, path_of
from holdfast.api.v1 import packets, wire
from holdfast.api.v1.documents import answered, documented, said
from holdfast.api.v1.large import fetched
from holdfast.api.v1.repeats import Repeats
from holdfast.api.v1.shown import Said
from holdfast.client import Client
from holdfast.codec import AnyCodec
from holdfast.debounce import Debounce
from holdfast.handle import RunHandle
from holdfast.names import checked_name
from holdfast.options import new_run, read_trigger_options
from holdfast.records import NewRun

OUTPUT: Final = AnyCodec(shows=True)
SLACK_BYTES: Final = 524_288  # for what is around a payload, metadata above all
MOST_TAGS: Final = 10
Optional = msgspec.UnsetType


class QueueSaid(msgspec.Struct):
    """The queue that a run is to stand in."""

    name: str


class DebounceSaid(msgspec.Struct, rename="camel"):
    """A burst of triggers with this key makes one run."""

    key: str
    delay: str
    mode: str | None = None
    max_delay: str | None = None


class KeySaid(msgspec.Struct):
    """An idempotency key as the caller wrote it, before it was hashed."""

    key: str | list[str] | None = None
    scope: str | None = None


class Options(msgspec.Struct, kw_only=True, rename="camel"):
    """What a trigger may say. All of it is optional; what is not known is ignored."""

    queue: QueueSaid | None = None
    concurrency_key: str | None = None
    payload_type: str | None = None
    idempotency_key: str | None = None
    idempotency_key_ttl: str | None = msgspec.field(name="idempotencyKeyTTL", default=None)
    idempotency_key_options: KeySaid | None = None
    delay: str | None = None
    ttl: str | int | None = None
    tags: str | list[str] | None = None
    max_attempts: int | None = None
    metadata: Any = None
    max_duration: float | None = None
    machine: str | None = None
    priority: float | None = None
    region: str | None = None
    lock_to_version: str | None = None
    debounce: DebounceSaid | None = None
    test: bool | None = None


class Trigger(msgspec.Struct):
    """A trigger: the payload, and options."""

    payload: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    options: Options | None = None


class Triggered(msgspec.Struct, rename="camel"):
    """The run; one that was there already, with this idempotency key, is cached."""

    id: str
    is_cached: bool


_trigger: Final = msgspec.json.Decoder(Trigger)
NO_OPTIONS: Final = Options()


NEED: Final = needs("trigger", task="task")
REQUEST: Final = "x-trigger-request-idempotency-key"


def triggering(client: Callable[[], Client]) -> APIRouter:
    """The route, over the database of ``client()``. Calls take a shorter way to it: see ``direct``."""
    router, triggers = APIRouter(), Triggers(client)

    @router.post(
        "/api/v1/tasks/{task:path}/trigger",
        **documented("Trigger a task", needs=NEED, body=Trigger, answer=Triggered),
    )
    async def trigger(request: Request, task: str) -> Response:
        return await triggers.answer(request, task)

    return router


class Triggers:
    """Answers triggers over the database of ``client()``; one that is sent again with what came of it before."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self.client = client
        self.repeats: Repeats[RunHandle[Any]] = Repeats()

    async def answer(self, request: Request, task: str) -> Response:
        """Trigger what a call asks for. Raises Refused, HoldfastError."""
        verbs = self.client()
        body = await said(request, _trigger, verbs.payload_limit * 2 + SLACK_BYTES)
        options, name = body.options or NO_OPTIONS, request_name(request)

        async def make() -> RunHandle[Any]:
            run = await run_of(verbs, task, body.payload, options)
            run.request = name if options.debounce is None and elsewhere(verbs) else None
            return await verbs.atrigger(run, OUTPUT)

        handle = await self.repeats.once(name, make)
        run_id = wire.told("run", handle.id)
        jwt = await public_token(request, [f"read:runs:{run_id}"])
        cached = not handle.created and options.idempotency_key is not None
        return answered(Triggered(run_id, cached), headers={"x-trigger-jwt": jwt})


def elsewhere(client: Client) -> bool:
    """Whether there may be other servers: with a database file there is one, whose memory does, and a row more would
    cost each trigger a tenth."""
    return client.store.kind == "postgres"


def request_name(request: Request) -> str | None:
    """The name of a call, which the client says again when it repeats it; None if it says none. It is the caller's own,
    and of what it asks for."""
    said = request.headers.get(REQUEST)
    if not said:
        return None
    return hashlib.sha256("\n".join((caller_of(request).name, path_of(request), said)).encode()).hexdigest()


async def run_of(
    client: Client, task: str, payload: msgspec.Raw | msgspec.UnsetType, options: Options, batch_id: str | None = None
) -> NewRun:
    """The run that a trigger asks for. Raises Refused, and what an option raises that cannot be used."""
    target = await client.atarget(task)
    text = client.sealed(target.task, codec.encode(await value_of(client, payload, options.payload_type)))
    client.check_payload(target.task, text)
    return new_run(target, text, options_of(options, int(time.time() * 1000)), batch_id=batch_id)


async def value_of(client: Client, payload: msgspec.Raw | msgspec.UnsetType, kind: str | None) -> Any:
    """The payload, or what was brought before under its name. Raises Refused (422)."""
    if kind != packets.STORE:
        return packets.value_of(payload, kind)
    stored, text = await fetched(client, str(packets.json_of(payload)))
    return packets.text_value(text, stored)


def options_of(options: Options, now: int) -> dict[str, Any]:
    """What the options say of a NewRun. Raises Refused, InvalidOption."""
    if options is NO_OPTIONS:
        return {}
    ours: dict[str, Any] = {
        "queue": None if options.queue is None else options.queue.name,
        "concurrency_key": options.concurrency_key,
        "idempotency_key": options.idempotency_key,
        "priority": options.priority,
        "max_attempts": options.max_attempts,
        "metadata": options.metadata,
        "max_duration": options.max_duration,
        "machine": options.machine,
    }
    found = read_trigger_options({name: value for name, value in ours.items() if value is not None})
    fields = dict(found)
    if options.idempotency_key is not None and options.idempotency_key_ttl is not None:
        fields["idempotency_ttl_ms"] = wire.duration_ms(options.idempotency_key_ttl, "idempotencyKeyTTL")
    if tags := tags_of(options.tags):
        fields |= read_trigger_options({"tags": tags})
    if options.debounce is not None:
        fields |= debounce_of(options)
    elif options.delay is not None:
        delay_ms, due_at = wire.when(options.delay, "delay")
        fields |= {"delay_ms": delay_ms} if due_at is None else {"due_at": max(due_at, now)}
    if options.lock_to_version:
        fields["version"] = checked_name(options.lock_to_version, option="lockToVersion")
    if (ttl_ms := ttl_of(options.ttl)) is not None:
        fields["ttl_ms"] = ttl_ms
    if kept := kept_of(options, ttl_ms):
        fields["options"] = codec.encode({**codec.decode(fields.get("options", "{}")), "sdk": kept})
    return fields


def tags_of(tags: str | list[str] | None) -> list[str]:
    found = [tag.strip() for tag in ([tags] if isinstance(tags, str) else tags or []) if tag.strip()]
    if len(found) > MOST_TAGS:
        raise Refused(422, f"Runs can only have {MOST_TAGS} tags, you're trying to set {len(found)}.", param="tags")
    return found


def debounce_of(options: Options) -> dict[str, Any]:
    asked = options.debounce
    if asked is None:
        return {}
    if options.idempotency_key is not None:
        raise Refused(422, "debounce and idempotencyKey are both given: keep one of them", param="debounce")
    longest = None if asked.max_delay is None else wire.duration_ms(asked.max_delay, "debounce.maxDelay") / 1000
    made = Debounce(
        key=asked.key,
        delay=wire.duration_ms(asked.delay, "debounce.delay") / 1000,
        leading=asked.mode != "trailing",
        max_delay=longest,
    )
    return made.fields()


def ttl_of(ttl: str | int | None) -> int | None:
    """A duration, or seconds."""
    if ttl is None:
        return None
    found = ttl * 1000 if isinstance(ttl, int) else wire.duration_ms(ttl, "ttl")
    if found <= 0:
        raise Refused(422, "ttl is no time at all", param="ttl")
    return found


def kept_of(options: Options, ttl_ms: int | None) -> dict[str, Any]:
    """What is kept for the client alone."""
    key = options.idempotency_key_options.key if options.idempotency_key_options is not None else None
    kept = Said(
        key="-".join(key) if isinstance(key, list) else key or options.idempotency_key,
        ttl=None if ttl_ms is None else wire.written_duration(ttl_ms),
        region=options.region,
        test=bool(options.test),
    )
    return msgspec.to_builtins(kept)  # type: ignore[no-any-return]
