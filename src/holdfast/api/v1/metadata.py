"""The metadata of a run: ``/api/v1/runs/{id}/metadata``.

It is replaced as a whole, or changed by operations, which are applied under the lock of the run, so that no change is
lost. A key that begins with ``$.`` is a path into it: ``$.user.visits``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from fastapi import APIRouter, Request, Response

from holdfast import codec
from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1 import shown
from holdfast.api.v1.documents import answered, documented, said
from holdfast.api.v1.runs import found
from holdfast.client import Client
from holdfast.engine import amend
from holdfast.engine.amend import Document
from holdfast.records import RunRecord
from holdfast.sizes import METADATA_LIMIT, check_size, size_of

BODY_BYTES: Final = 1_048_576
LATEST_MS: Final = 3_600_000  # after the end of its run, metadata can be changed for so long
DEEP: Final = 20


class Operation(msgspec.Struct):
    """One change: of the value under a key."""

    type: Literal["set", "delete", "append", "remove", "increment", "update"]
    key: str = ""
    value: Any = None


class Change(msgspec.Struct, rename="camel"):
    """All of it anew, or operations: on the run's own, its parent's and its root's."""

    metadata: dict[str, Any] | None = None
    operations: list[Operation] | None = None
    parent_operations: list[Operation] | None = None
    root_operations: list[Operation] | None = None


class Metadata(msgspec.Struct):
    """What it is now."""

    metadata: msgspec.Raw


_change: Final = msgspec.json.Decoder(Change)


def metadata(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter()

    @router.get(
        "/api/v1/runs/{id}/metadata",
        **documented("The metadata of a run", needs=needs("read", run="id"), answer=Metadata, refusals=[404]),
    )
    async def read(id: str) -> Response:
        record = await found(client(), id)
        return answered(Metadata(shown.raw(record.metadata or "{}", payload=record.payload)))

    @router.put(
        "/api/v1/runs/{id}/metadata",
        **documented(
            "Change the metadata of a run",
            needs=needs("write", run="id"),
            body=Change,
            answer=Metadata,
            refusals=[404],
        ),
    )
    async def write(request: Request, id: str) -> Response:
        verbs = client()
        asked = await said(request, _change, BODY_BYTES)
        record = await found(verbs, id)
        if record.finished_at is not None and record.finished_at < verbs.now() - LATEST_MS:
            raise Refused(422, "The run has ended more than an hour ago: its metadata cannot be changed any more")
        after = await verbs.awrite(amend.change_metadata, changes(record, asked))
        changed(request, "runs metadata", record.id)
        text = codec.encode(after.get(record.id, {}))
        return answered(Metadata(shown.raw(text, payload=record.payload)))

    return router


def changes(record: RunRecord, asked: Change) -> dict[str, Callable[[Document], Document]]:
    """What is to become of whose metadata."""
    own = asked.operations if asked.metadata is None else [Operation("update", "", asked.metadata)]
    said = [(record.id, own), (record.parent_id, asked.parent_operations), (record.root_id, asked.root_operations)]
    operations: dict[str, list[Operation]] = {record.id: []}
    for run_id, those in said:
        if run_id is not None and those:
            operations.setdefault(run_id, []).extend(those)
    return {run_id: applying(those) for run_id, those in operations.items()}


def applying(operations: Sequence[Operation]) -> Callable[[Document], Document]:
    def apply(document: Document) -> Document:
        for each in operations:
            document = applied(document, each)
        check_size(size_of(codec.encode(document)), METADATA_LIMIT, what="The metadata", limit="the limit for metadata")
        return document

    return apply


def applied(document: Document, operation: Operation) -> Document:
    """A document after an operation. Raises Refused (422): the operation does not fit what is there."""
    if operation.type == "update":
        if not isinstance(operation.value, Mapping):
            raise Refused(422, "The value of an update is not an object", "value")
        return dict(operation.value)
    return placed(document, path_of(operation.key), operation)


def path_of(key: str) -> list[str]:
    path = key[2:].split(".") if key.startswith("$.") else [key]
    if len(path) > DEEP or not all(path):
        raise Refused(422, "The key of an operation is empty, or a path that cannot be followed", "key")
    return path


def placed(document: Document, path: Sequence[str], operation: Operation) -> Document:
    """The document with the operation applied at the end of the path; objects on the way are made."""
    key, *rest = path
    if rest:
        inner = document.get(key, {})
        if not isinstance(inner, dict):
            raise Refused(422, f"{key} is not an object, so nothing can be under it", "key")
        return document | {key: placed(inner, rest, operation)}
    match operation.type:
        case "set":
            return document | {key: operation.value}
        case "delete":
            return {name: value for name, value in document.items() if name != key}
        case "append":
            there = document.get(key, [])
            return document | {key: [*(there if isinstance(there, list) else [there]), operation.value]}
        case "remove":
            kept = document.get(key)
            if not isinstance(kept, list):
                return document
            return document | {key: [each for each in kept if each != operation.value]}
        case _:
            return document | {key: number(document.get(key, 0), key) + number(operation.value, "value")}


def number(value: Any, name: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(422, f"{name} is not a number, so nothing can be added", "key")
    return value
