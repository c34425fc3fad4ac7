"""What an attempt tells of itself while its code runs: metadata, progress, streams.

Telling waits for nothing: it fills buffers here, and stirs the worker, which takes what is new to the database a few
times a second, and all that is left together with the attempt's outcome. What was taken stays here until it is known to
be written; it carries numbers, so that what is sent again is there once.

    Teller     the buffers of one attempt, made when its code tells something for the first time
    Tells      what contexts of both colours can do with them
    Relative   a run of the family, as its child sees it
"""

from __future__ import annotations

import time
from itertools import takewhile
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from holdfast import codec
from holdfast.errors import InvalidOption, TooLarge, shown
from holdfast.metadata import Change, FamilyMetadata, Metadata
from holdfast.model import Progress
from holdfast.progress import progress_of
from holdfast.records import Chunk, Claimed, Note, Tidings
from holdfast.stream import NoPast, Past, StreamWriter, checked_stream

__all__ = ["Past", "Relative", "Stirs", "Teller", "Tells"]

STREAMS: Final = 100

M_co = TypeVar("M_co", bound=FamilyMetadata | Metadata, covariant=True)


class Stirs(Protocol):
    """Who wants to know that there is something new to take. Called from any thread; must be cheap."""

    def stir_notes(self) -> None: ...
    def stir_chunks(self) -> None: ...


class Quiet:
    """Nobody does."""

    def stir_notes(self) -> None: ...
    def stir_chunks(self) -> None: ...


class Relative(NamedTuple, Generic[M_co]):
    """A run of the family: its ``id``, and its ``metadata`` to write to."""

    id: str
    metadata: M_co


class Teller:
    """The buffers of one attempt.

    A run that goes on after a wait begins at the top, and its code comes by what it has told before. Nothing of that is
    told again: ``past`` knows whether the code that asks has come by here. After a crash it is not known what of the
    metadata was written, so that is told once more; pieces of streams are written with what is recorded after them.
    """

    def __init__(self, claimed: Claimed, stirs: Stirs | None = None, past: Past | None = None) -> None:
        self.claimed = claimed
        self.stirs = stirs or Quiet()
        self.past = past or NoPast()
        self.metadata = Metadata(claimed.metadata, self.stirs.stir_notes, self._rehearses)
        self.relatives: dict[str, FamilyMetadata | Metadata] = {}
        self._progress: Progress | None = None
        self._streams: dict[str, StreamWriter] = {}
        self._notes: list[Note] = []  # taken, and not known to be written
        self._number = 0
        self._chunks: list[Chunk] = []  # not known to be written

    def of_relative(self, run_id: str) -> FamilyMetadata | Metadata:
        """The metadata of another run of the family."""
        return self.relatives.setdefault(run_id, FamilyMetadata(self.stirs.stir_notes, self._rehearses))

    def _rehearses(self) -> bool:
        return not self.claimed.suspect and self.past.repeats()

    def progress(self, progress: Progress) -> None:
        """A loop may tell its progress a million times: nothing is made of it before somebody looks."""
        if self._rehearses():
            return
        self._progress = progress
        self.metadata.later(self._settle_progress)

    def _settle_progress(self) -> None:
        if self._progress is not None:
            try:
                self.metadata["progress"] = self._progress._asdict()
            except TooLarge:  # the rest has used up the room; a progress bar is no reason to fail
                self._progress = None

    def stream(self, name: str) -> StreamWriter:
        """The stream of this name."""
        writer = self._streams.get(name)
        if writer is None:
            if len(self._streams) >= STREAMS:
                raise InvalidOption(
                    f"One attempt writes to {STREAMS} streams at most",
                    seen=shown(name),
                    do="Write to fewer, and say in each piece what it belongs to.",
                )
            writer = StreamWriter(checked_stream(name), self._keep_chunk, self.past)
            writer = self._streams.setdefault(name, writer)
        return writer

    def _keep_chunk(self, name: str, seq: int, value: str) -> None:
        run, now = self.claimed, int(time.time() * 1000)
        self._chunks.append(Chunk(run.id, name, run.claim, seq, now, run.attempt, value))
        self.stirs.stir_chunks()

    def rebind(self, claimed: Claimed) -> None:
        """The run was claimed again, and its code is still here."""
        self.claimed = claimed
        self.metadata.refresh(claimed.metadata)

    def hear(self, metadata: str | None) -> None:
        """This is what the run's metadata has become, while it was carried out here."""
        self.metadata.refresh(metadata, own=True)

    # the worker's side

    def notes(self, *, all: bool = False) -> list[Note]:
        """The operations on metadata that are not known to be written. What has changed after those were taken waits
        for its turn, unless ``all`` are wanted.

        Raises:
            NotSerializable, TooLarge: as in `Metadata.take`. The next call has what can be kept.
        """
        if all or not self._notes:
            for run_id, family in list(self.relatives.items()):
                self._note(run_id, family.take())
            self._note(self.claimed.id, self.metadata.take())
        return list(self._notes)

    def chunks(self, n: int | None = None) -> list[Chunk]:
        """The pieces of streams that are not known to be written; at most ``n`` of them."""
        return self._chunks[:n]

    def written(self, tidings: Tidings) -> None:
        """This is in the database."""
        if tidings.notes:
            last = tidings.notes[-1].number
            self._notes = [note for note in self._notes if note.number > last]
        there = {(chunk.name, chunk.seq) for chunk in tidings.chunks}
        known = list(takewhile(lambda chunk: (chunk.name, chunk.seq) in there, self._chunks))
        del self._chunks[: len(known)]  # in place: threads append to it

    def _note(self, run_id: str, changes: dict[str, Change]) -> None:
        for key, change in changes.items():
            self._number += 1
            self._notes.append(Note(self._number, run_id, change.kind, key, codec.encode(change.value)))


class Tells:
    """What a context of either colour can tell."""

    __slots__ = ()

    @property
    def _teller(self) -> Teller:
        raise NotImplementedError

    @property
    def metadata(self) -> Metadata:
        """The run's metadata: a mapping of JSON values that anybody who looks at the run sees. Buffered: a change is
        written within about a second, and in any case with the attempt's end."""
        return self._teller.metadata

    @property
    def parent(self) -> Relative[FamilyMetadata | Metadata] | None:
        """The run whose code triggered this one, with its metadata to write to; None if no run did.

        >>> if ctx.parent is not None:
        ...     ctx.parent.metadata.increment("done")
        """
        parent_id = self._teller.claimed.parent_id
        return None if parent_id is None else Relative(parent_id, self._teller.of_relative(parent_id))

    @property
    def root(self) -> Relative[FamilyMetadata | Metadata]:
        """The run at the top of the family, with its metadata to write to: this run itself if no other triggered it.

        >>> ctx.root.metadata.increment("pages", 12)
        """
        claimed = self._teller.claimed
        if claimed.root_id is None or claimed.root_id == claimed.id:
            return Relative(claimed.id, self._teller.metadata)
        return Relative(claimed.root_id, self._teller.of_relative(claimed.root_id))

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell how far the run is: so much ``done`` of a ``total``, if that is known, and a ``note`` of up to 500
        characters. It is the entry ``"progress"`` of the metadata, buffered like all of that. A run has one progress:
        what is told last counts.

        Raises:
            InvalidOption: a number that is none, or is less than 0.

        >>> ctx.progress(3, 10, "pages")
        """
        self._teller.progress(progress_of(done, total, note))

    def stream(self, name: str) -> StreamWriter:
        """A stream of the run: what is written to it is on its way at once, for those who read along with
        ``handle.stream(name)``. It is kept with the run.

        Raises:
            InvalidOption: the name cannot be one, or there are 100 streams already.

        >>> ctx.stream("tokens").write("Hello")
        """
        return self._teller.stream(name)
