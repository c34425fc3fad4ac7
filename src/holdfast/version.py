"""Which version of an app this is: as its deploy says, or a digest of its source.

``HOLDFAST_VERSION`` is best set to what the deploy is known by, a tag or a commit. Without it the version is a digest
of the modules of the project that are imported once the app is: the same wherever the same files are, another one when
a line of them has changed. What is installed beside the project, in site-packages, does not count.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from holdfast.app import Holdfast

__all__ = ["digest", "version_of"]

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
DIGITS: Final = 12


def version_of(app: Holdfast) -> str:
    """The version of an app whose modules are imported."""
    said = app.settings.get("version").value
    return said if said is not None else digest(app.settings.project)


def digest(project: Path) -> str:
    """A digest of the imported modules below this folder."""
    state = hashlib.sha256()
    for name, path in sorted(sources(project)):
        content = path.read_bytes() if path.is_file() else b""
        state.update(f"{name}\0{len(content)}\0".encode())
        state.update(content)
    return state.hexdigest()[:DIGITS]


def sources(project: Path) -> set[tuple[str, Path]]:
    """The files of the project that are imported, by their paths in it: those are the same on every machine."""
    found = set[tuple[str, Path]]()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py"):
            path = Path(file).resolve()
            if path.is_relative_to(project) and INSTALLED.isdisjoint(path.relative_to(project).parts):
                found.add((path.relative_to(project).as_posix(), path))
    return found
