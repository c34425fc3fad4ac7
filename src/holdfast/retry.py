"""When a failed attempt is followed by another one, and how long after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from holdfast.counts import checked_count
from holdfast.duration import Duration, to_ms
from holdfast.errors import AbortRun, InvalidOption, RetryAfter, shown
from holdfast.machine import Machine, MachineName, machine_of

__all__ = ["Exceptions", "Retry"]

Exceptions = type[BaseException] | tuple[type[BaseException], ...]

_SPREAD: Final = 1.5
_ENDLESS: Final = 2**31 - 1  # the number of an attempt is kept in 32 bits
_ADDED: Final = 0.1  # to a delay that was said by itself, at most
_USUAL_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Retry:
    """How a task is retried: up to ``max_attempts`` attempts, with delays that grow by ``factor``.

    The delay after the first attempt is ``min_delay``, after each further one ``factor`` times as long, and never more
    than ``max_delay``. ``jitter`` spreads it over a range whose ends differ by half, within ``min_delay`` and
    ``max_delay``, so that what failed together does not come back together. ``on`` limits retries to these exceptions;
    ``never`` excludes some and wins.

    ``delays`` says each delay by itself instead, and so how many attempts there are: one more than delays. ``jitter``
    then adds up to a tenth.

    ``out_of_memory`` is the machine of the next attempt after one that needed more memory than it had. It comes at
    once.

    Raises:
        InvalidOption: an option that cannot be used, by its name.

    >>> Retry(max_attempts=5, on=ConnectionError, never=ConnectionRefusedError, jitter=False).delay_ms(3, lambda: 0.0)
    4000
    """

    max_attempts: int = _USUAL_ATTEMPTS
    factor: float = 2
    min_delay: Duration = field(default="1s", compare=False)
    max_delay: Duration = field(default="30s", compare=False)
    jitter: bool = True
    on: Exceptions = ()
    never: Exceptions = ()
    delays: Sequence[Duration] = field(default=(), compare=False)
    out_of_memory: Machine | MachineName | None = None
    min_delay_ms: int = field(init=False, repr=False)
    max_delay_ms: int = field(init=False, repr=False)
    delays_ms: tuple[int, ...] = field(init=False, repr=False)
    larger: Machine | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checked_count(self.max_attempts, option="max_attempts", most=_ENDLESS)
        _check_factor(self.factor)
        if not isinstance(self.jitter, bool):
            raise InvalidOption("jitter is neither True nor False", seen=shown(self.jitter), do="Write jitter=False.")
        _check_exceptions("on", self.on)
        _check_exceptions("never", self.never)
        object.__setattr__(self, "min_delay_ms", to_ms(self.min_delay, name="min_delay"))
        object.__setattr__(self, "max_delay_ms", to_ms(self.max_delay, name="max_delay"))
        object.__setattr__(self, "delays_ms", _delays_ms(self.delays))
        larger = None if self.out_of_memory is None else machine_of(self.out_of_memory, option="out_of_memory")
        object.__setattr__(self, "larger", larger)
        if self.delays_ms:
            _check_count(self.max_attempts, len(self.delays_ms) + 1)
            object.__setattr__(self, "max_attempts", len(self.delays_ms) + 1)
        if self.min_delay_ms > self.max_delay_ms:
            raise InvalidOption(
                "min_delay is longer than max_delay",
                seen=f"{shown(self.min_delay)} and {shown(self.max_delay)}",
                do="Give a max_delay, too.",
            )

    def wants(self, error: BaseException) -> bool:
        """Whether an attempt that ended with ``error`` may be followed by another one (its number not considered)."""
        if isinstance(error, AbortRun):
            return False
        if isinstance(error, RetryAfter):
            return True
        return isinstance(error, self.on or Exception) and not isinstance(error, self.never)

    def delay_ms(self, attempt: int, random: Callable[[], float]) -> int:
        """Milliseconds to wait after attempt number ``attempt`` (from 1) failed; ``random`` gives numbers in [0, 1)."""
        longest = self._delay_without_jitter(attempt)
        if self.delays_ms:
            return round(longest * (1 + _ADDED * random())) if self.jitter else round(longest)
        if not self.jitter:
            return round(longest)
        longest = min(self.max_delay_ms, longest * _SPREAD)
        shortest = max(self.min_delay_ms, longest / _SPREAD)
        return round(shortest + (longest - shortest) * random())

    def _delay_without_jitter(self, attempt: int) -> float:
        if self.delays_ms:
            return self.delays_ms[min(attempt, len(self.delays_ms)) - 1]
        try:
            growth = float(self.factor) ** (attempt - 1)
        except OverflowError:
            growth = math.inf
        return min(self.max_delay_ms, self.min_delay_ms * growth) if self.min_delay_ms else 0


def _delays_ms(delays: object) -> tuple[int, ...]:
    if isinstance(delays, str | bytes) or not isinstance(delays, Sequence):
        raise InvalidOption("delays is not a list of durations", seen=shown(delays), do='Write delays=["5s", "1m"].')
    return tuple(to_ms(delay, name="delays") for delay in delays)


def _check_count(given: int, meant: int) -> None:
    if given not in (_USUAL_ATTEMPTS, meant):
        raise InvalidOption(
            "max_attempts and delays contradict each other",
            seen=f"{given} attempts, and {meant - 1} delays",
            do="Leave max_attempts out.",
        )


def _check_factor(value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value < math.inf:
        raise InvalidOption("factor is not a number of at least 1", seen=shown(value), do="Write, say, factor=3.")


def _check_exceptions(name: str, value: object) -> None:
    for each in value if isinstance(value, tuple) else (value,):
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise InvalidOption(
                f"{name} must be an exception class or a tuple of them",
                seen=shown(each),
                do=f"Write, say, {name}=ConnectionError.",
            )
