"""``typing.TypedDict`` on Python 3.11, where pydantic only takes those of typing_extensions.

A task's payload may be a TypedDict, and most people import it from ``typing``. Before 3.12 such a class does not tell
pydantic which of its keys may be missing, so pydantic refuses it. Here it is made again, with the same keys and types,
as the other kind; values are plain dicts either way.
"""

from __future__ import annotations

import sys
import types
import typing
from typing import Annotated, Any, Literal, NotRequired, Required, Union

import typing_extensions

__all__ = ["for_pydantic"]

_typed_dict: Any = typing_extensions.TypedDict


def for_pydantic(annotation: Any) -> Any:
    """The annotation, with every ``typing.TypedDict`` in it made one that pydantic takes. Others stay as they are."""
    return annotation if sys.version_info >= (3, 12) else _readable(annotation, {})


def _readable(annotation: Any, made: dict[Any, Any]) -> Any:
    if typing.is_typeddict(annotation):
        return _made_again(annotation, made)
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is None or origin is Literal or not arguments:
        return annotation
    if origin is Annotated:
        return Annotated[(_readable(arguments[0], made), *annotation.__metadata__)]
    readable = tuple(_readable(argument, made) for argument in arguments)
    if all(new is old for new, old in zip(readable, arguments, strict=True)):
        return annotation
    return Union[readable] if origin in (Union, types.UnionType) else origin[readable]  # noqa: UP007 - built at run time


def _made_again(kind: Any, made: dict[Any, Any]) -> Any:
    if kind in made or type(kind).__module__ != "typing":
        return made.get(kind, kind)
    made[kind] = kind  # one that contains itself is left to pydantic, which says what to do
    hints = typing.get_type_hints(kind, include_extras=True)
    keys = {key: _key(kind, key, hint, made) for key, hint in hints.items()}
    made[kind] = _typed_dict(kind.__name__, keys)
    made[kind].__doc__ = kind.__doc__
    return made[kind]


def _key(kind: Any, key: str, hint: Any, made: dict[Any, Any]) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Required, NotRequired):
        return origin[_readable(typing.get_args(hint)[0], made)]
    return (Required if key in kind.__required_keys__ else NotRequired)[_readable(hint, made)]
