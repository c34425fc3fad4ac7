"""What the end of a process means for its run: decided purely."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

from holdfast import codec
from holdfast.engine.reap import MAX_CRASHES
from holdfast.errors import OutOfMemory
from holdfast.machine import Machine, format_bytes
from holdfast.records import Again, Claimed, Ended
from holdfast.task import Governing
from holdfast.worker.isolated.zygote import Report
from holdfast.worker.outcome import Outcome, Verdict, failed

NEARLY: Final = 0.9  # of its machine's memory: whoever was killed from outside then was killed for that


def crashed(claimed: Claimed, report: Report, errors: str, max_crashes: int | None) -> Outcome:
    """Its process died. That uses up no attempt; as often as it may, and the run is ``crashed``."""
    deaths = claimed.crashes + 1
    limit = max_crashes or MAX_CRASHES
    message = f"The process of this run {how(report.value)}; that was death {deaths} of {limit}."
    trace = f"{errors}\n\nRunCrashed: {message}" if errors else ""
    text = codec.encode({"type": "RunCrashed", "message": message, "traceback": trace})
    if deaths >= limit:
        return Ended(claimed.id, claimed.claim, "crashed", None, text, crash=1, unheard=True)
    return Again(claimed.id, claimed.claim, 0, False, "crashed", text, crash=1)


def out_of_memory(claimed: Claimed, machine: Machine | None, governing: Governing) -> Outcome:
    """Its process was killed for its memory: an error of the attempt like others, but that nobody could catch."""
    has = "this host has left" if machine is None else f"its machine has ({machine.name}: {memory_of(machine)})"
    return killed(failed(claimed, OutOfMemory(f"The run used more memory than {has}", do=DO), governing))


def decided(claimed: Claimed, outcome: Outcome, governing: Governing, verdict: Verdict) -> Outcome:
    """The same once a hook has decided what becomes of it."""
    other = killed(failed(claimed, OutOfMemory("killed", do=DO), governing, verdict))
    other.error = outcome.error
    return other


def killed(outcome: Outcome) -> Outcome:
    """Nothing is left that could call the hooks for the end of a run."""
    if isinstance(outcome, Ended):
        outcome.status, outcome.unheard = "crashed", True
    return outcome


DO: Final = (
    'Give it a larger machine=, let it do less at a time, or retry it on a larger one: Retry(out_of_memory="large-1x").'
)


def memory_of(machine: Machine) -> str:
    return format_bytes(machine.memory_bytes)


def ran_out(report: Report, machine: Machine | None) -> bool:
    """Whether it was killed for its memory: by us, by the kernel in its cgroup, or by whoever else kills for that."""
    if report.out_of_memory:
        return True
    killed = (
        os.WIFSIGNALED(report.value) and os.WTERMSIG(report.value) == signal.SIGKILL if report.value >= 0 else False
    )
    return killed and machine is not None and report.memory >= NEARLY * machine.memory_bytes


def how(status: int) -> str:
    """How a process has ended, in words."""
    if status < 0:
        return "could not be started, or ended with the one that starts them"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(number).name}"
        return f"was killed by signal {number}"
    return f"ended by itself, with exit code {os.WEXITSTATUS(status)}"
