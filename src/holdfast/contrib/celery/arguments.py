"""Arguments to payload and back.

    def send(to: str, *cc: str, subject="Hi", **headers: str)

    send.delay("ada", "grace", reply_to="x")   ↔   {"to": "ada", "cc": ["grace"], "headers": {"reply_to": "x"}}

The payload is an object of the arguments by their names, and of those only that were given: a default is the one of the
code that runs. It is the shape of the model that a task has once it has moved for good.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Optional

import pydantic
import typing_extensions

from holdfast.annotations import annotations_of
from holdfast.errors import NotSerializable, PayloadInvalid, shown
from holdfast.typed_dicts import for_pydantic

__all__ = ["Arguments"]

_EMPTY: Final = inspect.Parameter.empty
# Built at run time, so none of a checker's business.
_typed_dict: Any = typing_extensions.TypedDict
_required: Any = typing_extensions.Required
_not_required: Any = typing_extensions.NotRequired
_optional: Any = Optional
_list: Any = list
_dict: Any = dict


class Arguments:
    """What a function is called with. ``bound`` takes away its first parameter, which is the task itself."""

    def __init__(self, fn: Callable[..., Any], name: str, *, bound: bool) -> None:
        parameters = list(inspect.signature(fn).parameters.values())[1 if bound else 0 :]
        hints = annotations_of(fn)
        self.name = name
        self.signature = inspect.Signature([each.replace(annotation=_EMPTY) for each in parameters])
        self.output = hints.get("return", Any)
        self._unannotated = [each for each in parameters if each.name not in hints]
        self.type = _typed_dict("Arguments", {each.name: _field(each, hints) for each in parameters})
        # A misspelt argument would vanish otherwise. The rest is what every payload has.
        self.type.__pydantic_config__ = pydantic.ConfigDict(
            extra="forbid", ser_json_bytes="base64", val_json_bytes="base64", hide_input_in_errors=True
        )

    @property
    def optional(self) -> bool:
        """Whether it can be called without any."""
        return not any(map(_is_required, self.signature.parameters.values()))

    def pack(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The payload of a call.

        Raises:
            PayloadInvalid: it cannot be called like this.
            NotSerializable: an argument without annotation would arrive as something else.
        """
        try:
            given = self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise PayloadInvalid(
                f"Task {self.name} cannot be called like this",
                seen=str(error),
                do=f"Its arguments are {self.signature}.",
            ) from None
        for parameter in self._unannotated:
            if parameter.name in given and not _is_plain(given[parameter.name]):
                self._refuse(parameter, given[parameter.name])
        return {name: list(value) if self._is_rest(name) else value for name, value in given.items()}

    def unpack(self, payload: Mapping[str, Any]) -> inspect.BoundArguments:
        """The arguments of a payload."""
        in_order = {name: payload[name] for name in self.signature.parameters if name in payload}
        return inspect.BoundArguments(self.signature, in_order)

    def _is_rest(self, name: str) -> bool:
        return self.signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL

    def _refuse(self, parameter: inspect.Parameter, value: object) -> None:
        raise NotSerializable(
            f"Argument {parameter.name} of task {self.name} has no annotation, and would not arrive as it is",
            seen=shown(value),
            do=f"Annotate it, such as {parameter.name}: datetime, or give what JSON has.",
        )


def _is_required(parameter: inspect.Parameter) -> bool:
    several = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is _EMPTY and parameter.kind not in several


def _field(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    hint: Any = for_pydantic(hints.get(parameter.name, Any))
    if parameter.kind is parameter.VAR_POSITIONAL:
        return _not_required[_list[hint]]
    if parameter.kind is parameter.VAR_KEYWORD:
        return _not_required[_dict[str, hint]]
    if parameter.default is None:
        hint = _optional[hint]  # `limit: int = None` is found in much code
    return (_required if _is_required(parameter) else _not_required)[hint]


def _is_plain(value: object) -> bool:
    """Whether it comes back from JSON as it is; a tuple as a list, as ever with Celery."""
    match value:
        case None | str() | int():
            return True
        case float():
            return math.isfinite(value)
        case list() | tuple():
            return all(map(_is_plain, value))
        case dict():
            return all(isinstance(key, str) and _is_plain(each) for key, each in value.items())
    return False
