"""The words of Trigger.dev's API: ids with a prefix, times as ISO text, statuses in capitals.

Inside Holdfast a run is ``01k…`` and ``canceled``; on this wire it is ``run_01k…`` and ``CANCELED``. What is not known
of something is left out: the client takes null for an error, and in the place of a date for 1970.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final, Literal, get_args

from holdfast.api.refused import Refused
from holdfast.clock import utc
from holdfast.duration import LONGEST_MS
from holdfast.model import FINAL

Kind = Literal["run", "batch", "sched", "queue", "waitpoint", "bulk", "env", "span"]
WORDS: Final[dict[Kind, str]] = {
    "run": "run",
    "batch": "batch",
    "sched": "schedule",
    "queue": "queue",
    "waitpoint": "token",
    "bulk": "bulk action",
    "env": "environment",
    "span": "span",
}
ID: Final = re.compile("[0-9a-z]{26}", re.ASCII)

# -- ids --------------------------------------------------------------------------------------------------------------


def told(kind: Kind, id: str) -> str:
    """An id of ours as the client knows it."""
    return f"{kind}_{id}"


def bare(kind: Kind, id: str) -> str:
    """An id that the client says, as ours; with its prefix or without. Raises Refused (404)."""
    found = id.removeprefix(f"{kind}_")
    if ID.fullmatch(found) is None:
        raise unknown(kind)
    return found


def unknown(kind: Kind) -> Refused:
    return Refused(404, f"There is no such {WORDS[kind]}")


# -- times ------------------------------------------------------------------------------------------------------------

UNITS: Final = {"w": 604_800_000, "d": 86_400_000, "hr": 3_600_000, "h": 3_600_000, "m": 60_000, "s": 1_000}
DURATION: Final = re.compile(r"(?:[0-9]+(?:w|d|hr|h|m|s))+", re.ASCII)
PART: Final = re.compile(r"([0-9]+)(w|d|hr|h|m|s)", re.ASCII)


def iso(ms: int) -> str:
    """Milliseconds since the epoch as ISO 8601, in UTC."""
    return utc(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_iso(ms: int | None) -> str | None:
    return None if ms is None else iso(ms)


def duration_ms(text: str, param: str) -> int:
    """``1h52m18s``: one or more of weeks, days, hours, minutes and seconds. Raises Refused (422)."""
    written = text.strip()
    if len(written) > 100 or DURATION.fullmatch(written) is None:
        raise Refused(422, f"{param} is not a duration such as 10s, 5m, 1h30m or 2d", param=param)
    found = sum(int(count) * UNITS[unit] for count, unit in PART.findall(written))
    if found > LONGEST_MS:
        raise Refused(422, f"{param} is longer than a thousand years", param=param)
    return found


def moment_ms(text: str, param: str) -> int:
    """An ISO 8601 timestamp; without an offset it is UTC. Raises Refused (422)."""
    try:
        found = datetime.fromisoformat(text.strip())
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return -int(-found.timestamp() * 1000 // 1)
    except (ValueError, OverflowError):
        raise Refused(422, f"{param} is neither a duration such as 1h30m nor an ISO 8601 date", param=param) from None


def when(text: str, param: str) -> tuple[int | None, int | None]:
    """A delay: in so many milliseconds, or at that moment. Raises Refused (422)."""
    if DURATION.fullmatch(text.strip()):
        return duration_ms(text, param), None
    return None, moment_ms(text, param)


def written_duration(ms: int) -> str:
    """A duration as this API writes it.

    >>> written_duration(5_400_000)
    '1h30m'
    """
    parts: list[str] = []
    for unit, size in UNITS.items():
        count, ms = (0, ms) if unit == "hr" else divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


# -- statuses ---------------------------------------------------------------------------------------------------------

Status = Literal[
    "PENDING_VERSION",
    "DELAYED",
    "QUEUED",
    "DEQUEUED",
    "EXECUTING",
    "WAITING",
    "COMPLETED",
    "FAILED",
    "CANCELED",
    "CRASHED",
    "EXPIRED",
    "SYSTEM_FAILURE",
    "TIMED_OUT",
]
OURS: Final[dict[Status, str]] = {
    "PENDING_VERSION": "pending_version",
    "DELAYED": "delayed",
    "QUEUED": "queued",
    "EXECUTING": "executing",
    "WAITING": "waiting",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELED": "canceled",
    "CRASHED": "crashed",
    "EXPIRED": "expired",
    "SYSTEM_FAILURE": "system_failure",
    "TIMED_OUT": "timed_out",
}
STATUSES: Final = frozenset(get_args(Status))
THEIRS: Final[dict[str, Status]] = {ours: theirs for theirs, ours in OURS.items()}
INTERNAL: Final = {"QUEUED": "PENDING", "COMPLETED": "COMPLETED_SUCCESSFULLY", "FAILED": "COMPLETED_WITH_ERRORS"}
QUEUED: Final = frozenset(("PENDING_VERSION", "DELAYED", "QUEUED"))


def status(ours: str, *, started: bool) -> Status:
    """The status that the client is told. A run that backs off before a retry is delayed here and executing there."""
    return "EXECUTING" if ours == "delayed" and started else THEIRS[ours]


def internal(ours: str, *, started: bool) -> str:
    """The same in the words of realtime rows, which are others."""
    if ours == "waiting":
        return "WAITING_TO_RESUME"
    if ours == "delayed" and started:
        return "RETRYING_AFTER_FAILURE"
    said = THEIRS[ours]
    return INTERNAL.get(said, said)


def flags(status: Status) -> dict[str, bool]:
    """What the client asks instead of comparing words. ``isCompleted`` is true of every final status, or it would poll
    for eight minutes."""
    final = status.lower() in FINAL
    return {
        "isQueued": status in QUEUED,
        "isExecuting": status in ("EXECUTING", "DEQUEUED"),
        "isWaiting": status == "WAITING",
        "isCompleted": final,
        "isSuccess": status == "COMPLETED",
        "isFailed": final and status != "COMPLETED",
        "isCancelled": status == "CANCELED",
    }
