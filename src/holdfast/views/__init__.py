"""What people ask, for the CLI, the API and the dashboard alike: read models without presentation.

    lists       lists of runs, newest first, page by page: filter says which, ways along which indexes, sieve keeps them
    detail      one run in full: attempts, log lines, payload, and why it is not running
    family      the runs around one
    journal     what a run has recorded, with the runs and tokens in it
    marks       whether something has changed, for those who follow it
    why         the reasons, decided purely from what was read
    waits       what a suspended run waits for
    backlog     queues with their limits, and what stands in them
    hosts       workers and tasks
    errors      what went wrong, in groups
    http_hosts  hosts that requests are sent to
    served      who serves what, and so what is pending_version
    scheduled   whether schedules fire
    diagnosis   is anything wrong, and what to do

Everything is ``f(tx, …)`` and only reads. Times are milliseconds since the epoch and end in ``_at``, durations end in
``_ms``. Whatever is asked costs the same with ten million finished runs: counts have a bound (`COUNTED`; a count that
reached it means "or more"), and a search that has looked far enough says where to go on.
"""

from __future__ import annotations

from holdfast.views.backlog import COUNTED, QueueView, queue, queue_names, queues
from holdfast.views.detail import (
    AttemptView,
    InvocationView,
    LogView,
    RunView,
    UsageView,
    heads,
    invocations,
    lines,
    log_end,
    new_runs,
    records,
    run,
)
from holdfast.views.diagnosis import Finding, Health, findings, health
from holdfast.views.errors import ErrorPage, ErrorView, error, errors
from holdfast.views.family import Family, family
from holdfast.views.filter import Filter
from holdfast.views.hosts import TaskView, WorkerView, task, tasks, workers
from holdfast.views.http_hosts import HostView, http_hosts
from holdfast.views.journal import EntryView, RelatedRun, TokenView
from holdfast.views.lists import FAR_OFF, Listed, Page, listed_runs, page
from holdfast.views.marks import Followed, Mark, marks, pulse
from holdfast.views.why import Reason

__all__ = [
    "COUNTED",
    "FAR_OFF",
    "AttemptView",
    "EntryView",
    "ErrorPage",
    "ErrorView",
    "Family",
    "Filter",
    "Finding",
    "Followed",
    "Health",
    "HostView",
    "InvocationView",
    "Listed",
    "LogView",
    "Mark",
    "Page",
    "QueueView",
    "Reason",
    "RelatedRun",
    "RunView",
    "UsageView",
    "TaskView",
    "TokenView",
    "WorkerView",
    "error",
    "errors",
    "family",
    "findings",
    "heads",
    "health",
    "http_hosts",
    "invocations",
    "lines",
    "listed_runs",
    "log_end",
    "marks",
    "new_runs",
    "page",
    "pulse",
    "queue",
    "queue_names",
    "queues",
    "records",
    "run",
    "task",
    "tasks",
    "workers",
]
