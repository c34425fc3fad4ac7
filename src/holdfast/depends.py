"""What a task asks for beside its payload: values that providers open before an attempt and close after it.

    def open_pool() -> Iterator[Pool]: ...                                               opened, handed in, closed
    def session(pool: Annotated[Pool, Depends(open_pool, scope="worker")]) -> Session    asks for another one
    async def charge(user: User, db: Annotated[Session, Depends(session)]) -> int        what the task writes

    Depends    what stands in the annotation
    Provider   one provider, read: its kind, its scope, and what it asks for itself
    Plan       all the providers of one task, as providers.py reads them

Everything that cannot work is refused at import. Opening and closing is the worker's.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from holdfast.annotations import invalid
from holdfast.errors import InvalidOption, InvalidTask, shown

__all__ = ["Depends", "Kind", "Plan", "Provider", "asked_of", "key_of", "name_of"]

Scope = Literal["attempt", "worker"]
Kind = Literal["def", "generator", "async", "async generator"]

_SCOPES: Final = ("attempt", "worker")


@dataclass(frozen=True, slots=True, init=False)
class Depends:
    """Asks for what a provider gives, in the annotation of a parameter: ``Annotated[Session, Depends(session)]``.

    A provider is a function, a class, or a generator function that yields once: what it yields is handed in, and what
    stands after the ``yield`` runs when the scope ends. It may be async for an async task, may ask for other providers,
    and with ``scope="attempt"`` for the context. ``scope="attempt"`` opens it once per attempt, ``scope="worker"`` once
    per worker process, when it is first needed.

    Raises:
        InvalidTask: the provider cannot be called.
        InvalidOption: the scope is neither.

    >>> DB = Annotated[Session, Depends(session)]
    """

    provider: Callable[..., Any]
    scope: Scope

    def __init__(self, provider: Callable[..., Any], *, scope: Scope = "attempt") -> None:
        if not callable(provider):
            raise InvalidTask("A provider is a function", seen=shown(provider), do="Write Depends(open_pool).")
        if not _is_scope(scope):
            raise InvalidOption(
                "scope is neither attempt nor worker", seen=shown(scope), do='Write scope="attempt" or scope="worker".'
            )
        object.__setattr__(self, "provider", provider)
        object.__setattr__(self, "scope", scope)


def _is_scope(scope: object) -> bool:
    return isinstance(scope, str) and scope in _SCOPES


@dataclass(frozen=True, slots=True, eq=False)
class Provider:
    """A provider, read. ``needs`` are the parameters that others fill, ``context`` the one that takes the context.

    ``key`` stands for it in a scope: whoever asks for the same function there is given the same value.
    """

    key: tuple[Scope, Any]
    fn: Callable[..., Any]
    scope: Scope
    kind: Kind
    needs: tuple[tuple[str, Provider], ...]
    context: str | None

    @property
    def is_async(self) -> bool:
        return self.kind.startswith("async")

    @property
    def name(self) -> str:
        return name_of(self.fn)


class Plan(NamedTuple):
    """Which provider fills which parameter of a task; and those of the worker's scope, each after what it needs."""

    parameters: tuple[tuple[str, Provider], ...]
    worker: tuple[Provider, ...]


def asked_of(
    fn: Callable[..., Any], parameters: Sequence[inspect.Parameter], hints: Mapping[str, Any]
) -> dict[str, Depends]:
    """What the parameters of a function ask of providers.

    Raises:
        InvalidTask: a parameter asks in a way that cannot be answered.
    """
    asked: dict[str, Depends] = {}
    for parameter in parameters:
        if (depends := _depends(fn, parameter, hints)) is not None:
            _check_parameter(fn, parameter)
            asked[parameter.name] = depends
    return asked


# -- single parameters ------------------------------------------------------------------------------------------------


def _depends(fn: Callable[..., Any], parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Depends | None:
    if isinstance(parameter.default, Depends):
        written = f"Annotated[…, Depends({name_of(parameter.default.provider)})]"
        raise invalid(
            fn,
            f"has a provider as the default of {parameter.name}",
            f"Write {parameter.name}: {written}, so that a plain call still takes it as an argument.",
        )
    annotation: Any = hints.get(parameter.name)
    if typing.get_origin(annotation) is not typing.Annotated:
        return None
    if Depends in annotation.__metadata__:
        raise invalid(fn, f"names no provider for {parameter.name}", "Write Depends(open_pool), with the function.")
    found = [said for said in annotation.__metadata__ if isinstance(said, Depends)]
    if len(found) > 1:
        raise invalid(fn, f"asks two providers for {parameter.name}", "Keep one Depends in its annotation.")
    return found[0] if found else None


def _check_parameter(fn: Callable[..., Any], parameter: inspect.Parameter) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise invalid(fn, f"asks a provider for {parameter}", f"Write {parameter.name} without the asterisk.")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise invalid(fn, f"asks for {parameter.name} by position only", "Move the / in front of it.")


def key_of(fn: Callable[..., Any], scope: Scope) -> tuple[Scope, Any]:
    """What stands for a provider in a scope."""
    try:
        hash(fn)
    except TypeError:
        return scope, id(fn)
    return scope, fn


def name_of(fn: Callable[..., Any]) -> str:
    """What people call a provider."""
    return getattr(fn, "__qualname__", None) or shown(fn)
