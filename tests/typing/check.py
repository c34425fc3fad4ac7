"""Do the checkers, strict, accept the accepted programs and report each planted mistake?

    python tests/typing/check.py        part of `make check`

pyright and mypy see the package as a user's project does. What they report in ``bad*.py`` has to be the lines that are
marked with ``# E``, and no others.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
GOOD = sorted(HERE.glob("good*.py"))
BAD = sorted(HERE.glob("bad*.py"))
MARK = re.compile(r"#\s*E(?::\s*(?P<only>\w+))?\s*$")

Lines = dict[Path, dict[int, str]]


def pyright() -> Lines:
    # Whatever python comes first on the path may lack what users have, and then half of all types are unknown.
    where = ("--project", str(HERE / "pyrightconfig.json"), "--pythonpath", sys.executable)
    done = run("pyright", *where, "--outputjson")
    told = json.loads(done)["generalDiagnostics"]
    return gathered(
        (Path(each["file"]), each["range"]["start"]["line"] + 1, each["message"])
        for each in told
        if each["severity"] == "error"
    )


def mypy() -> Lines:
    done = run("mypy", "--output", "json", "--show-error-end", *(str(file) for file in GOOD + BAD))
    told = [json.loads(line) for line in done.splitlines() if line.startswith("{")]
    return gathered(
        (ROOT / each["file"], each["line"], each["message"]) for each in told if each["severity"] == "error"
    )


def run(command: str, *arguments: str) -> str:
    done = subprocess.run([BIN / command, *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{command} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def gathered(told: Iterable[tuple[Path, int, str]]) -> Lines:
    lines: Lines = {}
    for file, line, message in told:
        lines.setdefault(file.resolve(), {}).setdefault(line, message)
    return lines


def marked(file: Path, checker: str) -> set[int]:
    """The lines in which this checker has to find a mistake."""
    found = ((number, MARK.search(line)) for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1))
    return {number for number, mark in found if mark and mark["only"] in (None, checker)}


def complaints(checker: str, told: Lines) -> list[str]:
    wrong = []
    for file in GOOD + BAD:
        expected, seen = marked(file, checker), told.get(file.resolve(), {})
        where = file.relative_to(ROOT)
        wrong += [f"{where}:{line}: {checker} reports: {seen[line]}" for line in sorted(set(seen) - expected)]
        wrong += [f"{where}:{line}: {checker} reports nothing" for line in sorted(expected - set(seen))]
    return wrong


def main() -> None:
    mistakes = sum(len(marked(file, "both")) for file in BAD)
    wrong = [line for checker in (pyright, mypy) for line in complaints(checker.__name__, checker())]
    print(*wrong, sep="\n", file=sys.stderr)
    if wrong:
        sys.exit(1)
    print(f"pyright and mypy accept {len(GOOD)} programs and report {mistakes} planted mistakes")


if __name__ == "__main__":
    main()
