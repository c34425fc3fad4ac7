"""``holdfast runs show``: one run in full, and why it is not running."""

from __future__ import annotations

import json as stdlib_json
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final

import typer
from msgspec.structs import replace

from holdfast import views
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import opened
from holdfast.cli.runs.journal import brief, print_journal
from holdfast.cli.runs.tail import print_line
from holdfast.cli.show import (
    COLOURS,
    DIM,
    Column,
    clean,
    document,
    duration,
    moment,
    note,
    out,
    plural,
    print_json,
    print_table,
    show,
    styled,
    when,
)
from holdfast.client import Client
from holdfast.engine import tokens
from holdfast.errors import RunNotFound
from holdfast.machine import format_bytes, machine_of
from holdfast.model import Progress
from holdfast.storage import Tx
from holdfast.views import AttemptView, LogView, Reason, RelatedRun, RunView, UsageView

LINES: Final = 20
CALM: Final = {"executing": "", "ready": "", "slot_free": "", "not_due": "", "due": ""}  # nothing to worry about
NEWLINE: Final = "\n"


def show_run(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The id of the run.")],
    lines: Annotated[
        int, typer.Option("--lines", metavar="N", min=0, max=10_000, help="The last so many lines of its log.")
    ] = LINES,
    database: Database = None,
    app: App = None,
    json: Json = False,
) -> None:
    """Show a run: why it is not running, its attempts, journal, errors, log, payload and output."""
    with opened(database, app) as client:
        run = client.read(views.run, run_id)
        if run is None:
            raise RunNotFound("There is no run with this id, or no longer", seen=run_id, do="See holdfast runs list.")
        run = with_urls(run, client)
        log = client.read(views.log_end, run_id, lines + 1) if lines else []
    if json:
        print_json({**document(run), "logs": document(log[-lines:] if lines else [])})
    else:
        print_run(run, log, lines)


def with_urls(run: RunView, client: Client) -> RunView:
    """With the URLs at which its open tokens are completed."""
    open_ones = [each.token.id for each in run.journal if each.token is not None and each.token.status == "open"]
    if not open_ones:
        return run
    urls = client.read(token_urls, open_ones, client.token_url)
    journal = [
        replace(each, token=replace(each.token, url=urls.get(each.token.id))) if each.token is not None else each
        for each in run.journal
    ]
    return replace(run, journal=journal)


def token_urls(tx: Tx, ids: list[str], url: Callable[[str, str], str]) -> dict[str, str]:
    found = [tokens.read(tx, each) for each in dict.fromkeys(ids)]
    return {each.id: url(each.id, each.secret) for each in found if each is not None and each.secret is not None}


def print_run(run: RunView, log: list[LogView], lines: int) -> None:
    from rich.text import Text

    head = Text(run.task, style="bold").append("  ").append(run.status, style=COLOURS.get(run.status, ""))
    show(head.append(f"  {run.id}", style=DIM))
    for reason in run.reasons:
        print_reason(reason)
    print_facts(run)
    if len(run.attempts) > 1 or any(each.outcome == "crashed" for each in run.attempts):
        print_attempts(run)
    if run.invocations:
        print_invocations(run)
    if run.journal:
        print_journal(run)
    print_value("Payload", run.payload)
    if run.metadata:
        print_value("Metadata", run.metadata)
    if run.status == "completed":
        print_value("Output", run.output)
    if run.error is not None:
        heading("Error")
        print_indented(run.error.traceback.rstrip() or f"{run.error.type}: {run.error.message}", style="red")
        print_failed_step(run)
    if log:
        heading("Log")
        for line in log[-lines:]:
            print_line(line, attempts=run.attempt > 1)
        if len(log) > lines:
            note(f"These are the last {lines} lines. All of them: holdfast runs tail {run.id}")


def print_failed_step(run: RunView) -> None:
    """Of a run that ended with a failed step: what happened in there."""
    failed = [
        each for each in run.journal if each.kind == "step" and each.status == "failed" and each.error is not None
    ]
    if failed and run.error is not None and run.error.type.endswith("StepFailed") and failed[-1].error is not None:
        heading(f"Error in the step {failed[-1].name}")
        print_indented(failed[-1].error["traceback"].rstrip() or brief(failed[-1].error), style="red")


def heading(text: str) -> None:
    show("")
    out().print(text, style="bold")


def print_reason(reason: Reason) -> None:
    from rich.padding import Padding
    from rich.text import Text

    text = Text(clean(reason.text), style=CALM.get(reason.code, "yellow"))
    if reason.until_at is not None:
        text.append(f" ({moment(reason.until_at)})")
    if reason.do is not None:
        text.append(f"\n→ {clean(reason.do)}", style="cyan")
    show(Padding(text, (0, 0, 0, 2)))


def print_facts(run: RunView) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(run):
        if value:
            table.add_row(name, Text(clean(value)))
    show("")
    show(table)


def facts(run: RunView) -> Iterator[tuple[str, str]]:
    """What is known of it, a line each; what is empty says nothing."""
    now = run.now
    yield "queue", run.queue + (f", key {run.concurrency_key}" if run.concurrency_key is not None else "")
    yield "created", when(now, run.created_at)
    yield "due", when(now, run.due_at) if not run.finished else ""
    yield "expires", when(now, run.expires_at) if run.started_at is None and not run.finished else ""
    yield "started", when(now, run.started_at)
    yield "finished", when(now, run.finished_at)
    if run.started_at is not None and run.finished_at is not None:
        yield "took", duration(run.finished_at - run.started_at)
    yield "progress", progress_fact(run)
    yield "attempt", f"{run.attempt} of {run.max_attempts}" if run.attempt > 1 or not run.finished else ""
    yield "crashes", str(run.crashes) if run.crashes else ""
    yield "worker", worker_fact(run)
    yield "cancel", f"requested {when(now, run.cancel_requested_at)}" if run.cancel_requested_at is not None else ""
    yield (
        "priority",
        f"{duration(abs(run.priority_ms))} {'ahead' if run.priority_ms > 0 else 'behind'}" if run.priority_ms else "",
    )
    yield "machine", f"{run.machine}  ({machine_of(run.machine)})" if run.machine is not None else ""
    yield "used", used(run.attempts[-1].usage) if run.attempts else ""
    yield "tags", ", ".join(run.tags)
    yield "idempotency", run.idempotency_key or ""
    yield "version", run.version or ""
    yield "batch", run.batch_id or ""
    yield "parent", family_fact(run.parent, run.parent_id)
    yield "root", family_fact(run.root, run.root_id) if run.root_id != run.parent_id else ""
    yield "replays", f"{run.replay_of}, from {run.from_step} on" if run.replay_of is not None else ""


def used(usage: UsageView | None) -> str:
    """What an attempt has used, in a few words."""
    if usage is None:
        return ""
    return f"{duration(usage.cpu_ms)} of CPU in {duration(usage.wall_ms)}, up to {format_bytes(usage.memory_bytes)}"


def family_fact(there: RelatedRun | None, run_id: str | None) -> str:
    """A run above this one: what it is of, and how it stands."""
    if there is None:
        return f"{run_id}  (removed)" if run_id is not None else ""
    return f"{there.id}  ({there.task}, {there.status})"


def progress_fact(run: RunView) -> str:
    """How far it is, by what its task tells."""
    progress = Progress.read(run.metadata)
    if progress is None:
        return ""
    of = "" if progress.total is None else f" of {progress.total:,}"
    share = f" ({progress.done / progress.total:.0%})" if progress.total else ""
    return f"{progress.done:,}{of}{share}  {progress.note}".rstrip()


def worker_fact(run: RunView) -> str:
    worker = run.worker
    if worker is None:
        return ""
    state = "silent" if worker.silent else worker.state
    return f"{worker.id}  ({worker.host}, pid {worker.pid}, {state})"


def print_attempts(run: RunView) -> None:
    heading("Attempts")
    columns = [
        Column("", lambda each: str(each.number), right=True),
        Column("OUTCOME", lambda each: styled(each.outcome)),
        Column("TOOK", attempt_took, right=True),
        Column("STARTED", lambda each: moment(each.started_at), from_width=72, style=DIM),
        Column("WORKER", lambda each: each.worker_id, from_width=140, style=DIM),
        Column("ERROR", attempt_error, flexible=True),
    ]
    print_table(columns, run.attempts)


def print_invocations(run: RunView) -> None:
    heading("Invocations")
    columns = [
        Column("", lambda each: str(each.number), right=True),
        Column("STATUS", lambda each: "" if each.status is None else str(each.status), right=True),
        Column("DNS", lambda each: taken(each.dns_us), right=True, from_width=100),
        Column("CONNECT", lambda each: "reused" if each.reused else taken(each.connect_us), right=True, from_width=90),
        Column("FIRST BYTE", lambda each: taken(each.first_byte_us), right=True, from_width=80),
        Column("TOTAL", lambda each: taken(each.total_us), right=True),
        Column("STARTED", lambda each: moment(each.at), from_width=72, style=DIM),
        Column("ANSWER", lambda each: each.error or " ".join(each.body.split()), flexible=True),
    ]
    print_table(columns, run.invocations)
    last = run.invocations[-1]
    note(f"{last.method} {clean(last.url)}. Headers and answers in full: --json")


def taken(microseconds: int | None) -> str:
    if microseconds is None:
        return ""
    return f"{microseconds / 1000:.1f} ms" if microseconds < 10_000_000 else duration(microseconds // 1000)


def attempt_took(each: AttemptView) -> str:
    if each.started_at is None or each.finished_at is None:
        return ""
    return duration(each.finished_at - each.started_at)


def attempt_error(each: AttemptView) -> str:
    """Its class and the first line of what it said."""
    if each.error is None:
        return ""
    return f"{each.error.type}: {each.error.message.strip().partition(NEWLINE)[0]}"


def print_value(name: str, value: Any) -> None:
    """A JSON value: on the line of its name if it is short."""
    text = stdlib_json.dumps(value, ensure_ascii=False)
    if len(text) + len(name) + 4 <= min(out().width, 100):
        from rich.text import Text

        show("")
        show(Text(name, style="bold").append(f"  {clean(text)}", style="not bold"))
        return
    heading(name)
    pretty = stdlib_json.dumps(value, ensure_ascii=False, indent=2)
    shown = pretty.splitlines()
    print_indented("\n".join(shown[:200]))
    if len(shown) > 200:
        note(f"  … {plural(len(shown) - 200, 'more line')}: --json shows everything")


def print_indented(text: str, style: str = "") -> None:
    from rich.padding import Padding
    from rich.text import Text

    show(Padding(Text(clean(text), style=style), (0, 0, 0, 2)))
