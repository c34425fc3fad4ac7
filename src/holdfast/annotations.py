"""What annotations say: those of a task's function, and those of its providers.

An annotation may be text (``from __future__ import annotations``), hide under decorators and ``partial``, or name a
class that is local to the function which is just defining the task. What cannot be read is refused with the place where
it was written.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Union, cast

from holdfast.context import AsyncContext, Context
from holdfast.errors import InvalidTask, shown

__all__ = ["annotations_of", "check_type", "context_type", "invalid", "place"]


def place(fn: Callable[..., Any]) -> str:
    """Where a function was written, as ``path:line``."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(fn)


def invalid(fn: Callable[..., Any], what: str, do: str) -> InvalidTask:
    """What is wrong with a function, where it was written, and what to do."""
    name = getattr(fn, "__qualname__", None) or repr(fn)
    return InvalidTask(f"{name} {what}", seen=place(fn), do=do)


def context_type(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> type | None:
    """Which context a parameter asks for, if any."""
    for candidate in _alternatives(hints.get(parameter.name)):
        if candidate in (Context, AsyncContext):
            return cast("type", candidate)
    return None


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types an annotation stands for, without Annotated and without None."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _alternatives(annotation.__origin__)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def annotations_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """A function's annotations, by parameter and ``return``; a class's are those of what makes it.

    Raises:
        InvalidTask: one cannot be read.
    """
    function = _innermost(fn)
    try:
        return typing.get_type_hints(function, localns=_enclosing_names(function), include_extras=True)
    except NameError as unknown:
        raise invalid(
            fn,
            f"has an annotation that names {unknown.name or unknown}, which does not exist where the task is defined",
            "Define or import it above the task, and not only under TYPE_CHECKING.",
        ) from unknown
    except Exception as broken:
        raise invalid(fn, f"has an annotation that cannot be read: {broken}", "Correct the annotation.") from broken


def _innermost(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function that carries the annotations: under decorators and partial, behind an object that can be called."""
    function = inspect.unwrap(fn)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if isinstance(function, type):
        return cast("Callable[..., Any]", inspect.unwrap(function.__init__))  # type: ignore[misc]
    return function if hasattr(function, "__annotations__") else type(function).__call__


def _enclosing_names(function: Callable[..., Any]) -> dict[str, Any] | None:
    """What is local to the functions that are just defining ``function``.

    With ``from __future__ import annotations`` an annotation is text, and a class that was defined inside a function (a
    test, a factory of apps) is nowhere but in that function's frame, which is still on the stack.
    """
    code = getattr(function, "__code__", None)
    if code is None or "<locals>" not in function.__qualname__:
        return None
    names: dict[str, Any] = {}
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == code.co_filename and frame.f_code.co_name != "<module>":
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def check_type(said: object, what: str) -> None:
    """Refuse what was given in the place of a type and is none; ``None`` is none at all.

    Raises:
        InvalidTask: naming ``what`` and the value.
    """
    written = callable(said) and not inspect.isroutine(said)
    known = isinstance(said, types.UnionType) or type(said).__module__ in ("typing", "typing_extensions")
    if said is not None and not written and not known:
        raise InvalidTask(f"{what} is not a type", seen=shown(said), do="Write a class such as str, or a model.")
