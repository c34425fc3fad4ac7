"""What can be said of a file by looking at it: plain code that knows nothing of jobs.

Anything may be in a folder: binary files, files in no known encoding, files that may not be read or have just been
removed. None of this is an error; the entry says so.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydantic import BaseModel

SUFFIXES = """
    c=C cpp=C++ css=CSS go=Go h=C html=HTML java=Java js=JavaScript json=JSON jsx=JavaScript kt=Kotlin md=Markdown
    php=PHP py=Python pyi=Python rb=Ruby rs=Rust rst=reStructuredText sh=Shell sql=SQL svg=SVG swift=Swift toml=TOML
    ts=TypeScript tsx=TypeScript xml=XML yaml=YAML yml=YAML
"""
LANGUAGES = {f".{suffix}": name for suffix, name in (pair.split("=") for pair in SUFFIXES.split())}
INTERPRETERS = {"python": "Python", "bash": "Shell", "sh": "Shell", "node": "JavaScript", "ruby": "Ruby"}
TEXT_BYTES = 2_000_000  # of a file are read as text; the fingerprint is of all of it
NOTE = re.compile(r"\b(TODO|FIXME)\b:?\s*(.*)")
HEAD = re.compile(r"^(\s*)(?:export |pub |async |static |public |private )*(?:def|function|func|fn) +(\w+)")


class Function(BaseModel):
    """A function and how long it is."""

    name: str
    line: int
    lines: int


class Entry(BaseModel):
    """What the index keeps of a file."""

    file: str
    language: str
    fingerprint: str = ""
    size: int = 0
    lines: int = 0
    words: int = 0
    notes: list[str] = []
    longest: Function | None = None


def read(folder: Path, name: str) -> Entry:
    """Look at one file."""
    try:
        size, fingerprint, head = take_in(folder / name)
    except OSError as error:
        return Entry(file=name, language="Unreadable", notes=[error.strerror or type(error).__name__])
    if b"\0" in head[:8192]:
        return Entry(file=name, language="Binary", fingerprint=fingerprint, size=size)
    text = head.decode("utf-8", errors="replace")
    lines = text.splitlines()
    return Entry(
        file=name,
        language=language(name, text),
        fingerprint=fingerprint,
        size=size,
        lines=len(lines),
        words=len(text.split()),
        notes=notes(lines),
        longest=longest(lines),
    )


def take_in(path: Path) -> tuple[int, str, bytes]:
    """A file's size, its fingerprint, and its beginning; never more than a part of it in memory."""
    digest, size, head = hashlib.sha256(), 0, b""
    with path.open("rb") as file:
        while block := file.read(TEXT_BYTES):
            head = head or block
            size += len(block)
            digest.update(block)
    return size, digest.hexdigest(), head


def language(name: str, text: str) -> str:
    """A guess from the name, else from the first line."""
    if name.rpartition("/")[2] == "Makefile":
        return "Make"
    known = LANGUAGES.get(Path(name).suffix.lower())
    if known is None and text.startswith("#!"):
        first = text.partition("\n")[0]
        known = next((said for word, said in INTERPRETERS.items() if word in first), None)
    return known or "Text"


def notes(lines: list[str]) -> list[str]:
    """What somebody meant to do later."""
    return [
        f"{number}: {match[0].strip()[:100]}" for number, line in enumerate(lines, 1) if (match := NOTE.search(line))
    ]


def longest(lines: list[str]) -> Function | None:
    """The longest function, by indentation: what every language's formatter agrees on."""
    found = [
        Function(name=match[2], line=number, lines=extent(lines, number - 1, len(match[1])))
        for number, line in enumerate(lines, 1)
        if (match := HEAD.match(line))
    ]
    return max(found, key=lambda function: function.lines, default=None)


def extent(lines: list[str], start: int, indent: int) -> int:
    """How many lines a function has: until one that is not indented further, or the one that closes it."""
    end = start
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if not line.strip():
            continue
        if len(line) - len(line.lstrip()) <= indent and not line.lstrip().startswith((")", "{")):
            return (number if line.lstrip().startswith(("}", "end")) else end) - start + 1
        end = number
    return end - start + 1
