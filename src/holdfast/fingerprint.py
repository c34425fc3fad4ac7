"""What tells one error from another.

Two runs went wrong in the same way if their task, the type of their error and the innermost place in the app's own
code are the same: a function of a file, and not a line of it, so that an edit elsewhere in the file makes no new error.
Where no traceback says a place, the message does, without what differs from run to run: numbers, ids, what is quoted.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final, NamedTuple

from holdfast.frames import frames

VARYING: Final = re.compile(
    r"""'[^']*'|"[^"]*"             # what is quoted
    | \b[0-9a-f]{8,}\b | \b0x[0-9a-f]+\b | \b[0-9a-z]{26}\b
    | \d+(?:[.,:]\d+)*""",
    re.IGNORECASE | re.VERBOSE,
)


class Fingerprint(NamedTuple):
    """``id`` is 16 hexadecimal digits; ``place`` is for people to read, and empty if it is not known."""

    id: str
    place: str


def fingerprint(task: str, type: str, message: str, traceback: str) -> Fingerprint:
    """The fingerprint of an error of a task.

    >>> fingerprint("charge", "ValueError", "no card 17", "") == fingerprint("charge", "ValueError", "no card 4", "")
    True
    """
    place = innermost(traceback)
    told = place or VARYING.sub("*", message)
    digest = hashlib.blake2b(f"{task}\0{type}\0{told}".encode("utf-8", "replace"), digest_size=8)
    return Fingerprint(digest.hexdigest(), place)


def innermost(traceback: str) -> str:
    """The innermost place in the app's own code, else the innermost of all."""
    found = [frame for frame in frames(traceback) if frame.file]
    frame = next((frame for frame in reversed(found) if frame.ours), found[-1] if found else None)
    return "" if frame is None else f"{frame.place} in {frame.function}"
