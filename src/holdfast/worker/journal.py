"""A run's journal in the memory of its attempt: which entry an operation stands for, and what has been recorded of it.

A key is the operation's branch, its name, and how often that branch has used the name. A branch is the path of asyncio
tasks that leads to the operation, each named by its coroutine function and by how often its parent started one. So the
keys do not depend on which branch is faster. Within a branch the operations are asked for in the order in which they
were the first time; the first difference is a ``JournalMismatch``, before anything is done twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

from holdfast import codec
from holdfast.errors import InvalidOption, JournalFull, JournalMismatch, shown
from holdfast.records import Entry
from holdfast.sizes import MIB

ENTRIES: Final = 20_000
BYTES: Final = 64 * MIB


class Branch:
    """One line of execution within an attempt."""

    __slots__ = ("asked", "begun", "certain", "limits", "names", "path")

    def __init__(self, path: str = "", *, certain: bool = True) -> None:
        self.path = path
        self.certain = certain  # whether it will have the same path in every attempt
        self.names: dict[str, int] = {}  # how often each name was used
        self.begun: dict[str, int] = {}  # how many branches of each name were started from here
        self.asked = 0
        self.limits = 0  # how many time limits were set since it has asked

    def next_key(self, name: str) -> str:
        self.names[name] = count = self.names.get(name, 0) + 1
        return f"{self.path}{name}#{count}"

    def limit_key(self) -> str:
        """The key of a time limit: where it stands among what the branch asks for."""
        self.limits += 1
        return f"{self.path}limit#{self.asked}.{self.limits}"

    def start(self, name: str, *, certain: bool = True) -> Branch:
        """Another branch that is started from this one."""
        self.begun[name] = count = self.begun.get(name, 0) + 1
        return Branch(f"{self.path}{name}#{count}/", certain=self.certain and certain)


class Asked:
    """One operation that the code has asked for. ``entry`` is what is recorded of it, None for what is new."""

    __slots__ = ("branch", "digest", "entry", "key", "kind", "later", "name", "seq")

    def __init__(self, key: str, seq: int, branch: Branch, kind: str, name: str, digest: str | None) -> None:
        self.key, self.seq, self.branch, self.kind, self.name, self.digest = key, seq, branch, kind, name, digest
        self.entry: Entry | None = None
        self.later = False  # whether its branch, or one that this was started from, has asked for more since it failed

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.kind != self.name else self.kind


class Journal:
    """What is recorded of a run, and what its code has asked for."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: dict[str, Entry] = {}
        self.places: dict[tuple[str, int], Entry] = {}
        self.size = 0  # bytes
        self.seen = 0  # the number of the last settled entry before which none is missing
        self.keys: set[str] = set()  # that the code has given itself
        self.failed: list[Asked] = []
        self.hear(entries)

    def hear(self, entries: Iterable[Entry]) -> None:
        """Learn of all that has settled since it was last looked."""
        for entry in entries:
            self.take(entry)
            self.seen = max(self.seen, entry.settled or 0)

    def follows(self, entry: Entry) -> bool:
        """Whether nothing has settled before this entry, which was written here, that is not known."""
        if entry.settled == self.seen + 1:
            self.seen += 1
        return (entry.settled or 0) <= self.seen

    def take(self, entry: Entry) -> None:
        """Learn of an entry, or how it stands now."""
        known = self.entries.get(entry.key)
        self.size += size_of(entry) - (size_of(known) if known is not None else 0)
        if known is None and entry.seq:
            self.places[entry.branch, entry.seq] = entry
        self.entries[entry.key] = entry

    def ask(self, branch: Branch, kind: str, name: str, key: str | None, digest: str | None) -> Asked:
        """Take the key of an operation.

        Raises:
            JournalMismatch: something else is recorded here.
            JournalFull: there is no room for one more.
        """
        if key is not None:  # the code says itself which one it is, whatever came before
            asked = Asked(f"{name}={key}", 0, branch, kind, name, digest)
            self.use(asked.key, name, key)
        else:
            branch.asked, branch.limits = branch.asked + 1, 0
            asked = Asked(branch.next_key(name), branch.asked, branch, kind, name, digest)
        asked.entry = self.entries.get(asked.key)
        self.compare(asked)
        if asked.entry is None and (len(self.entries) >= ENTRIES or self.size > BYTES):
            raise JournalFull(
                f"This run has recorded as much as a journal may hold, {ENTRIES:,} entries or {BYTES // MIB} MiB",
                seen=f"{len(self.entries):,} entries, {self.size:,} bytes; now it asks for {asked}",
                do="Let a step do more, let steps return less, or do parts of the work in runs of their own.",
            )
        for failure in self.failed:
            failure.later = failure.later or failure.branch.path.startswith(branch.path)
        return asked

    def use(self, used: str, name: str, key: str) -> None:
        if used in self.keys:
            raise InvalidOption(
                f"Two steps {name} have the same key",
                seen=shown(key),
                do="Give each its own, or none: they are counted.",
            )
        self.keys.add(used)

    def compare(self, asked: Asked) -> None:
        """What is recorded at this place must be what is asked for."""
        there = self.places.get((asked.branch.path, asked.seq)) if asked.seq else asked.entry
        if there is None and asked.entry is not None:
            there = asked.entry
        if there is None:
            return
        place = (asked.branch.path, asked.seq) if asked.seq else (there.branch, 0)
        if there.key != asked.key or there.kind != asked.kind or (there.branch, there.seq) != place:
            raise mismatch(there, asked, f"{there.kind} {there.name}", str(asked))
        if there.digest is not None and asked.digest is not None and there.digest != asked.digest:
            raise mismatch(there, asked, f"{asked} with other arguments", str(asked))

    def fail(self, asked: Asked) -> None:
        """A failure is handed to the code. If it makes nothing more of it, the next attempt tries again."""
        self.failed.append(asked)

    def to_forget(self) -> tuple[str, ...]:
        """The failures that the code made nothing more of."""
        return tuple(asked.key for asked in self.failed if not asked.later)


def size_of(entry: Entry) -> int:
    return len(entry.key) + len(entry.result or "") + len(entry.error or "")


def mismatch(there: Entry, asked: Asked, recorded: str, wanted: str) -> JournalMismatch:
    where = f" of the branch {asked.branch.path}" if asked.branch.path else ""
    return JournalMismatch(
        f"The code does not fit what this run has recorded: operation {asked.seq or asked.key}{where} "
        f"was {recorded}, and now the code asks for {wanted}",
        seen=f"recorded {there.key}, asked for {asked.key}",
        do="Replay it: holdfast runs replay RUN, or --from-step STEP to keep what came before that step. Runs that "
        "still wait fit the code that they began with.",
    )


def digest_of(arguments: tuple[Any, ...]) -> str | None:
    """What tells the arguments of one step from those of another; None if that cannot be told."""
    if not arguments:
        return None
    try:
        text = codec.encode([unordered(plain(argument)) for argument in arguments])
    except Exception:  # a session, a lambda: nothing that could be compared after a replay
        return None
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def unordered(value: Any) -> Any:
    """The same, whatever the order: that of a set is another one in each process."""
    match value:
        case list():
            return sorted(map(unordered, value), key=repr)
        case dict():
            return {key: unordered(each) for key, each in sorted(value.items())}
    return value


def plain(argument: Any) -> Any:
    """An argument as JSON has it."""
    return codec.decode(codec.codec_for(type(argument)).dump(argument))
