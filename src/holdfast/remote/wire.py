"""What is said to a server and what it answers, as Holdfast's own values: options out, runs in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from holdfast import codec, secret
from holdfast.clock import moment_ms, utc
from holdfast.errors import InvalidOption
from holdfast.ids import new_secret
from holdfast.model import RunError
from holdfast.options import TriggerOptions, read_trigger_options
from holdfast.records import RunRecord

SECOND: Final = 1_000
OWN: Final = "task/"
KEY_LASTS: Final = "1d"  # of a call that may be sent again


def options_of(options: TriggerOptions) -> dict[str, Any]:
    """Options of a trigger as the server reads them. What is shorter than a second is rounded up to one.

    A trigger that says by no key which one it is gets one, so that it can be sent again.

    Raises:
        InvalidOption: an option cannot be used, or not from here.
    """
    for name in ("connection", "idempotency_scope"):
        if name in options:
            raise InvalidOption(f"{name} has no meaning over HTTP", seen=name, do="Leave it out.")
    found = read_trigger_options(options)
    said: dict[str, Any] = {}
    if (delay := found.get("delay_ms")) is not None:
        said["delay"] = duration(delay)
    if (due := found.get("due_at")) is not None:
        said["delay"] = iso(due)
    if (ttl := found.get("ttl_ms")) is not None:
        said["ttl"] = duration(ttl)
    if (debounce := options.get("debounce")) is not None:
        said["debounce"] = debounce_of(found)
        said["debounce"]["mode"] = "leading" if debounce.leading else "trailing"
    else:
        lasts = found.get("idempotency_ttl_ms")
        said["idempotencyKey"] = options.get("idempotency_key") or f"call-{new_secret()}"
        said["idempotencyKeyTTL"] = KEY_LASTS if lasts is None else duration(lasts)
    for name, theirs in (("tags", "tags"), ("metadata", "metadata")):
        if found.get(name) is not None:
            said[theirs] = codec.decode(found[name])
    said |= governing(codec.decode(found.get("options") or "{}"))
    return said | routing(options)


def debounce_of(found: Mapping[str, Any]) -> dict[str, Any]:
    said = {"key": found["debounce_key"], "delay": duration(found["debounce_ms"])}
    most = found.get("debounce_max_ms")
    return said if most is None else {**said, "maxDelay": duration(most)}


def governing(options: Mapping[str, Any]) -> dict[str, Any]:
    """What governs an attempt."""
    said = {"maxAttempts": options.get("max_attempts"), "machine": options.get("machine")}
    if (longest := options.get("max_duration_ms")) is not None:
        said["maxDuration"] = longest / SECOND
    return {name: value for name, value in said.items() if value is not None}


def routing(options: TriggerOptions) -> dict[str, Any]:
    """Where a run stands in line."""
    said: dict[str, Any] = {}
    if (queue := options.get("queue")) is not None:
        said["queue"] = {"name": queue if isinstance(queue, str) else queue.name}
    if "concurrency_key" in options:
        said["concurrencyKey"] = options["concurrency_key"]
    if "priority" in options:
        said["priority"] = options["priority"]
    return said


def payload_of(text: str) -> Any:
    """A payload as it is sent: with the values of its secrets, which the server seals again."""
    return secret.opened(codec.decode(text))


def duration(ms: int) -> str:
    return f"{math.ceil(ms / SECOND)}s"


def iso(ms: int) -> str:
    return utc(ms).isoformat(timespec="milliseconds")


def bare(id: str) -> str:
    """An id without the prefix that it has on the wire."""
    return id.rpartition("_")[2]


def moment(text: str | None) -> int | None:
    return None if text is None else moment_ms(datetime.fromisoformat(text), option="a time")


def record_of(said: Mapping[str, Any]) -> RunRecord:
    """A run as the server tells it."""
    related = said.get("relatedRuns", {})
    output = said.get("output")
    return RunRecord(
        id=bare(said["id"]),
        status=said["status"].lower(),
        task=said["taskIdentifier"],
        queue=said.get("queue", ""),
        payload=codec.encode(said.get("payload")),
        output=None if said["status"] != "COMPLETED" else codec.encode(output),
        error=error_of(said.get("error")),
        attempts=said.get("attemptCount", 0) + 1,  # the number of the one that comes next
        crashes=0,
        created_at=moment(said["createdAt"]) or 0,
        started_at=moment(said.get("startedAt")),
        finished_at=moment(said.get("finishedAt")),
        due_at=moment(said.get("delayedUntil")),
        expire_at=None,
        concurrency_key=None,
        priority_ms=0,
        tags=codec.encode(said.get("tags", [])),
        metadata=None if said.get("metadata") is None else codec.encode(said["metadata"]),
        options=None,
        version=said.get("version"),
        idempotency_key=own_key(said.get("idempotencyKey")),
        parent_id=related_id(related.get("parent")),
        root_id=related_id(related.get("root")),
        batch_id=None if said.get("batchId") is None else bare(said["batchId"]),
        worker_id=None,
        cancel_at=None,
        claim=0,
    )


def own_key(key: str | None) -> str | None:
    """A key that a program chose, and not this client for it."""
    return None if key is None or key.startswith("call-") else key


def related_id(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else bare(said["id"])


def error_of(said: Mapping[str, Any] | None) -> str | None:
    if said is None:
        return None
    return RunError(said.get("name") or "Error", said.get("message", ""), said.get("stackTrace") or "").text()
