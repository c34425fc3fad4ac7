"""The page at ``/``: which database this is, which tasks and workers are known, what stands in the queues.

Everything that users have named is escaped. Nothing is loaded from elsewhere, and nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final, NamedTuple

from holdfast.views import QueueView, TaskView, WorkerView

STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 3rem auto; padding: 0 1rem }
body { color: #222; background: #fff }
h1 { font-size: 1.4rem }
h2 { font-size: 1rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; padding: .25rem 1rem .25rem 0; vertical-align: top }
th { font-weight: normal; color: #777 }
tr + tr { border-top: 1px solid #eee }
code { overflow-wrap: anywhere }
.problem { color: #b00 }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818 }
  tr + tr { border-color: #333 }
  .problem { color: #f77 }
}
"""
MORE: Final = """
<p>The command line shows the rest: <code>holdfast runs list</code>, <code>holdfast runs show ID</code>,
<code>holdfast doctor</code>. For machines: <a href="/healthz">/healthz</a>, <a href="/readyz">/readyz</a>.</p>
"""


class Facts(NamedTuple):
    """What the page tells of a database."""

    tasks: Sequence[TaskView]
    queues: Sequence[QueueView]
    workers: Sequence[WorkerView]


def page(version: str, database: str, facts: Facts | None, problem: str | None = None) -> str:
    """The page as HTML. Without ``facts`` it says what the ``problem`` is."""
    body = [f"<h1>Holdfast {escape(version)}</h1>"]
    if problem is not None:
        body.append(f'<p class="problem">The database does not answer: {escape(problem)}</p>')
    if facts is not None:
        body += [f"<p>Database <code>{escape(database)}</code></p>", *tables(facts)]
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>Holdfast</title><style>{STYLE}</style>"
    return "".join([head, *body, MORE, "</html>"])


def tables(facts: Facts) -> list[str]:
    tasks = [(task.id, task.queue, task.workers or "none") for task in facts.tasks]
    queues = [
        (each.name, limit(each), each.executing, each.queued + each.pending_version, each.delayed)
        for each in facts.queues
    ]
    workers = [
        (each.id, "silent" if each.silent else each.state, f"{each.host}, {each.pid}", each.held)
        for each in facts.workers
    ]
    return [
        table("Tasks", ("task", "queue", "live workers"), tasks),
        table("Queues", ("queue", "limit", "executing", "queued", "delayed"), queues),
        table("Workers", ("worker", "state", "process", "runs in hand"), workers),
    ]


def limit(queue: QueueView) -> str:
    if queue.paused_at is not None:
        return "paused"
    said = [str(queue.concurrency_limit)] if queue.concurrency_limit is not None else []
    said += [f"{queue.concurrency_limit_per_key} per key"] if queue.concurrency_limit_per_key is not None else []
    return ", ".join(said) or "none"


def table(title: str, heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = ["".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows]
    if not lines:
        return f"<h2>{title}</h2><p>None yet.</p>"
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<h2>{title}</h2><table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"
