"""Machines: how much of a host a run may use.

A machine is so many vCPUs and so much memory. Seven have names; any other is written ``Machine(cpu=, memory=)``. Where
it is stored it is one word, from which everything about it can be read: ``small-1x``, or ``1.5cpu-250mb``. A run
remembers its machine among its options, and its route is one of that machine, so that a worker claims what fits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final, Literal, get_args

from holdfast.errors import InvalidOption, shown
from holdfast.jsontext import decode
from holdfast.sizes import KIB, MIB

__all__ = ["Isolation", "Machine", "MachineName", "Memory", "format_bytes", "machine_in", "machine_of"]

MachineName = Literal["micro", "small-1x", "small-2x", "medium-1x", "medium-2x", "large-1x", "large-2x"]
Isolation = Literal["worker", "process"]
Memory = str | int

GIB: Final = 1024 * MIB
_SMALLEST: Final = 16 * MIB  # Python itself does not start in less
_LARGEST: Final = 64 * 1024 * GIB
_MOST_CPU: Final = 4096
_MEMORY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\s*(KI?B|MI?B|GI?B|TI?B|[KMGT])", re.IGNORECASE)
_UNITS: Final = {"K": KIB, "M": MIB, "G": GIB, "T": 1024 * GIB}
_WORD: Final = re.compile(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)cpu-([0-9]{1,9})mb")
_WRITE: Final = 'Write one of its names, such as "small-2x", or Machine(cpu=2, memory="4GB").'


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """So many vCPUs, and so much memory: ``Machine(cpu=1.5, memory="3GB")``.

    ``memory`` is text such as ``"250MB"`` or ``"1.5GB"``, or bytes; a kilobyte has 1024 bytes here, as for containers.
    It counts in whole megabytes, the CPU in thousandths. ``name`` is the word it is known by.

    There are ``micro`` (0.25 vCPU, 0.25 GB), ``small-1x`` (0.5, 0.5), ``small-2x`` (1, 1), ``medium-1x`` (1, 2),
    ``medium-2x`` (2, 4), ``large-1x`` (4, 8) and ``large-2x`` (8, 16), which can be given by their names.

    Raises:
        InvalidOption: the CPU is not a number from 0.05 to 4096, the memory not a size from 16 MB to 64 TB.

    >>> Machine(cpu=0.5, memory="512MB").name, Machine(cpu=1.5, memory="3GB").name
    ('small-1x', '1.5cpu-3072mb')
    """

    cpu: float
    memory: Memory = field(compare=False)
    memory_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cpu", _checked_cpu(self.cpu))
        object.__setattr__(self, "memory_bytes", _checked_memory(self.memory))

    @property
    def cpu_millis(self) -> int:
        """Its CPU in thousandths of a vCPU."""
        return round(self.cpu * 1000)

    @property
    def name(self) -> str:
        """The word it is known by: that of a preset, or ``1.5cpu-3072mb``."""
        preset = _NAMES.get((self.cpu_millis, self.memory_bytes))
        return preset or f"{self.cpu:g}cpu-{self.memory_bytes // MIB}mb"

    def fits(self, other: Machine) -> bool:
        """Whether a run for this machine could run on the ``other`` one."""
        return self.cpu_millis <= other.cpu_millis and self.memory_bytes <= other.memory_bytes

    def __str__(self) -> str:
        return f"{self.cpu:g} vCPU, {format_bytes(self.memory_bytes)}"


def machine_of(value: object, *, option: str = "machine") -> Machine:
    """What was given as ``machine=``: a Machine as it is, one of the names, or the word of another machine.

    Raises:
        InvalidOption: it is none of these.
    """
    if isinstance(value, Machine):
        return value
    found = _known(value) if isinstance(value, str) and len(value) <= 32 else None
    if found is None:
        raise InvalidOption(
            f"{option} is not a machine",
            seen=shown(value),
            do=f"{_WRITE} The names are {', '.join(PRESETS)}.",
        )
    return found


def machine_in(options: str | None, key: str = "machine") -> str | None:
    """The word of the machine among the options that are stored with a run, or a task; None if there is none."""
    if options is None or key not in options:
        return None
    word = decode(options).get(key)
    return word if isinstance(word, str) else None


def format_bytes(size: int) -> str:
    """A size for people.

    >>> format_bytes(16 * 1024**3), format_bytes(262_144_000)
    ('16 GB', '250 MB')
    """
    for unit, name in ((GIB, "GB"), (MIB, "MB"), (KIB, "KB")):
        if size >= unit:
            return f"{math.floor(10 * size / unit) / 10:g} {name}"
    return f"{size} bytes"


@lru_cache(maxsize=1000)
def _known(word: str) -> Machine | None:
    if word in PRESETS:
        return PRESETS[word]
    found = _WORD.fullmatch(word)
    if found is None:
        return None
    try:
        return Machine(cpu=float(found[1]), memory=int(found[2]) * MIB)
    except InvalidOption:
        return None


def _checked_cpu(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.05 <= value <= _MOST_CPU:  # type: ignore[operator]
        raise InvalidOption(
            f"cpu is not a number from 0.05 to {_MOST_CPU}", seen=shown(value), do="Write the vCPUs, such as cpu=0.5."
        )
    return round(float(value), 3)  # type: ignore[arg-type]


def _checked_memory(value: object) -> int:
    size = _bytes(value)
    if size is None or not _SMALLEST <= size <= _LARGEST:
        raise InvalidOption(
            "memory is not a size from 16 MB to 64 TB",
            seen=shown(value),
            do='Write it like "250MB" or "1.5GB", or as bytes.',
        )
    return -(-size // MIB) * MIB


def _bytes(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or len(value) > 40 or (found := _MEMORY.fullmatch(value.strip())) is None:
        return None
    return math.ceil(float(found[1]) * _UNITS[found[2][0].upper()])


_SIZES: Final = ((0.25, 256), (0.5, 512), (1, 1024), (1, 2048), (2, 4096), (4, 8192), (8, 16_384))
PRESETS: Final[Mapping[str, Machine]] = MappingProxyType(
    {name: Machine(cpu=cpu, memory=mb * MIB) for name, (cpu, mb) in zip(get_args(MachineName), _SIZES, strict=True)}
)
_NAMES: Final = {(each.cpu_millis, each.memory_bytes): name for name, each in PRESETS.items()}
