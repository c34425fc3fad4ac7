"""Reads the providers behind what a task asks for: what each is, what it needs, and in which order they open.

What could only fail in a worker at night is refused where it was written: providers that wait for each other, an async
one for a def task, one that lives as long as its process and needs one that is closed after each attempt.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from holdfast.annotations import annotations_of, context_type, invalid, place
from holdfast.context import AsyncContext, Context
from holdfast.depends import Depends, Kind, Plan, Provider, asked_of, key_of, name_of
from holdfast.errors import InvalidTask

__all__ = ["plan_of"]


def plan_of(fn: Callable[..., Any], asked: Mapping[str, Depends], *, is_async: bool) -> Plan:
    """Read all the providers behind what a task's function asks for.

    Raises:
        InvalidTask: one of them cannot give it, and why.
    """
    reading = _Reading(fn, is_async)
    parameters = tuple((name, reading.read(depends, ())) for name, depends in asked.items())
    return Plan(parameters, tuple(provider for provider in reading.found.values() if provider.scope == "worker"))


class _Reading:
    """Reads the providers of one task, each once; ``found`` has them in the order in which they can be opened."""

    def __init__(self, task: Callable[..., Any], is_async: bool) -> None:
        self.task, self.is_async = task, is_async
        self.found: dict[Any, Provider] = {}

    def read(self, depends: Depends, path: tuple[Depends, ...]) -> Provider:
        """``path`` are the providers that asked for this one, the task's own first."""
        key = key_of(depends.provider, depends.scope)
        if any(key_of(above.provider, above.scope) == key for above in path):
            raise self.cycle(path, depends)
        if key not in self.found:
            self.found[key] = self.made(depends, path)
        return self.found[key]

    def made(self, depends: Depends, path: tuple[Depends, ...]) -> Provider:
        fn = depends.provider
        kind = _kind(fn)
        if kind.startswith("async") and not self.is_async:
            raise invalid(
                self.task,
                f"is a def and depends on {name_of(fn)}, which is async",
                "Make the task an async def, or the provider a def.",
            )
        hints, parameters = annotations_of(fn), _parameters(fn)
        asked = asked_of(fn, parameters, hints)
        context = _context(depends, parameters, hints, kind)
        _check_rest(fn, parameters, {*asked, context})
        needs = []
        for name, need in asked.items():
            if depends.scope == "worker" and need.scope == "attempt":
                raise _longer_than(depends, need)
            needs.append((name, self.read(need, (*path, depends))))
        return Provider(key_of(fn, depends.scope), fn, depends.scope, kind, tuple(needs), context)

    def cycle(self, path: tuple[Depends, ...], depends: Depends) -> InvalidTask:
        names = [name_of(above.provider) for above in (*path, depends)]
        circle = " -> ".join(names[names.index(names[-1]) :])
        return invalid(
            self.task, f"depends on providers that wait for each other: {circle}", "Let one of them do without."
        )


# -- what one asks for ------------------------------------------------------------------------------------------------


def _context(
    depends: Depends, parameters: Iterable[inspect.Parameter], hints: Mapping[str, Any], kind: Kind
) -> str | None:
    for parameter in parameters:
        wanted = context_type(parameter, hints)
        if wanted is None and (parameter.name != "ctx" or parameter.name in hints):
            continue
        right = AsyncContext if kind.startswith("async") else Context
        if depends.scope == "worker":
            raise invalid(
                depends.provider,
                "has scope worker and asks for the context of an attempt",
                'Give it scope="attempt", or leave the context out.',
            )
        if wanted not in (right, None):
            colour = "an async def" if kind.startswith("async") else "a def"
            raise invalid(
                depends.provider,
                f"is {colour} and asks for {wanted.__name__}",
                f"Write {parameter.name}: {right.__name__}.",
            )
        return parameter.name
    return None


def _check_rest(fn: Callable[..., Any], parameters: Iterable[inspect.Parameter], filled: set[str | None]) -> None:
    for parameter in parameters:
        optional = parameter.default is not parameter.empty
        if optional or parameter.name in filled or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        raise invalid(
            fn,
            f"is a provider with a parameter that nobody can fill: {parameter.name}",
            f"Write {parameter.name}: Annotated[…, Depends(…)], or give it a default.",
        )


def _longer_than(depends: Depends, need: Depends) -> InvalidTask:
    return invalid(
        depends.provider,
        f"has scope worker and depends on {name_of(need.provider)}, which is closed after each attempt",
        f'Give {name_of(need.provider)} scope="worker", or {name_of(depends.provider)} scope="attempt".',
    )


# -- what one is ------------------------------------------------------------------------------------------------------


def _parameters(fn: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except ValueError:  # a class of C code that does not say
        return []


def _kind(fn: Callable[..., Any]) -> Kind:
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_filename == contextlib.__file__:
        raise InvalidTask(
            f"The provider {name_of(fn)} is a context manager",
            seen=place(fn),
            do="Leave the decorator off: a generator function is entered and closed as it is.",
        )
    called = inspect.unwrap(fn) if not isinstance(fn, type) else fn
    candidates = (called, type(called).__call__)
    if any(inspect.isasyncgenfunction(each) for each in candidates):
        return "async generator"
    if any(inspect.isgeneratorfunction(each) for each in candidates):
        return "generator"
    return "async" if any(inspect.iscoroutinefunction(each) for each in candidates) else "def"
