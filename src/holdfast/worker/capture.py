"""What a run writes is kept with the run: log records, and what it prints.

A handler on the root logger and a thin wrapper around the two standard streams look up whose code is running (a
context variable, which threads of an attempt inherit) and hand the line to that attempt. What nobody's attempt writes
goes where it always went. A run may write a great deal by accident, so there is a limit, and the last line says that
it was reached.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, Protocol, TextIO

from holdfast import codec
from holdfast.errors import shown
from holdfast.names import storable
from holdfast.records import LogLine
from holdfast.secret import Scrubber

LINES = 10_000  # of one attempt
CHARACTERS = 16_384  # of one line
ROOM = 10_000_000  # characters of one attempt

listening: Final[ContextVar[Lines | None]] = ContextVar("holdfast_lines", default=None)


class Writer(Protocol):
    """Whose lines they are: a run, one claim of it, and the number of the attempt."""

    @property
    def id(self) -> str: ...
    @property
    def claim(self) -> int: ...
    @property
    def attempt(self) -> int: ...


class Lines:
    """The lines of one attempt, numbered as they come. ``sink`` takes each; it must be cheap and safe in any thread."""

    __slots__ = ("full", "numbers", "partial", "replayed", "room", "scrubber", "sink", "writer")

    def __init__(self, writer: Writer, sink: Callable[[LogLine], None]) -> None:
        self.writer, self.sink = writer, sink
        self.numbers = itertools.count(1)  # threads of one attempt may write at once
        self.partial: dict[tuple[str, int], str] = {}  # what a thread has printed to a stream since its last line
        self.room, self.full = ROOM, False
        self.replayed = False  # whether what is written now was written before
        self.scrubber: Scrubber | None = None  # what takes the secrets of the payload out

    def add(self, level: str, logger: str, message: str, at: int | None = None) -> None:
        if self.full:
            return
        message = self.hushed(message)
        if len(message) > CHARACTERS:
            message = f"{message[:CHARACTERS]}… ({len(message)} characters)"
        seq = next(self.numbers)
        self.room -= len(message)
        if seq >= LINES or self.room < 0:
            self.full = True
            level, message = "WARNING", f"This attempt has written {seq} lines; what follows is not kept."
        writer = self.writer
        moment = int(time.time() * 1000) if at is None else at
        text = codec.encode(message)
        self.sink(
            LogLine(writer.id, writer.claim, seq, moment, level, writer.attempt, logger, text, int(self.replayed))
        )

    def hush(self, secrets: list[str]) -> None:
        """From now on none of these texts is told."""
        if secrets:
            self.scrubber = Scrubber(secrets)

    def hushed(self, text: str) -> str:
        """A text without the secrets of the payload."""
        return text if self.scrubber is None else self.scrubber.text(text)

    def hushed_json(self, text: str) -> str:
        """The same for a JSON text."""
        return text if self.scrubber is None else codec.encode(self.scrubber.value(codec.decode(text)))

    def print(self, stream: str, text: str) -> None:
        """Take printed text; a line is kept when it ends, or is as long as a line may be."""
        place = stream, threading.get_ident()
        *whole, rest = self.hushed(self.partial.pop(place, "") + text).split("\n")
        while len(rest) > CHARACTERS:
            whole.append(rest[:CHARACTERS])
            rest = rest[CHARACTERS:]
        if rest:
            self.partial[place] = rest
        for line in whole:
            self.add("INFO" if stream == "stdout" else "WARNING", stream, line)

    def close(self) -> None:
        """Keep what was printed without an end of line."""
        for stream, thread in list(self.partial):
            self.add("INFO" if stream == "stdout" else "WARNING", stream, self.partial.pop((stream, thread), ""))


class CaptureHandler(logging.Handler):
    """Hands log records to the attempt that wrote them."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = listening.get()
        if lines is None:
            self.stand_aside(record)
            return
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                message = f"{message}\n{(self.formatter or _plain).formatException(record.exc_info)}"
            elif record.exc_text:
                message = f"{message}\n{record.exc_text}"
            if record.stack_info:
                message = f"{message}\n{record.stack_info}"
        except Exception as error:
            message = f"{shown(record.msg)} could not be formatted: {type(error).__name__}"
        lines.add(storable(str(record.levelname)), storable(str(record.name)), message, int(record.created * 1000))

    def stand_aside(self, record: logging.LogRecord) -> None:
        """Where nobody has set up logging, warnings go to stderr, by logging's last resort: unless it has a handler."""
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level and self.is_alone(record.name):
            logging.lastResort.handle(record)

    def is_alone(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


class AsBefore(logging.Filter):
    """Keeps from the process's own handlers what they did not get before the root logger's level was lowered."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self.level or says_itself(logging.getLogger(record.name))


def says_itself(logger: logging.Logger) -> bool:
    """Whether a logger's level is its own or a parent's, and not the root's."""
    while logger.parent is not None:
        if logger.level:
            return True
        logger = logger.parent
    return False


def hushed_record(record: logging.LogRecord) -> logging.LogRecord:
    """A record of an attempt that has secrets, without them: it goes to the handlers of the process, too."""
    lines = listening.get()
    if lines is not None and lines.scrubber is not None:
        with contextlib.suppress(Exception):  # what cannot be formatted is told where it is handled
            record.msg, record.args = lines.hushed(record.getMessage()), None
            if record.exc_info and record.exc_info[0] is not None:
                record.exc_text = lines.hushed(_plain.formatException(record.exc_info))
                record.exc_info = None
    return record


_plain = logging.Formatter()


class CaptureStream:
    """A standard stream that hands what is written to the attempt that wrote it, and passes it on only if told so."""

    def __init__(self, stream: TextIO, name: str, *, pass_on: bool = False) -> None:
        self.stream, self.name, self.pass_on = stream, name, pass_on

    def write(self, text: str) -> int:
        lines = listening.get()
        if lines is not None:
            lines.print(self.name, text)
            if not self.pass_on:
                return len(text)
            text = lines.hushed(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def install(level: int = logging.INFO, *, pass_on: bool = False) -> Callable[[], None]:
    """Start to capture in this process; answers what ends it.

    A root logger that nobody has set is set to ``level``, and the handlers that it has do not hear more for that.
    ``pass_on``: what is printed goes on to the stream.
    """
    root = logging.getLogger()
    handler = CaptureHandler()
    before, filters = root.level, [(each, AsBefore(root.level)) for each in root.handlers]
    lowered = before == logging.WARNING and level < before
    if lowered:
        root.setLevel(level)
        for each, as_before in filters:
            each.addFilter(as_before)
    root.addHandler(handler)
    make = logging.getLogRecordFactory()

    def make_hushed(*args: Any, **kwargs: Any) -> logging.LogRecord:
        return hushed_record(make(*args, **kwargs))

    logging.setLogRecordFactory(make_hushed)
    stdout, stderr = sys.stdout, sys.stderr
    out, err = (
        CaptureStream(stdout, "stdout", pass_on=pass_on),
        CaptureStream(stderr, "stderr", pass_on=pass_on),
    )
    sys.stdout, sys.stderr = out, err

    def restore() -> None:
        root.removeHandler(handler)
        if logging.getLogRecordFactory() is make_hushed:
            logging.setLogRecordFactory(make)
        if lowered:
            if root.level == level:
                root.setLevel(before)
            for each, as_before in filters:
                each.removeFilter(as_before)
        if sys.stdout is out:  # else somebody has wrapped it since: what they have goes on to write to ours
            sys.stdout = stdout
        if sys.stderr is err:
            sys.stderr = stderr

    return restore
