"""A run of a test: it shows how it stands whenever it is looked at."""

from __future__ import annotations

import contextlib
from typing import Any, TypeVar, cast

from holdfast.client import Client
from holdfast.codec import Codec
from holdfast.errors import RunFailed, RunNotFound
from holdfast.model import LogLine, Run
from holdfast.records import RunRecord

__all__ = ["Watched"]

R_co = TypeVar("R_co", covariant=True)


class Watched(Run[R_co]):
    """A `Run` that is read anew each time; once it is kept, it stays as it was."""

    __slots__ = ("_client", "_id", "_kept")

    def __init__(self, run_id: str, output: Codec[Any], client: Client) -> None:
        self._id, self._output, self._client = run_id, output, client
        self._kept: Run[R_co] | None = None

    def keep(self) -> None:
        """Stay as it is now: the test's database goes away."""
        with contextlib.suppress(RunNotFound):
            kept = self._now()
            _ = kept.logs
            self._kept = kept

    def _now(self) -> Run[R_co]:
        if self._kept is not None:
            return self._kept
        return cast("Run[R_co]", self._client.retrieve(self._id, self._output))

    @property
    def _record(self) -> RunRecord:  # type: ignore[override]
        return self._now()._record

    @property
    def logs(self) -> list[LogLine]:
        """The lines it wrote, in order."""
        return self._now().logs

    @property
    def output(self) -> R_co:
        """What the task returned. The error of a run that has none is raised with the traceback of the task."""
        try:
            return super().output
        except RunFailed as failed:
            if failed.error.traceback:
                failed.add_note(failed.error.traceback)
            raise

    def __repr__(self) -> str:
        error = self.error
        return f"<Run {self.id} {self.task} {self.status}{f': {error.type}: {error.message}' if error else ''}>"
