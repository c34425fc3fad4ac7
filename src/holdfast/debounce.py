"""Debounce as callers write it: many triggers in a short time, one run at the end of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.duration import Duration, to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.names import checked_key

__all__ = ["Debounce"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Debounce:
    """A burst of triggers of one task with the same ``key`` makes one run, ``delay`` after the last of them.

    The run has the payload of the last trigger; with ``leading=True``, of the first. It starts ``max_delay`` after the
    first trigger at the latest, however long the burst goes on. Each trigger gives the handle of that run.

    Raises:
        InvalidOption: a value cannot be used.

    >>> index.trigger(page, debounce=Debounce(key=f"page-{page.id}", delay="10s", max_delay="1m"))
    """

    key: str
    delay: Duration
    leading: bool = False
    max_delay: Duration | None = None

    def __post_init__(self) -> None:
        checked_key(self.key, option="The key of a Debounce")
        delay = _lasting_ms(self.delay, "delay")
        if not isinstance(self.leading, bool):
            raise InvalidOption(
                "leading of a Debounce is neither True nor False",
                seen=shown(self.leading),
                do="Write leading=True to keep the first payload.",
            )
        if self.max_delay is not None and _lasting_ms(self.max_delay, "max_delay") < delay:
            raise InvalidOption(
                "The max_delay of a Debounce is shorter than its delay",
                seen=f"delay={shown(self.delay)}, max_delay={shown(self.max_delay)}",
                do="Give it more than the delay, or leave it out.",
            )

    def fields(self) -> dict[str, Any]:
        """What it says of a NewRun."""
        return {
            "debounce_key": self.key,
            "debounce_ms": to_ms(self.delay, name="delay"),
            "debounce_max_ms": None if self.max_delay is None else to_ms(self.max_delay, name="max_delay"),
            "debounce_leading": self.leading,
        }


def _lasting_ms(value: Duration, name: str) -> int:
    lasting = to_ms(value, name=f"{name} of a Debounce")
    if lasting == 0:
        raise InvalidOption(f"{name} of a Debounce is no time at all", seen=shown(value), do='Write it like "10s".')
    return lasting
