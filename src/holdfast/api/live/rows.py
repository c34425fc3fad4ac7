"""The long polls of Trigger.dev's client, which are those of ElectricSQL.

    ?offset=-1                      all runs as they are
    ?offset=123_0&live=true         those that have changed since, as soon as there are any, or nothing after 20 s

The offset is the state of the topic, so no server has to remember whom it has told what. A state that is not known any
more is answered with all runs: rows are whole, and put in the place of earlier ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

import msgspec
from fastapi import Request, Response

from holdfast.api.live.hub import Hub
from holdfast.api.live.topics import Change, Followed, Topic
from holdfast.api.v1 import documents, shown
from holdfast.ids import hash63
from holdfast.records import RunRecord
from holdfast.views import followed
from holdfast.views.followed import Group

HOLD_SECONDS: Final = 20.0
OFFSET: Final = re.compile(r"([0-9]{1,15})_0", re.ASCII)
UP_TO_DATE: Final = {"headers": {"control": "up-to-date"}}
HANDLE: Final = re.compile(r"[0-9]+-([0-9]{1,13})", re.ASCII)
NEEDED: Final = frozenset(("id", "friendlyId", "taskIdentifier", "status", "createdAt", "updatedAt", "completedAt"))


async def polled(hub: Hub, wanted: Followed, request: Request, hidden: frozenset[str]) -> Response:
    """The answer to one poll, without the columns that are ``hidden`` from who asks."""
    query = request.query_params
    state = read_offset(query.get("offset", "-1"))
    skipped = (hidden | frozenset(query.get("skipColumns", "").split(","))) - NEEDED - {""}
    async with hub.following(wanted) as topic:
        if state is not None and query.get("live") == "true":
            await held(topic, state, request)
        changes = None if state is None else topic.after(state)
        now = topic.state
        rows = await changed(hub, changes, skipped) if changes is not None else await present(hub, topic, skipped)
    operation = "insert" if state is None else "update"
    messages = [message(row, operation) for row in rows]
    body = b"[" + b",".join([*messages, msgspec.json.encode(UP_TO_DATE)]) + b"]"
    return Response(body, 200, told(now, wanted), "application/json")


async def held(topic: Topic, state: int, request: Request) -> None:
    """Wait for a change, as long as the client does."""
    woken = asyncio.Event()
    gone = asyncio.create_task(left(request, woken))
    try:
        await topic.news(state, HOLD_SECONDS, woken)
    finally:
        gone.cancel()


async def left(request: Request, woken: asyncio.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    woken.set()


async def present(hub: Hub, topic: Topic, skipped: frozenset[str]) -> list[bytes]:
    return [await row(hub, each, skipped) for each in await hub.present(topic)]


async def changed(hub: Hub, changes: list[Change], skipped: frozenset[str]) -> list[bytes]:
    """The runs of these changes, each once, made once for all readers."""
    rows: list[bytes] = []
    form = ",".join(sorted(skipped))
    for change in {each.run_id: each for each in changes}.values():
        made = change.forms.get(form)
        if made is None and (record := await hub.record(change)) is not None:
            made = await row(hub, record, skipped)
            if change.record is not None:
                change.forms[form] = made
        rows += [made] if made is not None else []
    return rows


async def row(hub: Hub, record: RunRecord, skipped: frozenset[str]) -> bytes:
    streams = await hub.client().aread(followed.stream_names, record.id)
    found = {**shown.row(record), "realtimeStreams": streams}
    return documents.encoded({name: value for name, value in found.items() if name not in skipped})


def message(row: bytes, operation: str) -> bytes:
    head = msgspec.json.encode({"operation": operation})
    run_id = msgspec.json.decode(row, type=Identified).id.encode()
    return b'{"key":"\\"public\\".\\"TaskRun\\"/\\"%b\\"","value":%b,"headers":%b}' % (run_id, row, head)


class Identified(msgspec.Struct):
    id: str


def told(state: int, wanted: Followed) -> Mapping[str, str]:
    """The headers that the client reads; a page in a browser may read them, too."""
    return {
        "electric-handle": handle_of(wanted),
        "electric-offset": f"{state}_0",
        "electric-schema": "{}",
        "electric-cursor": str(state),
        "Cache-Control": "no-store",
        "Access-Control-Expose-Headers": "*",
    }


def handle_of(wanted: Followed) -> str:
    """What the client says again at each poll. From when on the runs of a group are wanted stays what it was at first:
    an hour ago moves on."""
    return f"{hash63(repr(wanted))}-{wanted.since if isinstance(wanted, Group) else 0}"


def since_in(handle: str | None) -> int | None:
    """From when on runs are wanted, as the first poll had it."""
    found = HANDLE.fullmatch(handle or "")
    return int(found[1]) if found else None


def read_offset(text: str) -> int | None:
    """The state in an offset; None for ``-1``, and for what is none of ours."""
    found = OFFSET.fullmatch(text)
    return int(found[1]) if found else None
