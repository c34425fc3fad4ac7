"""A traceback as people read it: frame by frame, the app's own code told apart from libraries'."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

FRAME: Final = re.compile(r'\s*File "(?P<file>.*)", line (?P<line>\d+)(?:, in (?P<function>.*))?')
LIBRARY: Final = re.compile(r"[/\\](?:site|dist)-packages[/\\]|[/\\]lib[/\\]python[\d.]+[/\\]|^<frozen ")
MARKS: Final = re.compile(r"[\s~^]+")


class Frame(NamedTuple):
    """A place in code, or with no ``file`` a line between frames."""

    file: str
    line: int
    function: str
    code: list[str]
    ours: bool

    @property
    def place(self) -> str:
        """The end of the path, which tells files apart."""
        return "/".join(self.file.replace("\\", "/").split("/")[-2:])


def frames(text: str) -> list[Frame]:
    """The frames of a traceback as Python writes it, and what stands between them: paragraphs of lines."""
    if "Exception Group Traceback (most recent call last)" in text:  # its lines are a drawing
        return [between(text)]
    found: list[Frame] = []
    for line in text.splitlines():
        match = FRAME.fullmatch(line)
        if match is not None:
            file = match["file"]
            found.append(Frame(file, int(match["line"]), match["function"] or "", [], not LIBRARY.search(file)))
        elif found and found[-1].file and line.startswith("    "):
            if not MARKS.fullmatch(line):
                found[-1].code.append(line.strip())
        elif line.startswith("Traceback (most recent call last)"):
            continue
        elif found and not found[-1].file and found[-1].code[-1]:
            found[-1].code.append(line.rstrip())
        elif line.strip():
            found.append(between(line))
    for frame in found:
        while frame.code and not frame.code[-1]:
            frame.code.pop()
    return found


def between(text: str) -> Frame:
    """What is no place in code."""
    return Frame("", 0, "", text.rstrip().splitlines(), True)
