"""What hooks are told of a run: its snapshot, its payload and what they share, made into the event that each takes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from holdfast.events import Cancellation, Completion, Event, Failure, Success
from holdfast.model import Run, RunError
from holdfast.records import Claimed, Ended, RunRecord
from holdfast.worker.hooks import Caller


class Told(NamedTuple):
    """The facts that every event of a run has."""

    run: Run[Any]
    payload: Any
    state: dict[str, Any]

    def event(self) -> Event[Any]:
        return Event(self.run, self.payload, state=self.state)

    def success(self, output: Any) -> Success[Any, Any]:
        return Success(self.run, self.payload, output, state=self.state)

    def failure(
        self, error: RunError, exception: BaseException | None = None, retry_in: timedelta | None = None
    ) -> Failure[Any]:
        return Failure(self.run, self.payload, error, exception=exception, retry_in=retry_in, state=self.state)

    def cancellation(self) -> Cancellation[Any]:
        return Cancellation(self.run, self.payload, state=self.state)

    def completion(self) -> Completion[Any, Any]:
        return Completion(self.run, self.payload, state=self.state)


async def tell_end(
    caller: Caller,
    told: Told,
    *,
    output: Any = None,
    error: RunError | None = None,
    raised: BaseException | None = None,
) -> None:
    """Call the hooks for the end that the run has come to."""
    if told.run.status == "completed":
        await caller.tell("on_success", told.success(output))
    elif told.run.status == "canceled":
        await caller.tell("on_cancel", told.cancellation())
    elif error is not None:
        await caller.tell("on_failure", told.failure(error, raised))
    await caller.tell("on_complete", told.completion())


def record_of(
    claimed: Claimed, *, payload: str, metadata: str | None, worker: str, now: int, ended: Ended | None
) -> RunRecord:
    """What a reader would be told of a run that an attempt holds; if it has ``ended``, of the run as it ends now."""
    return RunRecord(
        id=claimed.id,
        status=ended.status if ended else "executing",
        task=claimed.task,
        queue=claimed.queue,
        payload=payload,
        output=ended.output if ended else None,
        error=ended.error if ended else None,
        attempts=claimed.attempt,
        crashes=0,
        created_at=claimed.created_at,
        started_at=claimed.began_at,
        finished_at=now if ended else None,
        due_at=None,
        expire_at=claimed.expire_at,
        concurrency_key=claimed.concurrency_key,
        priority_ms=claimed.priority_ms,
        tags=claimed.tags,
        metadata=metadata,
        options=claimed.options,
        version=claimed.version,
        idempotency_key=claimed.idempotency_key,
        parent_id=claimed.parent_id,
        root_id=claimed.root_id,
        batch_id=claimed.batch_id,
        worker_id=worker,
        cancel_at=None,
        claim=claimed.claim,
    )
