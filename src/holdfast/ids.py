"""Names for rows: ids that sort by age, and stable hashes of names.

An id is a uuid7 written as 26 lowercase Crockford base32 characters: 10 for the millisecond, 16 for version, variant
and 74 bits that are random in each new millisecond and rise within it. So ids made by one process are strictly rising,
of their text, and an index on them grows at its right edge. An id is no secret: who has seen some can guess
others.
"""

from __future__ import annotations

import hashlib
import os
import random
import secrets
import string
import threading
import time
from typing import Final
from uuid import UUID

__all__ = ["as_uuid", "from_uuid", "hash63", "id_beside", "least_id", "made_at", "new_api_key", "new_id", "new_secret"]

_ALPHANUMERIC: Final = string.ascii_letters + string.digits
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_AS_BASE32: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")  # what int() reads
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62
_LOW: Final = (1 << 62) - 1


class _Ids:
    """The state of the process: the last millisecond used, and the 74 bits last used in it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.random = random.Random(os.urandom(32))
        self.ms = -1
        self.prefix = ""
        self.bits = 0

    def next(self) -> str:
        now = time.time_ns() // 1_000_000
        with self.lock:
            if now > self.ms:  # a clock that was set back changes nothing: the last millisecond goes on
                self.ms = now
                self.prefix = _base32(now, 5)
                # The top bit stays free: a millisecond then has room for 2**41 ids at least, and never overflows.
                self.bits = self.random.getrandbits(73)
            else:
                self.bits += 1 + self.random.getrandbits(32)
            prefix, bits = self.prefix, self.bits
        return prefix + _base32_80(_VERSION | (bits >> 62) << 64 | _VARIANT | bits & _LOW)


def _base32(number: int, pairs: int) -> str:
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(10 * pairs - 10, -1, -10)])


def _base32_80(n: int) -> str:
    """The same of 80 bits: written out, as it is what an id costs."""
    p = _PAIRS
    high = f"{p[n >> 70 & 1023]}{p[n >> 60 & 1023]}{p[n >> 50 & 1023]}{p[n >> 40 & 1023]}"
    return f"{high}{p[n >> 30 & 1023]}{p[n >> 20 & 1023]}{p[n >> 10 & 1023]}{p[n & 1023]}"


_ids: _Ids | None = None
_making = threading.Lock()


def _forget() -> None:
    # A forked child would otherwise repeat the ids of its parent and siblings, or inherit a lock that somebody holds.
    # Most such children make no id, and copy no memory for a state of their own.
    global _ids, _making
    _ids, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)


def _made() -> _Ids:
    global _ids
    with _making:
        if _ids is None:
            _ids = _Ids()
        return _ids


def new_id() -> str:
    """A new id: 26 characters, unique, greater than all that this process made before. Safe in threads and forks."""
    return (_ids or _made()).next()


def id_beside(other: str, number: int) -> str:
    """The id of something that is made beside what has the ``other`` one, as old as that: always the same for the same
    number, of which 80 bits count."""
    return other[:10] + _base32_80(number & (1 << 80) - 1)


def least_id(at: int) -> str:
    """The least id that can be made in this millisecond: ids begin with their time."""
    return _base32(max(0, at), 5)


def made_at(id: str) -> int:
    """When an id was made, in milliseconds: what `least_id` turns around."""
    ms = 0
    for character in id[:10]:
        ms = ms << 5 | max(0, _ALPHABET.find(character))
    return ms


def new_secret() -> str:
    """43 characters for a URL that nobody can guess."""
    return secrets.token_urlsafe(32)


def new_api_key() -> str:
    """A key for the HTTP API: 142 random bits. Clients of Trigger.dev know by its shape that it is not they who sign
    public tokens, but the server."""
    return "tr_prod_sk_" + "".join(secrets.choice(_ALPHANUMERIC) for _ in range(24))


def as_uuid(id: str) -> str:
    """An id as a UUID in its usual 36 characters, for whoever knows those.

    >>> as_uuid("01kaxg4pqye1hrjsq0y3v4mz5c")
    '019abb02-5afe-7063-8966-e0f0f64a7cac'
    """
    digits = f"{int(id.translate(_AS_BASE32), 32):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def from_uuid(text: str) -> str | None:
    """The id that a UUID stands for; None if it is no UUID."""
    try:
        number = UUID(text).int
    except ValueError:
        return None
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def hash63(*parts: str | None) -> int:
    """A number from 0 to 2**63-1 that stands for these names, the same in every process and every version.

    ``None`` differs from ``""``, and ``("a", "bc")`` from ``("ab", "c")``. The database knows the same function, as
    ``holdfast.hash63`` on PostgreSQL, so that a trigger in SQL finds the numbers that Python would.
    """
    digest = hashlib.sha256(b"".join(map(_counted, parts)))
    return int.from_bytes(digest.digest()[:8], "big") >> 1


def _counted(part: str | None) -> bytes:
    if part is None:
        return b"\x00"
    name = part.encode("utf-8", "surrogatepass")
    return b"\x01" + len(name).to_bytes(8, "big") + name
