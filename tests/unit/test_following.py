"""Following: one question for all, an answer when something has changed, and nobody left behind."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest

from holdfast.errors import DatabaseUnavailable, HoldfastError
from holdfast.following import Following
from holdfast.views import Followed, Mark

RUN: Followed = ("a", None)


class Marks:
    """A database in which things have marks."""

    def __init__(self) -> None:
        self.now: dict[Followed, Mark] = {RUN: Mark(False, (0,))}
        self.asked: list[Sequence[Followed]] = []
        self.error: Exception | None = None
        self.heard: list[Callable[[], None]] = []
        self.hearing = False

    def marks(self, followed: Sequence[Followed]) -> Mapping[Followed, Mark]:
        self.asked.append(followed)
        if self.error is not None:
            raise self.error
        return {each: self.now[each] for each in followed if each in self.now}

    def hear(self, changed: Callable[[], None]) -> Callable[[], None]:
        self.heard.append(changed)
        return lambda: self.heard.remove(changed)

    def hears(self) -> bool:
        return self.hearing

    def change(self, *facts: int) -> Mark:
        self.now[RUN] = mark = Mark(False, facts)
        return mark


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def following(marks: Marks) -> Iterator[Following]:
    following = Following(marks)
    yield following
    following.close()


def test_who_has_seen_nothing_is_answered_at_once(marks: Marks, following: Following) -> None:
    assert following.news(RUN, None).result(20) == Mark(False, (0,))
    assert following.news(("gone", None), None).result(20) is None


def test_who_has_seen_it_is_answered_when_it_changes(marks: Marks, following: Following) -> None:
    future = following.news(RUN, marks.now[RUN])
    with pytest.raises(TimeoutError):
        future.result(0.05)
    changed = marks.change(1)
    assert future.result(20) == changed


def test_what_is_gone_is_told(marks: Marks, following: Following) -> None:
    future = following.news(RUN, marks.now.pop(RUN))
    assert future.result(20) is None


def test_where_commits_are_heard_nothing_is_polled_for(
    marks: Marks, following: Following, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    monkeypatch.setattr("holdfast.following._HEARING", 3600.0)
    monkeypatch.setattr("holdfast.following._SHORTEST", 3600.0)
    marks.hearing = True
    future = following.news(RUN, marks.now[RUN])

    def asked() -> None:
        assert len(marks.asked) == 1

    eventually(asked, 20)
    changed = marks.change(1)
    marks.heard[0]()
    assert future.result(20) == changed


def test_one_question_for_all_who_follow(marks: Marks, following: Following, eventually: Callable[..., None]) -> None:
    futures = [following.news((str(n), "tokens"), Mark(False, (n,))) for n in range(20)]
    futures += [following.news(RUN, marks.now[RUN])] * 2
    marks.now |= {(str(n), "tokens"): Mark(False, (n,)) for n in range(20)}
    for future in futures[:20]:
        future.cancel()
    marks.now |= {(str(n), "tokens"): Mark(False, (n,)) for n in range(20, 40)}
    more = [following.news((str(n), "tokens"), Mark(False, (n,))) for n in range(20, 40)]

    def together() -> None:
        assert len((marks.asked or [[]])[-1]) == 21

    eventually(together, 20)
    marks.now |= {(str(n), "tokens"): Mark(True, (n,)) for n in range(20, 40)}
    assert all(future.result(20) for future in more)


async def test_async_code_gives_up_without_a_trace(
    marks: Marks, following: Following, eventually: Callable[..., None]
) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(following.anews(RUN, marks.now[RUN]), 0.05)
    assert await following.anews(RUN, None) == marks.now[RUN]
    assert all(interest.future.done() for interest in following._interests)


def test_an_outage_is_waited_for(marks: Marks, following: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.following._OUTAGE", 0.01)
    marks.error = DatabaseUnavailable()
    future = following.news(RUN, None)
    with pytest.raises(TimeoutError):
        future.result(0.1)
    marks.error = None
    assert future.result(20)


def test_an_error_nobody_foresaw_reaches_the_followers(marks: Marks, following: Following) -> None:
    marks.error = ZeroDivisionError("x")
    with pytest.raises(ZeroDivisionError):
        following.news(RUN, None).result(20)


def test_closing_tells_who_still_follows(marks: Marks, following: Following) -> None:
    future = following.news(RUN, marks.now[RUN])
    following.close()
    following.close()
    with pytest.raises(HoldfastError, match="closed"):
        future.result(20)
    with pytest.raises(HoldfastError, match="closed"):
        following.news(RUN, None)
    assert marks.heard == []


def test_a_forked_child_follows_for_itself(marks: Marks, following: Following) -> None:
    following.news(RUN, marks.now[RUN])
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with following._wake:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)  # a fork may come while somebody holds the lock
    holder.start()
    held.wait(20)
    child = os.fork()
    if child == 0:
        os._exit(0 if following.news(RUN, None).result(20) == marks.now[RUN] else 1)
    done.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
