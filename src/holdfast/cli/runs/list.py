"""``holdfast runs list``: the newest runs, page by page."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from holdfast import views
from holdfast.cli.options import App, Cursor, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.runs.filters import Batch, QueueOption, Since, Status, Tag, TaskOption, read_filter
from holdfast.cli.show import DIM, Column, age, clean, duration, moment, note, now_ms, print_json, print_table, styled
from holdfast.client import Client
from holdfast.ids import made_at
from holdfast.views import Filter, Listed, Page

PATIENCE_SECONDS: Final = 5.0


def list_runs(
    status: Status = None,
    task: TaskOption = None,
    queue: QueueOption = None,
    tag: Tag = None,
    batch: Batch = None,
    since: Since = None,
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=10_000, help="At most so many.")] = 50,
    cursor: Cursor = None,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    wanted = read_filter(status, task, queue, tag, batch, since)
    with opened(database, app) as client:
        page = searched(client, wanted, limit, cursor)
    if json:
        print_json(page)
    else:
        print_page(page)


def searched(client: Client, wanted: Filter, limit: int, cursor: str | None) -> Page:
    """A page, and if the search for it stopped short, the search goes on for as long as somebody likes to wait."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    runs: list[Listed] = []
    while True:
        page = client.read(views.page, wanted, limit=limit - len(runs), before=cursor)
        runs += page.runs
        cursor = page.next_cursor
        if page.complete or len(runs) >= limit or time.monotonic() > deadline:
            return Page(runs=runs, next_cursor=cursor, complete=page.complete)


def print_page(page: Page) -> None:
    now = now_ms()
    if page.runs:
        print_table(columns(now), page.runs)
    elif page.complete:
        note("No runs.")
    if page.next_cursor is None:
        return
    if page.complete:
        note(f"To go on: --cursor {page.next_cursor}")
    else:
        note(f"Looked back as far as {moment(made_at(page.next_cursor))}. To go on: --cursor {page.next_cursor}")


def columns(now: int) -> list[Column]:
    return [
        Column("RUN", lambda run: run.id, style=DIM),
        Column("STATUS", lambda run: styled(run.status)),
        Column("TASK", lambda run: run.task, flexible=True, style="bold"),
        Column("QUEUE", queue_shown, from_width=110, flexible=True),
        Column("KEY", lambda run: run.concurrency_key, from_width=140, flexible=True),
        Column("AGE", lambda run: age(now, run.created_at), right=True),
        Column("TOOK", took, from_width=72, right=True),
        Column("TRY", lambda run: str(run.attempts) if run.attempts > 1 else "", from_width=88, right=True),
        Column("TAGS", lambda run: ", ".join(run.tags), from_width=140, flexible=True),
        Column("NOTE", lambda run: remark(now, run), from_width=84, flexible=True, style=DIM),
    ]


def queue_shown(run: Listed) -> str:
    """Its queue; one of the task's own says nothing that the task does not."""
    return "" if run.queue == f"task/{run.task}" else run.queue


def took(run: Listed) -> str:
    if run.started_at is None or run.finished_at is None:
        return ""
    return duration(run.finished_at - run.started_at)


def remark(now: int, run: Listed) -> str:
    """What there is to say of it in few words."""
    if run.error is not None:
        first = run.error.message.strip().partition("\n")[0]
        return clean(f"{run.error.type}: {first}" if first else run.error.type, one_line=True)
    if run.finished_at is None and run.cancel_requested_at is not None:
        return "cancel requested"
    if run.status == "delayed" and run.due_at is not None:
        return f"due in {duration(run.due_at - now)}" if run.due_at > now else "due"
    return ""
