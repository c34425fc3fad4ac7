"""The public surface: every verb for sync code has the same one for async code, and every public name is told."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import typing
from typing import Any

import pytest

import holdfast
from holdfast.client import Client
from holdfast.handle import RunVerbs
from holdfast.task import Verbs

PUBLIC = {name: getattr(holdfast, name) for name in holdfast.__all__}
CLASSES = [each for each in PUBLIC.values() if inspect.isclass(each)] + [Client, RunVerbs, Verbs]


def pairs() -> list[Any]:
    """Every method ``x`` of a class that also has ``ax``."""
    return [
        pytest.param(getattr(owner, name), getattr(owner, f"a{name}"), id=f"{owner.__name__}.{name}")
        for owner in CLASSES
        for name in dir(owner)
        if not name.startswith("_") and inspect.isroutine(getattr(owner, f"a{name}", None))
    ]


def test_the_pairs_are_found() -> None:
    names = {pair.id for pair in pairs()}
    for owner, verbs in {
        "Task": ["trigger", "batch_trigger"],
        "Holdfast": ["trigger", "batch_trigger", "close"],
        "RunHandle": ["result", "retrieve", "cancel", "replay", "updates"],
        "BatchHandle": ["results"],
    }.items():
        assert {f"{owner}.{verb}" for verb in verbs} <= names


@pytest.mark.parametrize(("sync", "twin"), pairs())
def test_twins_agree_in_signature(sync: Any, twin: Any) -> None:
    assert inspect.signature(sync) == inspect.signature(twin) or iterates(sync, twin)
    assert [str(inspect.signature(each)) for each in typing.get_overloads(sync)] == [
        str(inspect.signature(each)) for each in typing.get_overloads(twin)
    ]


@pytest.mark.parametrize(("sync", "twin"), pairs())
def test_a_twin_is_of_the_other_colour(sync: Any, twin: Any) -> None:
    assert not inspect.iscoroutinefunction(sync)
    assert inspect.iscoroutinefunction(twin) or iterates(sync, twin)


def iterates(sync: Any, twin: Any) -> bool:
    """Twins that iterate: the same but for what they return."""
    ours, theirs = inspect.signature(sync), inspect.signature(twin)
    turned = str(ours.return_annotation).replace("Iterator[", "AsyncIterator[")
    return ours.parameters == theirs.parameters and turned == theirs.return_annotation != ours.return_annotation


@pytest.mark.parametrize("owner", CLASSES)
def test_no_verb_waits_for_the_database_in_one_colour_only(owner: type) -> None:
    """A coroutine method without a sync twin would leave sync code out."""
    lonely = [
        name
        for name, member in inspect.getmembers(owner, inspect.iscoroutinefunction)
        if not name.startswith("_") and not (name.startswith("a") and hasattr(owner, name[1:]))
    ]
    assert lonely == []


def test_all_is_what_checkers_see_and_sorted() -> None:
    block = next(node for node in ast.parse(inspect.getsource(holdfast)).body if isinstance(node, ast.If))
    told = {
        alias.name: f"{node.module}" for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert holdfast.__all__ == sorted(told)
    for name, module in told.items():
        assert PUBLIC[name] is getattr(importlib.import_module(module), name)


def test_nothing_else_is_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Celery'"):
        _ = holdfast.Celery  # type: ignore[attr-defined]
    assert set(holdfast.__all__) <= set(dir(holdfast))


def test_a_command_that_needs_little_imports_little() -> None:
    program = (
        "import sys, holdfast; holdfast.InvalidOption; print(*[m for m in sys.modules if m in {'pydantic', 'asyncio'}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("owner", [each for each in PUBLIC.values() if inspect.isclass(each)])
def test_every_public_class_and_method_says_what_it_does(owner: type) -> None:
    assert inspect.getdoc(owner)
    for name, member in vars(owner).items():
        if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, classmethod)):
            assert inspect.getdoc(getattr(owner, name)), f"{owner.__name__}.{name}"


def test_an_app_has_a_front_door_and_not_a_barn_door() -> None:
    public = {name for name in vars(holdfast.Holdfast) if not name.startswith("_")}
    assert len([name for name in public if not (name.startswith("a") and name[1:] in public)]) <= 26
