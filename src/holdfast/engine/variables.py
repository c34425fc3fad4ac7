"""Environment variables that operators keep for all workers: whoever carries out code has them from its start on.

What stands in a process's own environment is stronger. A secret is hidden from people who look, not from those who may
read the database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from holdfast.names import not_text
from holdfast.sizes import KIB, size_of
from holdfast.storage.base import Tx, repeatable

LONGEST: Final = 32 * KIB
MOST: Final = 500
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)
OURS: Final = ("HOLDFAST_", "LD_", "DYLD_", "PYTHON")  # what says how a worker is run, or what runs in its place


class Problem(NamedTuple):
    """What speaks against a variable: its ``part``, which is its name or its value, and a sentence."""

    part: str
    what: str


def problem(name: str, value: str) -> Problem | None:
    """Why a worker cannot be given this; None if it can."""
    if NAME.fullmatch(name) is None:
        return Problem("name", "The name of a variable is made of letters, digits and _")
    if name.upper().startswith(OURS):
        return Problem("name", f"{name} says how a worker is run: set it where the worker is started")
    if not_text(value) or size_of(value) > LONGEST:
        return Problem("value", f"The value of {name} is larger than {LONGEST} bytes, or no text")
    return None


class Variable(NamedTuple):
    """A variable as it is kept."""

    name: str
    value: str
    secret: bool


class Row(msgspec.Struct):
    """The columns of ``put_variables``."""

    name: str
    value: str
    secret: int


def every(tx: Tx) -> list[Variable]:
    """All of them, by name."""
    return [Variable(name, value, bool(secret)) for name, value, secret in tx.rows("variables")]


def values(tx: Tx) -> dict[str, str]:
    """What a worker is given."""
    return {each.name: each.value for each in every(tx)}


@repeatable
def put(tx: Tx, wanted: Mapping[str, str], *, secret: bool | None, override: bool) -> list[str]:
    """Keep these. One that is there keeps its value unless they ``override`` it, and stays as secret as it was unless
    that is said. Answers the names of those that were there with another value, and kept it."""
    there = {each.name: each for each in every(tx)}
    fresh = {name: value for name, value in wanted.items() if override or name not in there}
    rows = [Row(name, value, int(is_secret(there.get(name), secret))) for name, value in sorted(fresh.items())]
    if rows:
        tx.batch("put_variables", rows)
    return [name for name, value in wanted.items() if name not in fresh and there[name].value != value]


def is_secret(before: Variable | None, secret: bool | None) -> bool:
    return secret if secret is not None else before is not None and before.secret


def remove(tx: Tx, name: str) -> bool:
    """Forget one. False if there was none."""
    return bool(tx.rows("remove_variable", name=name))
