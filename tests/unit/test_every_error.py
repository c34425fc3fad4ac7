"""Every error keeps the promises that the tree makes for all of them: what is wrong, the value seen, what to do."""

from __future__ import annotations

import ast
import copy
import inspect
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast import errors
from holdfast.errors import AbortRun, BatchIncomplete, HoldfastError, RetryAfter, RunFailed, StepFailed, Suspended

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
]
OURS = [error for error in CLASSES if issubclass(error, HoldfastError)]
FROM_FACTS = RunFailed | BatchIncomplete | StepFailed  # their parts follow from these
BUILT = [error for error in OURS if issubclass(error, FROM_FACTS)]
WRITTEN = [error for error in OURS if error not in BUILT]
SOURCE = Path(errors.__file__).parent


class Recorded:
    type = "ValueError"
    message = "no such user"
    traceback = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recorded)


class Batch:
    def __len__(self) -> int:
        return 2

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Batch)


class Refused(KeyError):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused)


def example(error: type[Any]) -> Any:
    if issubclass(error, RunFailed):
        return error("01j", "failed", Recorded())
    if error is StepFailed:
        return error("charge", Recorded(), ["builtins.ValueError"])
    if error is BatchIncomplete:
        return error(Batch(), {1: Refused("x")})
    if issubclass(error, HoldfastError):
        return error("It broke", seen=5, do="Mend it.")
    return RetryAfter("10m", "rate limited") if error is RetryAfter else error("enough")


def test_all_names_every_class_and_nothing_else() -> None:
    assert sorted(errors.__all__) == sorted(error.__name__ for error in CLASSES)


def test_all_classes_are_in_the_tree_except_what_a_task_raises() -> None:
    assert set(CLASSES) - set(OURS) == {AbortRun, RetryAfter, Suspended}


def test_the_tree_on_top_of_the_module_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [error.__name__ for error in CLASSES if error.__name__ not in drawn] == []


@pytest.mark.parametrize("error", WRITTEN)
def test_the_docstring_is_the_message_when_none_is_given(error: type[HoldfastError]) -> None:
    message = str(error())
    assert message == errors.default_message(error)
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("error", OURS)
def test_every_class_has_a_docstring_of_its_own(error: type[HoldfastError]) -> None:
    parents = {parent.__doc__ for parent in error.__mro__[1:]}
    assert error.__doc__
    assert error.__doc__ not in parents


@pytest.mark.parametrize("error", WRITTEN)
def test_three_parts_make_the_message(error: type[HoldfastError]) -> None:
    assert str(example(error)) == "It broke (5). Mend it."


@pytest.mark.parametrize("error", OURS)
def test_every_error_has_its_three_parts(error: type[HoldfastError]) -> None:
    made = example(error)
    assert made.what
    assert made.seen
    assert made.do
    assert made.do.endswith(".")
    assert str(made) == f"{made.what} ({made.seen}). {made.do}"


def test_each_kind_of_failed_run_says_something_else_to_do() -> None:
    kinds = [error for error in OURS if issubclass(error, RunFailed)]
    assert len({kind.advice for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("error", CLASSES)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_an_error_survives_the_way_between_processes(error, through) -> None:  # type: ignore[no-untyped-def]
    original = example(error)
    again = through(original)
    assert type(again) is error
    assert (str(again), again.args, vars(again)) == (str(original), original.args, vars(original))


# -- where they are raised --------------------------------------------------------------------------------------------


def made_in_source() -> Iterator[tuple[str, ast.Call]]:
    """Every place in the package that makes one of our errors from its parts."""
    names = {error.__name__ for error in WRITTEN}
    for file in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield f"{file.relative_to(SOURCE)}:{node.lineno}", node


def test_the_places_are_found() -> None:
    assert len(list(made_in_source())) > 100


def test_every_error_that_is_raised_says_what_to_do() -> None:
    silent = [
        place
        for place, call in made_in_source()
        if not any(word.arg == "do" or word.arg is None for word in call.keywords)
    ]
    assert silent == []


def test_what_to_do_is_a_sentence() -> None:
    for place, call in made_in_source():
        for word in call.keywords:
            if word.arg == "do" and isinstance(word.value, ast.Constant) and word.value.value is not None:
                said = str(word.value.value)
                assert said.strip() == said, place
                assert said, place
