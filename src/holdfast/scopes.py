"""What a key may do: ``admin``, ``read``, ``trigger``, ``trigger:<task>`` or ``run:<id>``.

A *right* is what such a text stands for, and what a public token's scope (``read:runs:<id>``) stands for as well: an
action, perhaps on one kind of thing, perhaps on one thing of that kind. Who holds several may do what any of them
allows; there is no right that takes another away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from holdfast.errors import InvalidOption, shown
from holdfast.names import ID_LENGTH, checked_name

__all__ = ["ADMIN", "Action", "Kind", "Right", "allows", "checked_scope", "checked_scopes", "right_of"]

Action = Literal["admin", "read", "trigger", "write"]
Kind = Literal["run", "task", "tag", "batch", "token"]
WRITE: Final = "Write admin, read, trigger, trigger:<task> or run:<id>."


class Right(NamedTuple):
    """An action; on everything, on all of a ``kind``, or on the one of that kind with this ``id``."""

    action: Action
    kind: Kind | None = None
    id: str | None = None


ADMIN: Final = Right("admin")


def allows(rights: Iterable[Right], action: Action, kind: Kind | None = None, id: str | None = None) -> bool:
    """Whether one of these rights covers the action: on everything, on all of a kind, or on one thing."""
    return any(
        right.action == "admin"
        or (right.action == action and right.kind in (None, kind) and (right.kind is None or right.id in (None, id)))
        for right in rights
    )


def right_of(scope: str) -> Right:
    """What a key's scope stands for.

    Raises:
        InvalidOption: it is no scope.

    >>> right_of("trigger:greet")
    Right(action='trigger', kind='task', id='greet')
    """
    word, colon, rest = scope.partition(":")
    if word in ("admin", "read", "trigger") and not colon:
        return Right(word)  # type: ignore[arg-type]
    if word == "trigger":
        return Right("trigger", "task", checked_name(rest, option="The task of a scope", length=ID_LENGTH, do=WRITE))
    if word == "run":
        return Right("read", "run", checked_name(rest, option="The run of a scope", do=WRITE))
    raise InvalidOption("There is no such scope", seen=shown(scope), do=WRITE)


def checked_scope(scope: str) -> str:
    """``scope`` if it is one. Raises InvalidOption."""
    right_of(scope)
    return scope


def checked_scopes(scopes: Sequence[str]) -> list[str]:
    """The scopes of a key, each once. Raises InvalidOption: one is none, or there are none at all."""
    if not scopes:
        raise InvalidOption("A key needs a scope", do=WRITE)
    return list(dict.fromkeys(checked_scope(each) for each in scopes))
