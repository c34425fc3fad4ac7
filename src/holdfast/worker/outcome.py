"""What the end of an attempt means for its run: decided here, purely, and written elsewhere, once.

An exception uses up an attempt, and the next one comes after a backoff; ``AbortRun``, an exception the task's
``Retry`` does not want, or the last attempt make the run final. An interrupt (cancel, the time limit, a drain) is
told apart from an exception by its reason, which was noted before it was raised.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import replace
from typing import Literal

from holdfast import codec
from holdfast.duration import format_ms, to_ms
from holdfast.errors import AbortRun, HoldfastError, InvalidOption, OutOfMemory, RetryAfter
from holdfast.machine import machine_in
from holdfast.model import RunError
from holdfast.records import Again, Claimed, Ended
from holdfast.task import Governing

Reason = Literal["canceled", "timed_out", "returned", "lost", "suspended"]
Outcome = Ended | Again
Verdict = RetryAfter | AbortRun | None
OUT_OF_MEMORY = (MemoryError, OutOfMemory)


def completed(claimed: Claimed, output: str) -> Ended:
    """The function returned, and its output is JSON text."""
    return Ended(claimed.id, claimed.claim, "completed", output)


def failed(claimed: Claimed, error: BaseException, governing: Governing, verdict: Verdict = None) -> Outcome:
    """The function raised: try again, or the run has failed. A ``verdict`` is as if that had been raised instead."""
    text = error_text(error)
    decisive = error if verdict is None else verdict
    if isinstance(decisive, OUT_OF_MEMORY) and (larger := larger_machine(claimed, governing)) is not None:
        options = codec.encode({**codec.decode(claimed.options or "{}"), "machine": larger})
        return Again(claimed.id, claimed.claim, 0, True, "failed", text, machine=larger, options=options)
    own = decisive.max_attempts if isinstance(decisive, RetryAfter) else None
    final = (
        isinstance(decisive, AbortRun)
        or claimed.attempt >= (own or governing.max_attempts)
        or not (isinstance(decisive, RetryAfter) or governing.retry.wants(decisive))
    )
    if final:
        return Ended(claimed.id, claimed.claim, "failed", None, text)
    return Again(claimed.id, claimed.claim, backoff(claimed, decisive, governing), True, "failed", text)


def larger_machine(claimed: Claimed, governing: Governing) -> str | None:
    """The machine for the next attempt, after one that ran out of memory; None if it was that one, or the last."""
    larger = governing.retry.larger
    if larger is None or claimed.attempt >= governing.max_attempts or larger.name == machine_in(claimed.options):
        return None
    return larger.name


def backoff(claimed: Claimed, error: BaseException, governing: Governing) -> int:
    """How long until the next attempt, in milliseconds: what the task asked for, or what its ``Retry`` says."""
    if isinstance(error, RetryAfter):
        with contextlib.suppress(InvalidOption):
            return to_ms(error.delay, name="RetryAfter")
    return governing.retry.delay_ms(claimed.attempt, random.random)


def refused(claimed: Claimed, error: HoldfastError) -> Ended:
    """What another attempt cannot mend: a payload that does not fit, an output that cannot be kept."""
    return Ended(claimed.id, claimed.claim, "failed", None, error_text(error))


def interrupted(claimed: Claimed, reason: Reason, governing: Governing | None) -> Outcome | None:
    """The attempt was stopped from outside. Nothing is said of a run that is not ours any more."""
    if reason == "canceled":
        return Ended(claimed.id, claimed.claim, "canceled")
    if reason == "timed_out":
        limit = format_ms(governing.max_duration_ms or 0) if governing else "its limit"
        message = f"The attempt took longer than max_duration ({limit}). Give it more time, or let it do less."
        return Ended(claimed.id, claimed.claim, "timed_out", None, plain_error("RunTimedOut", message))
    return returned(claimed) if reason == "returned" else None


def returned(claimed: Claimed) -> Again:
    """Handed back as if it had not been claimed: a deploy uses up nothing."""
    return back(claimed.id, claimed.claim)


def back(run_id: str, claim: int) -> Again:
    """Back in line, as if it had not been claimed."""
    return Again(run_id, claim, 0, False, "returned")


def unbegun(run_id: str, claim: int) -> Again:
    """Back in line: it was claimed, and no line of it has run."""
    return Again(run_id, claim, 0, False, "returned", begun=False)


def system_failure(run_id: str, claim: int, message: str) -> Ended:
    """Holdfast itself cannot go on with this run: it ends and says why."""
    return Ended(run_id, claim, "system_failure", None, plain_error("SystemFailure", message))


def error_text(error: BaseException) -> str:
    """An exception as it is stored. Never raises, whatever the exception does when it is asked for its text."""
    described = RunError.of(error)
    return (replace(described, type="OutOfMemory") if isinstance(error, OUT_OF_MEMORY) else described).text()


def plain_error(kind: str, message: str) -> str:
    return codec.encode({"type": kind, "message": message, "traceback": ""})
