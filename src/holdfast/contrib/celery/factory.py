"""`shared_task`: the decorator."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Concatenate, Final, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from holdfast.annotations import annotations_of, context_type, invalid
from holdfast.blueprint import Blueprint
from holdfast.contrib.celery.options import SharedOptions
from holdfast.contrib.celery.refused import PAGE
from holdfast.contrib.celery.result import shared_tasks
from holdfast.contrib.celery.task import SharedTask
from holdfast.depends import asked_of
from holdfast.errors import InvalidTask, shown

__all__ = ["SharedTaskFactory", "shared_task"]

P = ParamSpec("P")
R = TypeVar("R")


class Decorator(Protocol):
    """Makes a function a shared task."""

    def __call__(self, fn: Callable[P, R], /) -> SharedTask[P, R]: ...


class BoundDecorator(Protocol):
    """Makes a function a shared task; its first parameter is the task itself."""

    def __call__(self, fn: Callable[Concatenate[Any, P], R], /) -> SharedTask[P, R]: ...


class SharedTaskFactory:
    """What ``shared_task`` is: a decorator, or with options a maker of one. Its tasks are in the ``blueprint``.

    Raises:
        InvalidTask: the function cannot be a shared task.
        InvalidOption: an option cannot be honoured, or has a value that cannot be used.
        DuplicateTask: there is a task with this name.

    >>> @shared_task(bind=True, max_retries=5, queue="mail")
    ... def send(self: Task[..., Any], to: str) -> str: ...
    """

    def __init__(self, blueprint: Blueprint) -> None:
        self.blueprint = blueprint

    @overload
    def __call__(self, fn: Callable[P, R], /) -> SharedTask[P, R]: ...
    @overload
    def __call__(self, *, bind: Literal[True], **options: Unpack[SharedOptions]) -> BoundDecorator: ...
    @overload
    def __call__(self, *, bind: Literal[False] = False, **options: Unpack[SharedOptions]) -> Decorator: ...
    def __call__(self, *functions: Any, bind: bool = False, **options: Any) -> Any:
        if functions and (len(functions) > 1 or bind or options):
            raise InvalidTask(
                "@shared_task takes a function or options",
                seen=shown(functions),
                do="Write @shared_task(max_retries=5) above the function.",
            )
        if functions:
            return self._make(functions[0], {}, bound=False)
        return lambda fn: self._make(fn, options, bound=bind)

    def _make(self, fn: Any, options: Mapping[str, Any], *, bound: bool) -> SharedTask[Any, Any]:
        fn = fn.__func__ if isinstance(fn, staticmethod) else fn
        _check(fn, bound)
        name = _name(fn) if options.get("name") is None else options["name"]
        task: SharedTask[Any, Any] = SharedTask(fn, name, options, bound=bound)
        self.blueprint._register(task)
        return task


shared_task: Final = SharedTaskFactory(shared_tasks)


def _check(fn: Any, bound: bool) -> None:
    if not inspect.isfunction(fn):
        raise InvalidTask("A shared task is a function", seen=shown(fn), do="Put @shared_task on a def.")
    if inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise invalid(fn, "is no plain def, and Celery has no other tasks", f"Write @app.task instead. See {PAGE}.")
    parameters = list(inspect.signature(fn).parameters.values())
    first = parameters[0] if parameters else None
    if bound and (first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)):
        raise invalid(
            fn, "has no parameter for the task that bind=True hands it", "Write (self, …), or leave bind out."
        )
    _refuse_what_is_asked_for(fn, parameters)


def _refuse_what_is_asked_for(fn: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    hints = annotations_of(fn)
    asked = asked_of(fn, parameters, hints)
    for parameter in parameters:
        if parameter.name in asked or context_type(parameter, hints) is not None:
            raise invalid(
                fn,
                f"asks for {parameter.name}, and a shared task is handed its arguments only",
                f"Write Context.current() for the context, or @app.task instead. See {PAGE}.",
            )


def _name(fn: Callable[..., Any]) -> str:
    """``module.function``, as Celery has it. A module that is run has the name that others import it by."""
    module = fn.__module__
    if module == "__main__":
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        module = spec.name if spec is not None else Path(fn.__code__.co_filename).stem
    return f"{module}.{fn.__name__}"
