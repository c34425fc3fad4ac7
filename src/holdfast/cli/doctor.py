"""``holdfast doctor``: is anything wrong, and what to do?

It looks from the outside in: can the database be reached, are its tables ours and of this version, and only then what
is in it. Whatever is found, it changes nothing.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import typer

from holdfast import schema, views
from holdfast.cli.options import App, Database, Json
from holdfast.cli.place import AppBroken, Place, bare, file_of, over, place
from holdfast.cli.show import COLOURS, DIM, SECRETS, STARS, clean, masked, out, print_json, setting_shown, show
from holdfast.errors import AppNotFound, DatabaseError, HoldfastError
from holdfast.settings import Setting
from holdfast.views import Finding, WorkerView
from holdfast.views.diagnosis import megabytes

app = typer.Typer(add_completion=False)

MIB: Final = 1024 * 1024
LARGE_WAL: Final = 256 * MIB
LITTLE_ROOM: Final = 256 * MIB
SKEW_MS: Final = 5_000
NETWORK_FILES: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"})
MARKS: Final = {"ok": "✓", "note": "!", "wrong": "✗"}


class Diagnosis(NamedTuple):
    """All that was found, and what it was found with."""

    findings: list[Finding]
    settings: list[Setting]
    app: str | None
    url: str

    @property
    def healthy(self) -> bool:
        return not any(each.level == "wrong" for each in self.findings)


@app.command()
def doctor(database: Database = None, app: App = None, json: Json = False) -> None:
    """Is anything wrong, and what to do? Exits with 1 if something is."""
    diagnosis = examine(surroundings(database, app))
    if json:
        print_json(as_document(diagnosis))
    else:
        print_diagnosis(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(1)


def surroundings(database: str | None, app: str | None) -> Place:
    """The app and the database, and an app that cannot be imported as a finding."""
    try:
        return place(database, app)
    except AppBroken as error:
        return over(bare(), database)._replace(problem=error)


def examine(here: Place) -> Diagnosis:
    found = [*of_app(here), *of_host()]
    settings, problems = read_settings(here)
    found += problems
    url = next((str(each.value) for each in settings if each.name == "database"), "")
    source = next((each.source for each in settings if each.name == "database"), "default")
    if isinstance(here.problem, AppBroken) and source == "default":
        text = "Which one it is, only the app can say."
        found.append(Finding(about="database", level="note", text=text, do="Correct the app, or name it: --database"))
    elif url:
        found += of_database(url)
    return Diagnosis(found, settings, here.name, url)


# -- looking ----------------------------------------------------------------------------------------------------------


def of_app(here: Place) -> Iterator[Finding]:
    if here.name is not None:
        count = len(here.app.tasks)
        yield Finding(about="app", level="ok", text=f"{here.name}, with {count} {'task' if count == 1 else 'tasks'}.")
    elif here.problem is not None and not isinstance(here.problem, AppNotFound):
        problem = here.problem
        yield Finding(about="app", level="wrong", text=f"{problem.what} ({problem.seen}).", do=problem.do)
    else:
        yield Finding(about="app", level="note", text="No app is looked at: only the database.")


def read_settings(here: Place) -> tuple[list[Setting], list[Finding]]:
    """Every setting that can be read, and a finding for each that cannot."""
    settings, problems = [], []
    for name in here.app.settings.names:
        try:
            settings.append(here.app.settings.get(name))
        except HoldfastError as error:
            about = name if name == "database" else "settings"
            problems.append(Finding(about=about, level="wrong", text=f"{error.what} ({error.seen}).", do=error.do))
    return settings, problems


def of_host() -> Iterator[Finding]:
    """What a worker has here for runs with machines, and what of them is enforced."""
    from holdfast.worker.capacity import detect
    from holdfast.worker.isolated.confine import enforced

    yield Finding(about="host", level="ok", text=" ".join([f"{detect()} for runs with machines.", *enforced()]))


def of_database(url: str) -> Iterator[Finding]:
    """From the outside in; what cannot be passed is the last that is told."""
    file = file_of(url)
    if file is not None and not file.exists():
        yield Finding(
            about="database",
            level="note" if file.parent.is_dir() else "wrong",
            text=f"There is no {file} yet.",
            do="A worker or a trigger makes it"
            if file.parent.is_dir()
            else f"Make the folder {file.parent}, or name another",
        )
        return
    if file is not None:
        yield from of_file(file)
    try:
        with schema.opened(url) as store:
            now = schema.read(store)
            yield of_schema(store.url, now)
            if now.current:
                yield from of_migrations(schema.edited(store))
                health = store.read_sync(views.health)
                yield from of_clock(health.now)
                yield from of_promised([each for each in health.alive if each.host == platform.node()])
                yield from views.findings(health)
                if file is not None:
                    store.submit(lambda _: None).result()  # takes the write lock, and changes nothing
    except DatabaseError as error:
        yield Finding(about="database", level="wrong", text=f"{error.what} ({error.seen}).", do=error.do)


def of_promised(workers: list[WorkerView]) -> Iterator[Finding]:
    """What the workers of this host have together for runs with machines, where that is more than there is."""
    from holdfast.worker.capacity import Room, detect

    sized = [(each.cpu_millis, each.memory_bytes) for each in workers]
    counted = [(cpu, memory) for cpu, memory in sized if cpu is not None and memory is not None]
    there = detect()
    promised = Room(sum(cpu for cpu, _ in counted), sum(memory for _, memory in counted))
    if len(counted) > 1 and not there.nearly_holds(promised):
        yield Finding(
            about="machines",
            level="note",
            text=f"The {len(counted)} workers here count on {promised} for runs with machines; this host has {there}.",
            do="Each holdfast worker takes the host to be its own: use one with --processes, or say --cpu and --memory",
        )


def of_schema(url: str, now: schema.Schema) -> Finding:
    if not now.ours:
        text, do = "There are tables with our names that are not ours.", "Use another database, or rename those tables"
    elif now.too_new:
        text = f"A newer Holdfast has taken it to schema {now.version}; this one knows {now.needed}."
        do = "Upgrade this installation: pip install -U holdfast"
    elif not now.current:
        text, do = f"Its schema is {now.version}, and this code needs {now.needed}.", "holdfast migrate"
    else:
        return Finding(about="database", level="ok", text=f"{url}, schema {now.version}.")
    return Finding(about="database", level="wrong", text=f"{url}: {text}", do=do)


def of_migrations(edited: list[str]) -> Iterator[Finding]:
    if edited:
        yield Finding(
            about="database",
            level="wrong",
            text=f"Applied with another text than this code has: {', '.join(edited)}. Its tables may differ from ours.",
            do="Install the release that migrated it; if it is a development database, begin with a new one",
        )


def of_file(file: Path) -> Iterator[Finding]:
    """What SQLite's file can suffer from."""
    if not os.access(file, os.W_OK) or not os.access(file.parent, os.W_OK):
        yield Finding(
            about="file",
            level="wrong",
            text=f"This user may not write {file} or its folder.",
            do="Give it write access to both: SQLite keeps files beside the database",
        )
    if kind := network_file_system(file):
        yield Finding(
            about="file",
            level="wrong",
            text=f"The file is on {kind}: SQLite's locks do not hold there, and the database can be corrupted.",
            do="Keep it on a local disk, or use PostgreSQL",
        )
    wal = Path(f"{file}-wal")
    if wal.exists() and wal.stat().st_size > LARGE_WAL:
        yield Finding(
            about="file",
            level="wrong",
            text=f"{wal.name} has grown to {megabytes(wal.stat().st_size)}: something keeps a read transaction open.",
            do="Find the process that holds it (fuser), and end its transaction",
        )
    free = shutil.disk_usage(file.parent).free
    if free < LITTLE_ROOM:
        yield Finding(
            about="file",
            level="wrong",
            text=f"Only {megabytes(free)} are free on its disk.",
            do="Make room on the disk",
        )


def network_file_system(file: Path) -> str | None:
    """The kind of file system a file is on, if that is one of the network's; where the system can be asked."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text("utf-8").splitlines()]
    except OSError:
        return None
    above = [(point, kind) for point, kind in mounts if file.is_relative_to(point.replace("\\040", " "))]
    kind = max(above, key=lambda mount: len(mount[0]), default=("", ""))[1]
    return kind if kind in NETWORK_FILES else None


def of_clock(now: int) -> Iterator[Finding]:
    """The clock of this host, beside the database's, which is the one that counts."""
    from holdfast.cli.show import duration, now_ms

    skew = now - now_ms()
    if abs(skew) > SKEW_MS:
        yield Finding(
            about="clock",
            level="note",
            text=f"The clock of {socket.gethostname()} is {duration(abs(skew))} {'behind' if skew > 0 else 'ahead of'} "
            "the database's. Nothing depends on it but the order of lists.",
            do="Let it be set by NTP",
        )


# -- telling ----------------------------------------------------------------------------------------------------------


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    return {
        "healthy": diagnosis.healthy,
        "app": diagnosis.app,
        "database": masked(diagnosis.url),
        "findings": [{name: getattr(each, name) for name in each.__struct_fields__} for each in diagnosis.findings],
        "settings": [
            {
                "name": each.name,
                "value": value_told(each),
                "source": each.source,
            }
            for each in diagnosis.settings
        ],
        "python": sys.version.split()[0],
    }


def value_told(each: Setting) -> Any:
    if each.name in SECRETS and each.value is not None:
        return STARS
    return masked(str(each.value)) if each.name == "database" else each.value


def print_diagnosis(diagnosis: Diagnosis) -> None:
    for each in diagnosis.findings:
        print_finding(each)
    print_settings(diagnosis.settings)
    wrong = sum(each.level == "wrong" for each in diagnosis.findings)
    out().print()
    if wrong:
        out().print(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.", style="bold red")
    else:
        out().print("Nothing is wrong.", style="bold green")


def print_finding(each: Finding) -> None:
    from rich.table import Table
    from rich.text import Text

    style = COLOURS[each.level]
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, width=12)
    table.add_column(overflow="fold")
    text = Text(clean(each.text), style=style if each.level == "wrong" else "")
    if each.do is not None:
        text.append(f"\n→ {clean(each.do)}", style="cyan")
    mark = MARKS[each.level] if out().is_terminal else f"{each.level:<5}"
    table.add_row(Text(mark, style=style), Text(each.about, style=DIM), text)
    show(table)


def print_settings(settings: list[Setting]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=DIM)
    table.add_column("SETTING", no_wrap=True)
    table.add_column("VALUE", overflow="fold")
    table.add_column("FROM", no_wrap=True, style=DIM)
    for each in settings:
        table.add_row(each.name, Text(setting_shown(each.name, each.value)), each.source)
    show("")
    show(table)
