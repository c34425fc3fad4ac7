"""Declared tasks, on both databases: typed triggering without the code, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from holdfast import DuplicateTask, Holdfast, InvalidOption, InvalidTask, NotBound, PayloadInvalid, Queue, Task
from holdfast.engine import catalogue
from holdfast.records import TaskEntry
from tests.engine.making import Hand


class User(BaseModel):
    id: int


class Model(BaseModel):
    loss: float


@pytest.fixture
def web(database_url: str) -> Iterator[Holdfast]:
    """An app that has no code of the tasks it triggers."""
    app = Holdfast(database_url)
    yield app
    app.close()


@pytest.fixture
def train(web: Holdfast) -> Task[User, Model]:
    return web.declare("train", User, Model)


@pytest.fixture
def hand(web: Holdfast) -> Hand:
    """The worker that has it."""
    entry = TaskEntry(id="train", queue="gpu", options='{"ttl_ms": 3600000, "priority_ms": 5000}')
    web.client.store.run_sync(catalogue.announce, [entry], [])
    return Hand(web.client.store, "train")


def test_a_declared_task_is_triggered_where_and_how_its_workers_say(
    web: Holdfast, train: Task[User, Model], hand: Hand
) -> None:
    handle = train.trigger(User(id=1))
    run = handle.retrieve()
    assert (run.task, run.queue, run.priority, run.payload) == ("train", "gpu", 5, {"id": 1})
    assert run.expires_at is not None
    [claimed] = hand.claim()
    hand.end(claimed, output='{"loss":0.5}')
    assert handle.result(timeout="30s") == Model(loss=0.5)


async def test_and_so_it_is_from_async_code_and_in_batches(web: Holdfast, train: Task[User, Model], hand: Hand) -> None:
    handle = await train.atrigger(User(id=1), queue="slow", priority=1)
    assert ((await handle.aretrieve()).queue, (await handle.aretrieve()).priority) == ("slow", 1)
    batch = await train.abatch_trigger([User(id=2), train.item(User(id=3), delay="1h")])
    assert [(await run.aretrieve()).queue for run in batch.runs] == ["gpu", "gpu"]
    mixed = web.batch_trigger([train.item(User(id=4))])
    assert mixed.runs[0].retrieve().payload == {"id": 4}


async def test_before_anybody_announced_it_it_waits_in_a_queue_of_its_own(train: Task[User, Model]) -> None:
    assert train.trigger(User(id=1)).retrieve().queue == "task/train"
    run = await (await train.atrigger(User(id=1))).aretrieve()
    assert (run.queue, run.status) == ("task/train", "pending_version")


def test_the_types_are_checked_here_also_by_name(web: Holdfast, train: Task[User, Model]) -> None:
    with pytest.raises(PayloadInvalid, match="The payload does not fit User"):
        train.trigger({"id": "x"})  # type: ignore[arg-type]
    with pytest.raises(PayloadInvalid, match="The payload does not fit User"):
        web.trigger("train", {"id": "x"})


def test_it_is_neither_announced_nor_carried_out_here(web: Holdfast, train: Task[User, Model]) -> None:
    assert not web.tasks
    with pytest.raises(NotBound, match="The code of task train is not in this process"):
        train.fn(User(id=1))
    assert not callable(train)
    assert repr(train) == "<Task train, declared>"


def test_a_task_without_payload(web: Holdfast) -> None:
    nightly = web.declare("nightly", None, int)
    assert nightly.trigger().retrieve().payload is None
    with pytest.raises(PayloadInvalid, match="takes no payload"):
        nightly.trigger(5)  # type: ignore[call-overload]


@pytest.mark.parametrize("first", ["declared", "defined"])
def test_where_it_is_defined_as_well_the_definition_decides(web: Holdfast, first: str) -> None:
    def define() -> None:
        web.task(id="train", queue=Queue("local"))(train_here)

    if first == "defined":
        define()
    train = web.declare("train", User, Model)
    if first == "declared":
        define()
    assert train.trigger(User(id=1)).retrieve().queue == "local"
    assert list(web.tasks) == ["train"]


def train_here(user: User) -> Model:
    return Model(loss=user.id)


def test_two_declarations_have_to_agree(web: Holdfast, train: Task[User, Model]) -> None:
    assert web.declare("train", User, Model).id == "train"
    with pytest.raises(DuplicateTask, match=r"declared twice, with different types \(.*test_declare\.py:\d+ and "):
        web.declare("train", User, str)


def test_what_cannot_be_declared_is_refused_with_its_place(web: Holdfast) -> None:
    with pytest.raises(InvalidOption, match="The id of a task"):
        web.declare(5, User, str)  # type: ignore[call-overload]
    with pytest.raises(InvalidTask) as caught:
        web.declare("x", object(), str)  # type: ignore[call-overload]
    assert any("test_declare.py" in note for note in caught.value.__notes__)


def test_by_name_it_is_the_same_task(web: Holdfast, train: Task[User, Model]) -> None:
    handle: Any = web.trigger("train", User(id=1))
    assert handle.retrieve().payload == {"id": 1}
