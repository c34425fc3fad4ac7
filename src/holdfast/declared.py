"""Declared tasks: what a process must know of a task whose code runs elsewhere.

    train = app.declare("train", User, str)        typed, and without importing the 2 GB of the code that trains
    train.trigger(ada).result()                    str

A declared task has an id and two types. Its queue and its defaults are those that its workers announced last, as with
``app.trigger("train", …)``; a process that only declares it neither announces it nor carries it out. Where the task is
defined as well (one app, in several kinds of process), the definition says what the defaults are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, NoReturn, Protocol, TypeVar, Unpack

from holdfast.annotations import check_type
from holdfast.batch import Item, batch_of
from holdfast.errors import InvalidTask, NotBound
from holdfast.handle import BatchHandle, RunHandle
from holdfast.options import Rules, Target, TriggerOptions
from holdfast.signature import read_signature
from holdfast.task import Task, Verbs

__all__ = ["Declared", "DeclaredVerbs"]

T = TypeVar("T")
R = TypeVar("R")


class DeclaredVerbs(Verbs, Protocol):
    """What declared tasks ask of their app on top: what the workers have announced."""

    def target(self, task: str) -> Target: ...
    async def atarget(self, task: str) -> Target: ...


class Declared(Task[T, R], Generic[T, R]):
    """A task by its id and its types. Made by ``app.declare``; triggered like any other.

    Nothing is known here of when its types change there: what does not fit is refused where it runs.
    """

    def __init__(self, id: str, payload: Any, output: Any, place: str, verbs: DeclaredVerbs) -> None:
        try:
            stand_in = _stand_in(id, payload, output)
            super().__init__(stand_in, read_signature(stand_in), {"id": id})
        except InvalidTask as error:
            error.add_note(f"It is declared at {place}.")
            raise
        self.place = place
        self.definition: Task[Any, Any] | None = None
        self._learned = verbs
        self.bind(verbs, Rules())

    def target(self) -> Target:
        return self.definition.target() if self.definition is not None else self._learned.target(self.id)

    def agrees_with(self, other: Declared[Any, Any]) -> bool:
        """Whether both say the same of the task."""
        return (self.signature.annotation, self.signature.output) == (
            other.signature.annotation,
            other.signature.output,
        )

    async def atrigger(self, payload: Any = None, /, **options: Unpack[TriggerOptions]) -> RunHandle[R]:
        """`trigger` for async code."""
        verbs = self._bound()
        run = self._run_of(await self._atarget(), verbs, payload, options)
        return await verbs.atrigger(run, self.output_codec, options.get("connection"))

    async def abatch_trigger(self, payloads: Iterable[T | Item[R]], /, *, connection: Any = None) -> BatchHandle[R]:
        """`batch_trigger` for async code."""
        verbs = self._bound()
        target = await self._atarget()
        batch = batch_of(payloads, verbs, lambda payload: self._item(target, payload, {}))
        return await verbs.abatch_trigger(batch, connection)

    async def _atarget(self) -> Target:
        if self.definition is not None:
            return self.definition.target()
        return await self._learned.atarget(self.id)

    def _add(self, kind: str, hook: Any) -> NoReturn:
        raise InvalidTask(
            f"Task {self.id} is only declared here, and its hooks are called where its code is",
            seen=f"{kind}, for the task declared at {self.place}",
            do=f"Write @{kind} beside its code, or @app.{kind} in the app of its workers.",
        )

    def __repr__(self) -> str:
        return f"<Task {self.id}, declared>"


def _stand_in(id: str, payload: Any, output: Any) -> Any:
    """A function with the signature that the task has elsewhere."""

    def without() -> NoReturn:
        raise NotBound(f"The code of task {id} is not in this process", do="Trigger it; its workers have the code.")

    def with_payload(payload: Any) -> NoReturn:
        without()

    check_type(payload, f"The payload of task {id}")
    check_type(output, f"The output of task {id}")
    function = without if payload is None or payload is type(None) else with_payload
    function.__annotations__ = {"return": output} | ({} if function is without else {"payload": payload})
    return function
