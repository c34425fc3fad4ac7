"""What a task's function asks for, read from its signature once, at import.

    def greet(name: str) -> str                          a payload
    async def onboard(user: User, ctx: AsyncContext)     a payload, and the context
    def nightly(ctx: Context)                            no payload

The first parameter is the payload unless it is the context. What comes after it is handed in by Holdfast: for now, that
is the context of the function's own colour. Anything else is refused here, where it was written, and not in a worker at
night. A parameter called ``ctx`` without an annotation is the context.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, Union, cast

from holdfast.context import AsyncContext, Context
from holdfast.errors import InvalidTask

__all__ = ["Signature", "place", "read_signature"]

ABSENT: Final = inspect.Parameter.empty
_ONE_PAYLOAD: Final = "A task has one payload; make it a model, dataclass or TypedDict."


class Signature(NamedTuple):
    """What a function takes and gives.

    ``call(payload, context)`` calls it with what it asks for and nothing else. ``default`` is the payload's default, or
    ``ABSENT``. Without annotation, payload and output are ``Any``.
    """

    is_async: bool
    payload: str | None
    annotation: Any
    default: Any
    context: str | None
    output: Any
    call: Callable[[Any, Any], Any]


def read_signature(fn: Callable[..., Any]) -> Signature:
    """Read what ``fn`` asks for.

    Raises:
        InvalidTask: it is no function, asks for what nobody can give it, or its annotations name what does not exist.
    """
    is_async = _colour(fn)
    hints = _hints(fn)
    parameters = list(inspect.signature(fn).parameters.values())
    payload: inspect.Parameter | None = None
    context: inspect.Parameter | None = None
    for position, parameter in enumerate(parameters):
        wanted = _context_type(parameter, hints)
        if wanted is not None or (parameter.name == "ctx" and parameter.name not in hints):
            context = _check_context(fn, parameter, wanted, context, is_async)
        elif position == 0 and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            payload = parameter
        else:
            raise _refused(fn, parameter, context)
    return Signature(
        is_async=is_async,
        payload=payload.name if payload else None,
        annotation=hints.get(payload.name, Any) if payload else None,
        default=payload.default if payload else ABSENT,
        context=context.name if context else None,
        output=_output(hints),
        call=_caller(fn, payload, context),
    )


def place(fn: Callable[..., Any]) -> str:
    """Where a function was written, as ``path:line``."""
    code = getattr(inspect.unwrap(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(fn)


# -- the function -----------------------------------------------------------------------------------------------------


def _colour(fn: Callable[..., Any]) -> bool:
    if isinstance(fn, type) or not callable(fn):
        raise InvalidTask("A task is a function", seen=fn, do="Put @app.task on a def or an async def.")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise _invalid(
            fn, "is a generator: a task returns once, it does not yield", "Return a list, or use tasks per item."
        )
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def _context_type(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> type | None:
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


def _check_context(
    fn: Callable[..., Any],
    parameter: inspect.Parameter,
    wanted: type | None,
    earlier: inspect.Parameter | None,
    is_async: bool,
) -> inspect.Parameter:
    right = AsyncContext if is_async else Context
    if wanted is not None and wanted is not right:
        colour = "an async def" if is_async else "a def"
        raise _invalid(
            fn,
            f"is {colour} and asks for {wanted.__name__}",
            f"Write {parameter.name}: {right.__name__}.",
        )
    if earlier is not None:
        raise _invalid(fn, f"asks for the context twice, as {earlier.name} and {parameter.name}", "Keep one of them.")
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise _invalid(fn, f"takes its context as *{parameter.name}", f"Write {parameter.name}: {right.__name__}.")
    return parameter


def _refused(fn: Callable[..., Any], parameter: inspect.Parameter, context: inspect.Parameter | None) -> InvalidTask:
    if context is not None:
        return _invalid(
            fn,
            f"has its parameter {parameter.name} after the context",
            f"The payload comes first: ({parameter.name}, {context.name}). {_ONE_PAYLOAD}",
        )
    if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
        return _invalid(fn, f"takes {parameter}", _ONE_PAYLOAD)
    return _invalid(fn, f"has a parameter that nobody can fill: {parameter.name}", _ONE_PAYLOAD)


def _output(hints: Mapping[str, Any]) -> Any:
    output = hints.get("return", Any)
    return types.NoneType if output in (typing.NoReturn, typing.Never) else output


def _caller(
    fn: Callable[..., Any], payload: inspect.Parameter | None, context: inspect.Parameter | None
) -> Callable[[Any, Any], Any]:
    """A function of (payload, context) that passes on what ``fn`` asks for: this runs once for every attempt."""
    match payload is not None, context:
        case True, None:
            return lambda payload, context: fn(payload)
        case False, None:
            return lambda payload, context: fn()
        case True, inspect.Parameter(kind=inspect.Parameter.KEYWORD_ONLY, name=name):
            return lambda payload, context: fn(payload, **{name: context})
        case False, inspect.Parameter(kind=inspect.Parameter.KEYWORD_ONLY, name=name):
            return lambda payload, context: fn(**{name: context})
        case True, _:
            return lambda payload, context: fn(payload, context)
        case _:
            return lambda payload, context: fn(context)


def _invalid(fn: Callable[..., Any], what: str, do: str) -> InvalidTask:
    name = getattr(fn, "__qualname__", None) or repr(fn)
    return InvalidTask(f"{name} {what}", seen=place(fn), do=do)


# -- its annotations --------------------------------------------------------------------------------------------------


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    function = _innermost(fn)
    try:
        return typing.get_type_hints(function, localns=_enclosing_names(function), include_extras=True)
    except NameError as unknown:
        raise _invalid(
            fn,
            f"has an annotation that names {unknown.name or unknown}, which does not exist where the task is defined",
            "Define or import it above the task, and not only under TYPE_CHECKING.",
        ) from unknown
    except Exception as broken:
        raise _invalid(fn, f"has an annotation that cannot be read: {broken}", "Correct the annotation.") from broken


def _innermost(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function that carries the annotations: under decorators and partial, behind an object that can be called."""
    function = inspect.unwrap(fn)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
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
