"""Which app, and which database.

    --database postgresql://…    that one; no app is looked for
    --database jobs.db           a path starts at the project, which is the app's if there is one
    nothing                      what the app says, else HOLDFAST_DATABASE_URL, else holdfast.db at the project

A command that only looks needs no app, and makes no database: a file that is not there is an error, and not a new one.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import AppNotFound, HoldfastError

if TYPE_CHECKING:  # the supervisor, which is to stay small, uses this module and no app
    from holdfast.app import Holdfast
    from holdfast.client import Client

DATABASE_VARIABLE = "HOLDFAST_DATABASE_URL"


class AppBroken(HoldfastError):
    """The app cannot be imported."""


class NoDatabase(HoldfastError):
    """There is no database yet."""


class Place(NamedTuple):
    """The app that is meant, or an empty one over the database that is meant; ``name`` is None for that."""

    app: Holdfast
    name: str | None
    problem: HoldfastError | None = None  # why there is no app, if one was there and could not be used

    @property
    def url(self) -> str:
        """The database's URL, complete."""
        return str(self.app.settings.get("database").value)


def place(database: str | None, app: str | None, *, need_app: bool = False) -> Place:
    """Find the app and the database.

    Raises:
        AppNotFound, AppBroken: there is no such app, or it cannot be imported, and it was asked for or is needed.
    """
    if database is not None and is_complete(database) and app is None and not need_app:
        return over(bare(), database)
    try:
        found = imported(app)
    except HoldfastError as error:
        if app is not None or need_app:
            raise
        unknown = database is None and not os.environ.get(DATABASE_VARIABLE, "").strip()
        if unknown and not isinstance(error, AppNotFound):
            raise
        return over(bare(), database)._replace(problem=error)
    return over(found, database)


def over(place: Place, database: str | None) -> Place:
    place.app.settings.use_flags(database=database)
    return place


def bare() -> Place:
    """An app without tasks, which belongs to the project of the working directory."""
    from holdfast.app import Holdfast
    from holdfast.settings import project_of

    app = Holdfast()
    app.settings.project = project_of(Path.cwd() / "_")
    return Place(app, None)


def imported(app: str | None) -> Place:
    from holdfast.discovery import find_app

    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = find_app(app)
    except HoldfastError as error:
        error.seen = f"{error.seen or ''}{where(error)}".removeprefix(", ") or None
        raise
    except (Exception, SystemExit) as error:
        raise AppBroken(
            "The app cannot be imported", seen=f"{type(error).__name__}: {error}{where(error)}", do="Correct it."
        ) from error
    return Place(found.app, found.name)


def where(error: BaseException) -> str:
    """The place in the user's code at which importing it went wrong."""
    if isinstance(error, SyntaxError):
        return ""  # it says so itself
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not is_ours(each.filename)]
    return f", at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def is_ours(file: str) -> bool:
    return file.startswith(("<", str(Path(__file__).parents[1]), str(Path(os.__file__).parent / "importlib")))


def is_complete(database: str) -> bool:
    """Whether a database is named without regard to where the project is."""
    if "://" in database and not database.startswith("sqlite:"):
        return True
    path = database.removeprefix("sqlite:").removeprefix("//")
    path = path.removeprefix("/") if database.startswith("sqlite:///") else path
    return path == ":memory:" or Path(path).expanduser().is_absolute()


@contextmanager
def opened(database: str | None, app: str | None = None, *, make: bool = False) -> Iterator[Client]:
    """The client of the database that is meant, for as long as the command needs it.

    Raises:
        NoDatabase: it is a file that is not there, and this command does not ``make`` it.
        DatabaseError: it cannot be used.
    """
    with using(place(database, app), make=make) as found:
        yield found.app.client


@contextmanager
def using(place: Place, *, make: bool = False) -> Iterator[Place]:
    if not make:
        check_there(place)
    try:
        yield place
    finally:
        place.app.close()


def check_there(place: Place) -> None:
    file = file_of(place.url)
    if file is not None and not file.exists():
        source = place.app.settings.get("database").source
        if source == "default" and place.name is None:
            raise NoDatabase(
                "No app and no database were found",
                seen=f"there is no {file}",
                do=f"Go to the project's folder, or name the database: --database, or {DATABASE_VARIABLE}.",
            )
        raise NoDatabase(
            "There is no database at this path yet",
            seen=f"{file}, from {source}",
            do="A worker or a trigger makes it. If it is elsewhere, name it with --database.",
        )


def file_of(url: str) -> Path | None:
    """The file of an SQLite URL."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
