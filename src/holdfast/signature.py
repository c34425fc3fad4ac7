"""What a task's function asks for, read from its signature once, at import.

    def greet(name: str) -> str                          a payload
    async def onboard(user: User, ctx: AsyncContext)     a payload, and the context
    def nightly(ctx: Context)                            no payload

    def charge(user: User, db: Annotated[Session, Depends(session)])     a payload, and what a provider gives

The first parameter is the payload unless it is the context. What comes after it is handed in by Holdfast: the context
of the function's own colour, and what providers give. Anything else is refused here, where it was written, and not in a
worker at night. A parameter called ``ctx`` without an annotation is the context.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from holdfast.annotations import annotations_of, context_type, invalid
from holdfast.context import AsyncContext, Context
from holdfast.depends import Plan, asked_of
from holdfast.errors import InvalidTask
from holdfast.providers import plan_of

__all__ = ["Signature", "read_signature"]

ABSENT: Final = inspect.Parameter.empty
_ONE_PAYLOAD: Final = "A task has one payload; make it a model, dataclass or TypedDict."


class Signature(NamedTuple):
    """What a function takes and gives.

    ``call(payload, context)`` calls it with what it asks for and nothing else; where there is a ``plan``, with what its
    providers gave as keywords. ``default`` is the payload's default, or ``ABSENT``. Without annotation, payload and
    output are ``Any``.
    """

    is_async: bool
    payload: str | None
    annotation: Any
    default: Any
    context: str | None
    output: Any
    call: Callable[..., Any]
    plan: Plan | None = None


def read_signature(fn: Callable[..., Any]) -> Signature:
    """Read what ``fn`` asks for.

    Raises:
        InvalidTask: it is no function, asks for what nobody can give it, or its annotations name what does not exist.
    """
    is_async = _colour(fn)
    hints = annotations_of(fn)
    parameters = list(inspect.signature(fn).parameters.values())
    payload: inspect.Parameter | None = None
    context: inspect.Parameter | None = None
    asked = asked_of(fn, parameters, hints)
    for position, parameter in enumerate(parameters):
        wanted = context_type(parameter, hints)
        if wanted is not None or (parameter.name == "ctx" and parameter.name not in hints):
            context = _check_context(fn, parameter, wanted, context, is_async)
        elif parameter.name in asked:
            _check_provided(fn, parameter, position)
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
        call=_caller_with(fn, payload, context) if asked else _caller(fn, payload, context),
        plan=plan_of(fn, asked, is_async=is_async) if asked else None,
    )


# -- the function -----------------------------------------------------------------------------------------------------


def _colour(fn: Callable[..., Any]) -> bool:
    if isinstance(fn, type) or not callable(fn):
        raise InvalidTask("A task is a function", seen=fn, do="Put @app.task on a def or an async def.")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise invalid(
            fn, "is a generator: a task returns once, it does not yield", "Return a list, or use tasks per item."
        )
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


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
        raise invalid(
            fn,
            f"is {colour} and asks for {wanted.__name__}",
            f"Write {parameter.name}: {right.__name__}.",
        )
    if earlier is not None:
        raise invalid(fn, f"asks for the context twice, as {earlier.name} and {parameter.name}", "Keep one of them.")
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise invalid(fn, f"takes its context as *{parameter.name}", f"Write {parameter.name}: {right.__name__}.")
    return parameter


def _check_provided(fn: Callable[..., Any], parameter: inspect.Parameter, position: int) -> None:
    # A type checker takes the first parameter for the payload; behind the asterisk there is none.
    if position == 0 and parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
        raise invalid(
            fn,
            f"asks for {parameter.name} where its payload stands",
            f"Write (*, {parameter.name}), or put the payload before it.",
        )


def _refused(fn: Callable[..., Any], parameter: inspect.Parameter, context: inspect.Parameter | None) -> InvalidTask:
    if context is not None:
        return invalid(
            fn,
            f"has its parameter {parameter.name} after the context",
            f"The payload comes first: ({parameter.name}, {context.name}). {_ONE_PAYLOAD}",
        )
    if parameter.kind is parameter.VAR_POSITIONAL or parameter.kind is parameter.VAR_KEYWORD:
        return invalid(fn, f"takes {parameter}", _ONE_PAYLOAD)
    return invalid(fn, f"has a parameter that nobody can fill: {parameter.name}", _ONE_PAYLOAD)


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


def _caller_with(
    fn: Callable[..., Any], payload: inspect.Parameter | None, context: inspect.Parameter | None
) -> Callable[..., Any]:
    """The same with what providers gave: by name, and so is the context, for they may stand before it."""
    named = {context.name} if context is not None and context.kind is not inspect.Parameter.POSITIONAL_ONLY else set()

    def call(value: Any, ctx: Any, /, **provided: Any) -> Any:
        positional = ([value] if payload else []) + ([ctx] if context is not None and not named else [])
        return fn(*positional, **provided, **dict.fromkeys(named, ctx))

    return call
