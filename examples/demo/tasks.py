"""A survey of a folder: every file is read, and what was found out goes to an archive that is slow and sometimes busy.

    survey(page)          one run per file, six at a time; a busy archive is asked again a little later
    write_report(job)     in the end, what the index says

Everything a run needs is in its payload, so any worker can carry it out.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from pathlib import Path

from index import Index
from pydantic import BaseModel
from reading import Entry, read

from holdfast import Context, Holdfast, Queue, Retry

AT_ONCE = 6
ATTEMPTS = 5

app = Holdfast()
archive = Queue("demo-archive", concurrency_limit=AT_ONCE)


class Page(BaseModel):
    """One file of a survey. ``pace`` is how long the archive takes for it, in seconds."""

    folder: Path
    file: str
    index: Path
    pace: float
    unlucky: bool = False


class Report(BaseModel):
    """Where the index is, and where to write the report."""

    folder: Path
    index: Path
    target: Path


class ArchiveBusy(Exception):
    """The archive has no time at the moment."""


@app.task(
    id="demo.survey",
    queue=archive,
    retry=Retry(max_attempts=ATTEMPTS, min_delay="200ms", max_delay="1s", on=ArchiveBusy),
    max_duration="5m",
)
def survey(page: Page, ctx: Context) -> Entry:
    index = Index(page.index)
    with index.visit(ctx.run.id, ctx.attempt.number, page.file):
        entry = read(page.folder, page.file)
        ask_the_archive(page, ctx.attempt.number)
        index.add(ctx.run.id, entry)
    return entry


def ask_the_archive(page: Page, attempt: int) -> None:
    """A real one is busy at random. Ours is busy for the same files each time, so that the demo can be repeated."""
    luck = zlib.crc32(page.file.encode("utf-8", "replace"))
    refusals = 1 if page.unlucky or luck % 8 == 0 else 2 if luck % 31 == 0 else 0
    time.sleep(page.pace * (0.6 + 0.8 * (luck % 101) / 100))
    if attempt <= refusals:
        raise ArchiveBusy(f"no time for {page.file}, attempt {attempt}")


@app.task(id="demo.report")
def write_report(job: Report) -> Path:
    entries = [entry for _, entry in Index(job.index).entries()]
    job.target.write_text(report(job.folder, entries), encoding="utf-8")
    return job.target


def report(folder: Path, entries: list[Entry]) -> str:
    """The survey as a page of Markdown."""
    notes = [f"- {entry.file}:{note}" for entry in entries for note in entry.notes]
    parts = [f"# {folder.name}", summary(entries), by_language(entries), "## The longest functions", longest(entries)]
    return "\n\n".join([*parts, "## Left to do", "\n".join(notes) or "Nothing."]) + "\n"


def summary(entries: list[Entry]) -> str:
    same = Counter(entry.fingerprint for entry in entries if entry.size)
    lines, words = sum(entry.lines for entry in entries), sum(entry.words for entry in entries)
    copies = sum(count - 1 for count in same.values())
    return f"{len(entries)} files, {lines} lines, {words} words. {copies} files are copies of another."


def by_language(entries: list[Entry]) -> str:
    files, lines = Counter[str](), Counter[str]()
    for entry in entries:
        files[entry.language] += 1
        lines[entry.language] += entry.lines
    names = sorted(files, key=lambda name: (-lines[name], name))
    rows = [f"| {name} | {files[name]} | {lines[name]} |" for name in names]
    return "\n".join(["| language | files | lines |", "|---|---:|---:|", *rows])


def longest(entries: list[Entry]) -> str:
    found = [(entry.longest, entry.file) for entry in entries if entry.longest]
    found.sort(key=lambda pair: (-pair[0].lines, pair[1]))
    return "\n".join(f"- {each.name}: {each.lines} lines, {file}:{each.line}" for each, file in found[:10]) or "None."
