"""Every error class keeps the promises that the tree makes for all of them."""

import copy
import inspect
import pickle

import pytest

from holdfast import errors
from holdfast.errors import AbortRun, HoldfastError, RetryAfter, RunFailed

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
]
OURS = [error for error in CLASSES if issubclass(error, HoldfastError)]
THREE_PART = [error for error in OURS if not issubclass(error, RunFailed)]


class Recorded:
    type = "ValueError"
    message = "no such user"
    traceback = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recorded)


def example(error: type[Exception]) -> Exception:
    if issubclass(error, RunFailed):
        return error("01j", "failed", Recorded())
    if issubclass(error, HoldfastError):
        return error("It broke", seen=5, do="Mend it.")
    return RetryAfter("10m", "rate limited") if error is RetryAfter else error("enough")


def test_all_names_every_class_and_nothing_else() -> None:
    assert sorted(errors.__all__) == sorted(error.__name__ for error in CLASSES)


def test_all_classes_are_in_the_tree_except_what_a_task_raises() -> None:
    assert set(CLASSES) - set(OURS) == {AbortRun, RetryAfter}


def test_the_tree_on_top_of_the_module_names_every_class() -> None:
    drawn = errors.__doc__ or ""
    assert [error.__name__ for error in CLASSES if error.__name__ not in drawn] == []


@pytest.mark.parametrize("error", THREE_PART)
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


@pytest.mark.parametrize("error", THREE_PART)
def test_three_parts_make_the_message(error: type[HoldfastError]) -> None:
    assert str(example(error)) == "It broke (5). Mend it."


@pytest.mark.parametrize("error", CLASSES)
@pytest.mark.parametrize("through", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy], ids=["pickle", "copy"])
def test_an_error_survives_the_way_between_processes(error, through) -> None:  # type: ignore[no-untyped-def]
    original = example(error)
    again = through(original)
    assert type(again) is error
    assert (str(again), again.args, vars(again)) == (str(original), original.args, vars(original))
