"""Evidence of what tasks did, whatever became of their process: lines appended to a file, one write each."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

VARIABLE = "HOLDFAST_TEST_FOLDER"


def folder() -> Path:
    """The folder that a test and its processes share."""
    return Path(os.environ[VARIABLE])


def note(*words: object) -> None:
    """Add a line. It is there when this returns, also if the process is killed in the next moment."""
    descriptor = os.open(folder() / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(descriptor)


def lines(place: Path, word: str | None = None) -> list[list[str]]:
    """The lines noted in a folder so far, as lists of words; with ``word``, those that start with it."""
    file = place / "ledger"
    found = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [line for line in found if word is None or line[0] == word]


def counts(place: Path, word: str) -> Counter[str]:
    """How often each second word follows ``word``."""
    return Counter(line[1] for line in lines(place, word))


def open_gate(place: Path, name: str = "gate") -> None:
    """Let the tasks go on that wait for this gate."""
    (place / name).touch()


def is_open(name: str = "gate") -> bool:
    return (folder() / name).exists()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another process does."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
