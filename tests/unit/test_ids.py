"""Ids rise and never repeat, in threads, after forks and when the clock goes back; hashes never change."""

import itertools
import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.ids import hash63, id_beside, new_id

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def as_uuid(text: str) -> uuid.UUID:
    number = 0
    for character in text:
        number = number * 32 + ALPHABET.index(character)
    return uuid.UUID(int=number)


def test_an_id_is_a_uuid7_of_now() -> None:
    before = time.time_ns() // 1_000_000
    text = new_id()
    after = time.time_ns() // 1_000_000
    made = as_uuid(text)
    assert len(text) == 26
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_ids_rise_strictly() -> None:
    ids = [new_id() for _ in range(20_000)]
    assert all(earlier < later for earlier, later in itertools.pairwise(ids))


def test_ids_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    first = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    second, third = new_id(), new_id()
    assert first < second < third


def test_threads_get_different_rising_ids() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [new_id() for _ in range(2_000)], range(8)))
    assert len({each for ids in made for each in ids}) == 16_000
    assert all(ids == sorted(ids) for ids in made)


def test_forked_children_go_their_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time_ns() + 10**10
    monkeypatch.setattr(time, "time_ns", lambda: now)  # one millisecond for all, where only the random bits differ
    new_id()
    made = [_first_id_of_a_fork() for _ in range(3)]
    assert len({*made, new_id()}) == 4
    assert all(as_uuid(each).version == 7 for each in made)


def _first_id_of_a_fork() -> str:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as answer:
        return answer.read()


@pytest.mark.parametrize(
    ("parts", "number"),
    [
        ((), 8203414616412130826),
        (("",), 5952444921833288990),
        ((None,), 3970492405946891596),
        (("email", "send"), 6296912039275189695),
        (("email", None, "größe"), 2438317149622632601),
    ],
)
def test_a_hash_is_the_same_for_ever(parts: tuple[str | None, ...], number: int) -> None:
    assert hash63(*parts) == number


@given(st.lists(st.none() | st.text()), st.lists(st.none() | st.text()))
def test_different_names_have_different_hashes(a: list[str | None], b: list[str | None]) -> None:
    assert (hash63(*a) == hash63(*b)) == (a == b)
    assert 0 <= hash63(*a) < 2**63


def test_borders_between_names_count() -> None:
    assert hash63("a", "bc") != hash63("ab", "c")
    assert hash63("a\x00b") != hash63("a", "b")
    assert hash63("\ud800") != hash63("?")


def test_an_id_beside_another_is_as_old_and_always_the_same() -> None:
    run = new_id()
    found = [id_beside(run, number) for number in range(100)]
    assert found == [id_beside(run, number) for number in range(100)]
    assert len({run, *found}) == 101
    assert {(each[:10], len(each)) for each in found} == {(run[:10], 26)}
    assert id_beside(run, 1 << 200) == id_beside(run, 0)
