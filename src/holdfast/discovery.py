"""Finding the app.

    an argument        tasks.py · pkg/tasks.py · pkg.tasks · pkg.tasks:app
    HOLDFAST_APP       the same
    pyproject.toml     [tool.holdfast] app = "the same", seen from its folder
    tasks.py, app.py, main.py    here, or at the project

The first of these that says something decides. One `Holdfast` in the module is enough. A file inside a package is
imported by its package's name, and a file that is loaded already is not loaded again, since a second copy of a module
has a second app with tasks of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from holdfast.app import Holdfast
from holdfast.errors import AppNotFound, shown
from holdfast.settings import project_of

__all__ = ["Found", "find_app"]

_USUAL: Final = ("tasks.py", "app.py", "main.py")
_WRITE: Final = (
    "Name it, as in holdfast worker shop/tasks.py or shop.tasks:app; or set HOLDFAST_APP; "
    'or write app = "shop.tasks:app" under [tool.holdfast] in pyproject.toml.'
)


class Found(NamedTuple):
    """An app, where it is (``shop.tasks:app``), and what led to it (``argument``, ``HOLDFAST_APP``, …)."""

    app: Holdfast
    name: str
    source: str


class _Place(NamedTuple):
    """Somewhere to look: as it was written, who wrote it, and the folder it starts from."""

    written: str
    source: str
    folder: Path


def find_app(
    argument: str | None = None, *, folder: Path | None = None, environ: Mapping[str, str] | None = None
) -> Found:
    """Find the app and import it, with all modules it lists in ``imports=``.

    ``folder`` is where to look from (default: the working directory).

    Raises:
        AppNotFound: there is none, or there are several; the message says what was tried.
        Whatever the app's own code raises when it is imported.
    """
    here = (folder or Path.cwd()).resolve()
    place = _first_place(argument, here, os.environ if environ is None else environ)
    if place is None:
        raise AppNotFound("No Holdfast app was found", seen=_looked(here), do=_WRITE)
    target, _, attribute = _split(place.written)
    module = _load(target, place)
    name, app = _in_module(module, attribute, place)
    app.load()
    return Found(app, f"{module.__name__}:{name}", place.source)


def _first_place(argument: str | None, here: Path, environ: Mapping[str, str]) -> _Place | None:
    if argument:
        return _Place(argument, "argument", here)
    if written := environ.get("HOLDFAST_APP", "").strip():
        return _Place(written, "HOLDFAST_APP", here)
    project = project_of(here / "_")
    if app := _in_pyproject(project):
        return _Place(app, str(project / "pyproject.toml"), project)
    return next(
        (
            _Place(name, name, root)
            for root in dict.fromkeys((here, project))
            for name in _USUAL
            if (root / name).is_file()
        ),
        None,
    )


def _in_pyproject(project: Path) -> str | None:
    file = project / "pyproject.toml"
    try:
        written = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("holdfast", {}).get("app")
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AppNotFound("pyproject.toml cannot be read", seen=f"{file}: {error}", do="Correct it.") from error
    if written is not None and (not isinstance(written, str) or not written.strip()):
        raise AppNotFound("[tool.holdfast] app is not text", seen=f"{file}: {shown(written)}", do=_WRITE)
    return written


def _looked(here: Path) -> str:
    project = project_of(here / "_")
    folders = " and ".join(str(root) for root in dict.fromkeys((here, project)))
    return f"no argument, no HOLDFAST_APP, no [tool.holdfast] app; no {', '.join(_USUAL)} in {folders}"


# -- importing --------------------------------------------------------------------------------------------------------


def _split(written: str) -> tuple[str, str, str]:
    """``C:\\\\tasks.py`` has a colon that says nothing about an attribute."""
    target, colon, attribute = written.rpartition(":")
    return (target, colon, attribute) if colon and attribute.replace(".", "").isidentifier() else (written, "", "")


def _load(target: str, place: _Place) -> ModuleType:
    looks_like_file = target.endswith(".py") or "/" in target or os.sep in target
    return _load_file(target, place) if looks_like_file else _load_name(target, place)


def _load_file(target: str, place: _Place) -> ModuleType:
    file = (place.folder / Path(target).expanduser()).resolve()
    if file.is_dir() and (file / "__init__.py").is_file():
        file = file / "__init__.py"
    if not file.is_file():
        raise AppNotFound("There is no such file", seen=f"{file}, from {place.source}", do=_WRITE)
    name, root = _import_name(file)
    module = _loaded(file) or _import(name, root, place)
    its_file = getattr(module, "__file__", None)
    if its_file is None or Path(its_file).resolve() != file:
        raise AppNotFound(
            f"The module {name} is another file",
            seen=f"{its_file}, not {file}",
            do="Rename yours, or put it in a package.",
        )
    return module


def _loaded(file: Path) -> ModuleType | None:
    """The module that was made from this file, under whatever name."""
    for module in list(sys.modules.values()):
        its_file = getattr(module, "__file__", None)
        if isinstance(its_file, str) and its_file.endswith(file.name) and Path(its_file).resolve() == file:
            return module
    return None


def _import_name(file: Path) -> tuple[str, Path]:
    """The name a file is imported by, and the folder that has to be on sys.path for it."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts), folder


def _load_name(target: str, place: _Place) -> ModuleType:
    if not all(part.isidentifier() for part in target.split(".")):
        raise AppNotFound("This is neither a file nor a module", seen=f"{target}, from {place.source}", do=_WRITE)
    source_folder = place.folder / "src"
    if source_folder.is_dir():
        _make_importable(source_folder)
    return _import(target, place.folder, place)


def _import(name: str, root: Path, place: _Place) -> ModuleType:
    _make_importable(root)
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        # Only if the named module, or a package above it, is missing: what fails inside is the app's own affair.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        spec = None
    if spec is None:
        raise AppNotFound("There is no such module", seen=f"{name}, from {place.source}", do=_WRITE)
    again = _loaded(Path(spec.origin)) if spec.origin and name not in sys.modules else None
    return again or importlib.import_module(name)


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
        importlib.invalidate_caches()


# -- in the module ----------------------------------------------------------------------------------------------------


def _in_module(module: ModuleType, attribute: str, place: _Place) -> tuple[str, Holdfast]:
    where = f"{module.__name__}, from {place.source}"
    if attribute:
        return attribute, _attribute(module, attribute, where)
    apps = dict(_apps(module))
    if len(apps) == 1:
        return next(((name, app) for app, name in apps.items()))
    if not apps:
        raise AppNotFound("There is no Holdfast app in this module", seen=where, do="Write app = Holdfast() in it.")
    names = ", ".join(f"{module.__name__}:{name}" for name in apps.values())
    raise AppNotFound("There are several Holdfast apps in this module", seen=names, do="Name the one to use.")


def _apps(module: ModuleType) -> Iterator[tuple[Holdfast, str]]:
    """The apps and their names; the same app under two names is one, and the first name stays."""
    seen: set[int] = set()
    for name, value in vars(module).items():
        if isinstance(value, Holdfast) and id(value) not in seen:
            seen.add(id(value))
            yield value, name


def _attribute(module: ModuleType, attribute: str, where: str) -> Holdfast:
    value: Any = module
    for part in attribute.split("."):
        value = getattr(value, part, None)
    if isinstance(value, Holdfast):
        return value
    names = ", ".join(f"{module.__name__}:{name}" for name in dict(_apps(module)).values())
    raise AppNotFound(
        f"There is no {attribute} in this module" if value is None else f"{attribute} is no Holdfast app",
        seen=where if value is None else f"{where}: {shown(value)}",
        do=f"There is {names}." if names else f"Write {attribute} = Holdfast() in it.",
    )
