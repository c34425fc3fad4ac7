"""A program that has nothing but a URL, as checkers see it."""

from __future__ import annotations

from typing import Any, assert_type

from pydantic import BaseModel

from holdfast import BatchHandle, Holdfast, Run, RunHandle
from holdfast.remote import Client, Item, Queue, Token


class User(BaseModel):
    name: str


app = Holdfast()
jobs = Client("https://jobs.example.com", key="k")
train = app.declare("train", User, str)
ada = User(name="Ada")

assert_type(jobs.trigger(train, ada, delay="5m"), RunHandle[str])
assert_type(jobs.trigger(train, ada).result(), str)
assert_type(jobs.trigger("train", {"name": "Ada"}), RunHandle[Any])
assert_type(jobs.item(train, ada), Item[str])
assert_type(jobs.batch_trigger([jobs.item(train, ada)]), BatchHandle[str])
assert_type(jobs.list()[0], Run[Any])
assert_type(jobs.queues.list(), list[Queue])
assert_type(jobs.tokens.create(timeout="1h"), Token)


async def elsewhere() -> None:
    assert_type(await jobs.atrigger(train, ada), RunHandle[str])
    assert_type(await (await jobs.abatch_trigger([jobs.item(train, ada)])).runs[0].aresult(), str)
