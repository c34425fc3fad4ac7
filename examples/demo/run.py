"""Holdfast at work on real files, and what it does when a worker dies in the middle.

    make demo                       a survey of this repository
    make demo FOLDER=~/photos       … or of any folder

Every file is a run. Two worker processes carry them out; some attempts fail and are retried; and when the work is well
under way this script kills one of its own workers with SIGKILL. In the end it holds what Holdfast says against what the
app's own index says, and exits with 0 only if every file is there, and there once.

The database is a new SQLite file, or what HOLDFAST_DATABASE_URL names.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import tasks
from index import Index, Look
from reading import Entry
from show import Show
from verdict import Kill, judge

from holdfast import BatchHandle, HoldfastError, Results

HERE = Path(__file__).resolve().parent
PROCESSES = 2
SECONDS = 9.0  # the pace is set so that the archive takes about this long for all files
KILL_AT = 0.4  # of the files done
GIVE_UP = "10m"
LOOK_SECONDS = 0.1
SKIPPED = {"__pycache__", "node_modules", "venv"}


def main() -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a terminal need not know every sign
    folder = asked_for()
    files, nameless = files_of(folder)
    if nameless:
        print(f"{nameless} files are left out: their names are not text.", file=sys.stderr)
    if not files:
        return refuse(f"there are no files in {folder}", "Name another folder: make demo FOLDER=…")
    home = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    url = os.environ.setdefault("HOLDFAST_DATABASE_URL", f"sqlite:///{home / 'holdfast.db'}")
    log = home / "workers.log"
    try:
        return survey(folder, files, home, Show(folder, len(files), PROCESSES, tasks.AT_ONCE, shown(url)))
    except (HoldfastError, WorkersGone) as error:
        return refuse(str(error), f"The workers' log: {log}")
    except KeyboardInterrupt:
        return 130
    finally:
        tasks.app.close()


def survey(folder: Path, files: Sequence[str], home: Path, show: Show) -> int:
    index = Index(home / "index.db")
    index.create()
    with workers(home / "workers.log") as supervisor, show:
        drama = Drama(index, show, supervisor)
        batch = tasks.survey.batch_trigger(pages(folder, files, index))
        runs = drama.watch(batch, len(files))
        seconds = show.seconds
        job = tasks.Report(folder=folder, index=index.path, target=home / "report.md")
        report = tasks.write_report.trigger(job).result(timeout="1m")
    verdict = judge(files, runs, index.entries(), index.visits(), drama.kills, tasks.AT_ONCE)
    show.verdict(verdict, seconds, drama.kills)
    show.look_further(report, index.path, home / "workers.log")
    return 0 if verdict.good else 1


def asked_for() -> Path:
    parser = argparse.ArgumentParser(
        description="Holdfast at work on a folder of files; a worker is killed on the way."
    )
    parser.add_argument("folder", nargs="?", default=HERE.parents[1], type=Path, help="default: this repository")
    folder: Path = parser.parse_args().folder.expanduser().resolve()
    if not folder.is_dir():
        parser.error(f"there is no such folder ({folder}). Name one that is there, or none for this repository")
    return folder


def refuse(what: str, do: str) -> int:
    print(f"{what}\n{do}", file=sys.stderr)
    return 2


def shown(url: str) -> str:
    """A database's URL without its password."""
    parts = urlsplit(url)
    return url.replace(f":{parts.password}@", "@") if parts.password else url


def files_of(folder: Path) -> tuple[list[str], int]:
    """The files in a folder and below, without what tools have put there; and how many have names that are no text."""
    found: list[str] = []
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(name for name in folders if is_wanted(here / name))
        paths = [here / name for name in sorted(names)]
        found += [path.relative_to(folder).as_posix() for path in paths if path.is_file() and not path.is_symlink()]
    named = [name for name in found if is_text(name)]
    return named, len(found) - len(named)


def is_text(name: str) -> bool:
    """A file's name may be any bytes; Python stands surrogates in for those that are not UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def is_wanted(folder: Path) -> bool:
    is_environment = (folder / "pyvenv.cfg").exists()
    return not folder.name.startswith(".") and folder.name not in SKIPPED and not is_environment


def pages(folder: Path, files: Sequence[str], index: Index) -> list[tasks.Page]:
    pace = min(0.6, max(0.02, SECONDS * tasks.AT_ONCE / len(files)))
    return [
        tasks.Page(folder=folder, file=file, index=index.path, pace=pace, unlucky=number == 0)
        for number, file in enumerate(files)
    ]


class WorkersGone(Exception):
    """The workers have ended before their work."""


@contextmanager
def workers(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``holdfast worker``, as one would start it by hand; drained in the end."""
    command = [str(Path(sys.executable).with_name("holdfast")), "worker", str(HERE / "tasks.py")]
    options = ["--processes", str(PROCESSES), "--concurrency", str(tasks.AT_ONCE - 2)]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Drama:
    """Watches the survey, and kills a worker in the middle of it."""

    def __init__(self, index: Index, show: Show, supervisor: subprocess.Popen[bytes]) -> None:
        self.index, self.show, self.supervisor = index, show, supervisor
        self.kills: list[Kill] = []
        self.known: set[int] = set()  # workers that have been seen
        self.looked_at = 0.0
        self.taken_up: set[int] = set()  # visits that have been told of

    def watch(self, batch: BatchHandle[Entry], total: int) -> Results[Entry]:
        """Look until all runs have ended."""
        future = in_background(batch)
        while not future.done():
            if self.supervisor.poll() is not None:
                raise WorkersGone(f"the workers ended by themselves, with exit code {self.supervisor.returncode}")
            look = self.look()
            if not any(kill.cut for kill in self.kills) and is_time(look, total):
                self.strike(look)
            time.sleep(LOOK_SECONDS)
        self.look()
        return future.result()

    def look(self) -> Look:
        """See how far the work is, and say what has happened since the last time."""
        look = self.index.look(self.looked_at)
        self.looked_at = max([self.looked_at, *(visit.ended_at or 0.0 for visit in look.busy)])
        dead = {kill.pid for kill in self.kills}
        look = look._replace(in_hand=[visit for visit in look.in_hand if visit.pid not in dead])
        for visit in look.busy:
            self.show.retried(visit)
        for visit in look.in_hand:
            self.meet(visit.pid)
        self.tell_recoveries()
        self.show.progress(look)
        return look

    def tell_recoveries(self) -> None:
        for kill in self.kills:
            for visit in self.index.taken_up(kill.pid):
                if visit.id not in self.taken_up:
                    self.taken_up.add(visit.id)
                    self.show.taken_up(visit, visit.began_at - kill.at)

    def meet(self, pid: int) -> None:
        if pid not in self.known:
            self.known.add(pid)
            self.show.arrived(pid)

    def strike(self, look: Look) -> None:
        """Kill the worker of ours that has the most in hand. What it had is what has no end after it is dead."""
        ours = Counter(visit.pid for visit in look.in_hand if visit.supervisor == self.supervisor.pid)
        if not ours:
            return
        pid, at = ours.most_common(1)[0][0], time.time()
        os.kill(pid, signal.SIGKILL)
        cut = [visit for visit in self.index.look().in_hand if visit.pid == pid]
        self.kills.append(Kill(pid, at, cut))
        self.show.killed(self.kills[-1])


def is_time(look: Look, total: int) -> bool:
    """When the work is well under way and hands are full; in a small folder, before all is done."""
    last_chance = look.done + len(look.in_hand) >= total
    return bool(look.in_hand) and (last_chance or (look.done >= KILL_AT * total and len(look.in_hand) > 2))


def in_background(batch: BatchHandle[Entry]) -> Future[Results[Entry]]:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(batch.results, GIVE_UP)
    pool.shutdown(wait=False)
    return future


if __name__ == "__main__":
    sys.exit(main())
