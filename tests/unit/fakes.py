"""Stand-ins for what stands above the modules under test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from holdfast.batch import Batch
from holdfast.codec import Codec
from holdfast.duration import Duration
from holdfast.handle import BatchHandle, RunHandle
from holdfast.model import Results, Run
from holdfast.options import Rules
from holdfast.queue import Queue
from holdfast.records import Chunk, Claimed, NewRun
from holdfast.task import Task, TaskFactory


class FakeVerbs:
    """Keeps the runs that tasks hand over."""

    def __init__(self) -> None:
        self.runs: list[NewRun] = []
        self.queues: list[Queue] = []

    @property
    def last(self) -> NewRun:
        return self.runs[-1]

    def trigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]:
        self.runs.append(run)
        return RunHandle(run.id, True, self, output)

    async def atrigger(self, run: NewRun, output: Codec[Any], connection: object = None) -> RunHandle[Any]:
        return self.trigger(run, output)

    def batch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]:
        handles = [self.trigger(run, output) for run, output in zip(batch.runs, batch.outputs, strict=True)]
        return BatchHandle(batch.id, handles, self, batch.outputs)

    async def abatch_trigger(self, batch: Batch, connection: object = None) -> BatchHandle[Any]:
        return self.batch_trigger(batch)

    def reset_idempotency_key(self, task: str, key: str) -> bool:
        raise NotImplementedError

    async def areset_idempotency_key(self, task: str, key: str) -> bool:
        raise NotImplementedError

    def declare(self, queue: Queue) -> None:
        self.queues.append(queue)

    def cancel(self, run_id: str) -> None:
        raise NotImplementedError

    async def acancel(self, run_id: str) -> None:
        raise NotImplementedError

    def replay(self, run_id: str, payload: str | None, from_step: str | None) -> str:
        raise NotImplementedError

    async def areplay(self, run_id: str, payload: str | None, from_step: str | None) -> str:
        raise NotImplementedError

    def retrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]:
        raise NotImplementedError

    async def aretrieve(self, run_id: str, output: Codec[Any]) -> Run[Any]:
        raise NotImplementedError

    def finished(self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None) -> Results[Any]:
        raise NotImplementedError

    async def afinished(
        self, ids: Sequence[str], outputs: Sequence[Codec[Any]], timeout: Duration | None
    ) -> Results[Any]:
        raise NotImplementedError

    def updates(self, run_id: str, output: Codec[Any]) -> Iterator[Run[Any]]:
        raise NotImplementedError

    def aupdates(self, run_id: str, output: Codec[Any]) -> AsyncIterator[Run[Any]]:
        raise NotImplementedError

    def chunks(self, run_id: str, name: str, start: int) -> Iterator[tuple[int, Chunk]]:
        raise NotImplementedError

    def achunks(self, run_id: str, name: str, start: int) -> AsyncIterator[tuple[int, Chunk]]:
        raise NotImplementedError


def factory(verbs: FakeVerbs, defaults: Rules | None = None) -> TaskFactory:
    """What ``app.task`` is, for an app that is not there."""

    def register(task: Task[Any, Any]) -> None:
        task.bind(verbs, defaults or Rules())

    return TaskFactory(register)


_NOTHING: dict[str, Any] = dict.fromkeys(Claimed._fields)
CLAIMED = Claimed(**_NOTHING)._replace(
    id="r1",
    claim=2,
    task="greet",
    queue="task/greet",
    payload='"Ada"',
    attempt=1,
    created_at=1_767_225_600_000,
    started_at=1_767_225_601_000,
    priority_ms=0,
    suspect=0,
    lived_ms=0,
    depth=0,
)
