"""What a host gives to runs with machines: what it has, or what its operator says, shared by its worker processes."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.errors import InvalidOption
from holdfast.machine import machine_of
from holdfast.sizes import to_bytes
from holdfast.worker.capacity import Room, detect


class Offer(NamedTuple):
    """What each process has, and the machines it takes: None for all that fit."""

    room: Room
    machines: list[str] | None


def offer(cpu: float | None, memory: str | None, machines: list[str] | None, processes: int) -> Offer:
    """What each of so many processes has. Machines that are named fit, unless it is said that there is less: a host
    that is sold with 16 GB shows a little less than that.

    Raises:
        InvalidOption: no machine, no size, or a machine that is larger than what each process is said to have.
    """
    named = [machine_of(name, option="--machines") for name in machines or ()]
    there = detect().share(processes)
    room = Room(
        max([there.cpu_millis, *(each.cpu_millis for each in named)])
        if cpu is None
        else round(1000 * cpu) // processes,
        max([there.memory_bytes, *(each.memory_bytes for each in named)])
        if memory is None
        else to_bytes(memory, name="--memory") // processes,
    )
    for each in named:
        if not room.holds(each):
            raise InvalidOption(
                f"The machine {each.name} does not fit into a worker process",
                seen=f"it is {each}, and each of {processes} has {room}",
                do="Give more with --cpu and --memory, or start fewer processes.",
            )
    return Offer(room, [each.name for each in named] if machines else None)
