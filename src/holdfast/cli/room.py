"""What a host gives to runs with machines: what it has, or what its operator says, shared by its worker processes."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.cli.show import DIM, clean, err
from holdfast.errors import InvalidOption
from holdfast.machine import machine_of
from holdfast.sizes import to_bytes
from holdfast.worker.capacity import Room, detect
from holdfast.worker.channel import Orders
from holdfast.worker.isolated.confine import enforced


class Offer(NamedTuple):
    """What each process has, and the machines it takes: None for all that fit."""

    room: Room
    machines: list[str] | None


def tell(orders: Orders, processes: int) -> None:
    """Say what there is for runs with machines, and what of them is enforced here."""
    from rich.text import Text

    if orders.room is None:
        return
    each = " each" if processes > 1 else ""
    only = "" if orders.machines is None else f", of {', '.join(orders.machines)} only"
    err().print(Text(f"for runs with machines: {orders.room}{each}{only}"), soft_wrap=True)
    for sentence in enforced():
        err().print(Text(clean(f"  {sentence}")), style=DIM, soft_wrap=True)


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
