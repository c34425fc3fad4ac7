"""What tests with processes ask of the database while others work on it."""

from __future__ import annotations

from holdfast import Holdfast, views
from holdfast.model import FINAL, STATUSES


def worker_states(app: Holdfast) -> list[str]:
    """The states of all workers that are remembered: first those that work, then those that have ended."""
    return [each.state for each in app.client.read(views.workers, ended=100)]


def open_runs(app: Holdfast, task: str | None = None) -> int:
    """How many runs are not final, of one task or of all."""
    return len(app.runs.list(task=task, status=STATUSES.keys() - FINAL, limit=1000))
