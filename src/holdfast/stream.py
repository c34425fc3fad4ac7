"""Streams: what a run says piece by piece while it works, such as a model's tokens, for whoever reads along.

    StreamWriter    ctx.stream("tokens"), in a task: buffered, and on its way within a twentieth of a second
    StreamReader    handle.stream("tokens"), outside: from the beginning or from an offset, until the run ends

The pieces are kept with the run, in order. An attempt that begins anew writes anew, after what is there; the piece it
begins with is marked, so that a reader can begin anew, too. One that goes on from what is recorded, after a wait, say,
does not write again what it has written before that.
"""

from __future__ import annotations

import threading
import types
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

from holdfast import codec, records
from holdfast.codec import Codec
from holdfast.errors import InvalidOption, shown
from holdfast.model import Chunk, Usage, at
from holdfast.names import checked_name
from holdfast.sizes import CHUNK_LIMIT, STREAM_LIMIT, check_size, size_of
from holdfast.typed_dicts import for_pydantic

__all__ = ["NoPast", "Past", "StreamReader", "StreamWriter", "checked_start", "checked_stream", "codec_of"]

T_co = TypeVar("T_co", covariant=True)

_LEAST: Final = 128  # bytes that a piece counts: a row has some of its own

Numbered = tuple[int, records.Chunk]  # its offset in the stream


class Past(Protocol):
    """What the run has done before. ``goes_on``: it has recorded something, so that this attempt is no new beginning.
    ``repeats()``: the code that asks has run before, up to something that is recorded. ``usage()``: what this attempt
    has used so far."""

    @property
    def goes_on(self) -> bool: ...
    def repeats(self) -> bool: ...
    def usage(self) -> Usage: ...


class NoPast:
    """It has recorded nothing."""

    goes_on = False

    def usage(self) -> Usage:
        return Usage(None, 0.0, None)

    def repeats(self) -> bool:
        return False


class StreamWriter:
    """One stream of a run, to write to.

    >>> tokens = ctx.stream("tokens")
    >>> for token in model.generate(prompt):
    ...     tokens.write(token)
    """

    def __init__(self, name: str, keep: Callable[[str, int, str], None], past: Past) -> None:
        self.name = name
        self._keep = keep
        self._past = past
        self._seq = int(past.goes_on)  # number 1 is the first of a new beginning
        self._size = 0
        self._lock = threading.Lock()

    def write(self, value: Any) -> None:
        """Add a piece: anything that is JSON. Waits for nothing; readers have it about a tenth of a second later.

        Raises:
            NotSerializable: it is not JSON.
            TooLarge: the piece has more than 64 KiB, or all that this attempt wrote has more than 16 MiB. A piece
                counts at least 128 bytes.
        """
        text = codec.encode(value)
        size = size_of(text)
        check_size(size, CHUNK_LIMIT, what="The piece of a stream", limit="the limit for one piece")
        if self._past.repeats():  # it stands there already
            return
        with self._lock:
            total = self._size + max(_LEAST, size)
            check_size(total, STREAM_LIMIT, what="The stream", limit="the limit for what one attempt writes")
            self._size = total
            self._seq += 1
            self._keep(self.name, self._seq, text)

    def __repr__(self) -> str:
        return f"<StreamWriter {self.name}>"


class StreamVerbs(Protocol):
    """What readers ask of a client."""

    def chunks(self, run_id: str, name: str, start: int) -> Iterator[Numbered]: ...
    def achunks(self, run_id: str, name: str, start: int) -> AsyncIterator[Numbered]: ...


class StreamReader(Generic[T_co]):
    """One stream of a run, to read: iterate over it, with ``for`` or with ``async for``.

    It gives what is there, and then each piece as it comes, until the run has ended. Iterating again begins again.

    >>> async for chunk in handle.stream("tokens"):
    ...     if chunk.first:
    ...         page.clear()
    ...     page.add(chunk.value)

    Raises:
        RunNotFound: there is no such run, or no longer.
        PayloadInvalid: a piece does not fit the type that was asked for.
    """

    __slots__ = ("_codec", "_start", "_verbs", "name", "run_id")

    def __init__(self, run_id: str, name: str, codec: Codec[Any], start: int, verbs: StreamVerbs) -> None:
        self.run_id = run_id
        self.name = name
        self._codec = codec
        self._start = start
        self._verbs = verbs

    def __iter__(self) -> Iterator[Chunk[T_co]]:
        for offset, chunk in self._verbs.chunks(self.run_id, self.name, self._start):
            yield self._read(offset, chunk)

    async def __aiter__(self) -> AsyncIterator[Chunk[T_co]]:
        async for offset, chunk in self._verbs.achunks(self.run_id, self.name, self._start):
            yield self._read(offset, chunk)

    def _read(self, offset: int, chunk: records.Chunk) -> Chunk[T_co]:
        value: T_co = self._codec.load(chunk.value)
        return Chunk(value, offset, chunk.attempt, chunk.seq == 1, at(chunk.at))

    def __repr__(self) -> str:
        return f"<StreamReader {self.name} of run {self.run_id}>"


def checked_stream(name: object) -> str:
    """``name`` if a stream can be called so. Raises InvalidOption."""
    return checked_name(name, option="The name of a stream")


def codec_of(kind: Any) -> Codec[Any]:
    """What reads the pieces of a stream as this type; None: as plain JSON. Raises InvalidOption, InvalidTask."""
    written = isinstance(kind, type | types.UnionType | types.GenericAlias) or type(kind).__module__ == "typing"
    if kind is not None and not written:
        raise InvalidOption("type is not a type", seen=shown(kind), do="Write that of one piece, such as str.")
    return codec.codec_for(for_pydantic(kind), role="piece")


def checked_start(start: object) -> int:
    """``start`` if it can be an offset. Raises InvalidOption."""
    if isinstance(start, bool) or not isinstance(start, int) or not 0 <= start < 2**63:
        raise InvalidOption(
            "start is not an offset in a stream", seen=shown(start), do="Write that of the last piece you have, plus 1."
        )
    return start
