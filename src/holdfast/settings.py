"""Settings, and where each came from.

A flag of a command beats the constructor's argument, which beats the environment (``HOLDFAST_<NAME>``), which beats the
default. An empty variable says nothing. ``holdfast doctor`` shows what `Settings.all` returns.

A relative SQLite path starts at the *project*: the folder of the nearest pyproject.toml above the app's file, else that
file's own folder. Never at the working directory, or two processes started in two folders had two databases.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from holdfast.duration import to_ms
from holdfast.errors import DatabaseUrlInvalid, InvalidOption, shown
from holdfast.machine import Machine, machine_of
from holdfast.names import checked_text
from holdfast.rate import read_rate
from holdfast.sizes import KIB, MIB

__all__ = ["Setting", "Settings", "absolute_url", "calling_file", "calling_place", "project_of"]

_PACKAGE: Final = __name__.partition(".")[0]
_SERVERS: Final = ("postgresql", "postgres")
_LONGEST_NUMBER: Final = 30


class Setting(NamedTuple):
    """A setting's value and where it was said: a flag, the constructor, a variable, or nowhere (``default``)."""

    name: str
    value: Any
    source: str


class _Declared(NamedTuple):
    variable: str
    read: Callable[[Any, str], Any]
    default: Any


def _text(value: Any, name: str) -> str:
    if isinstance(value, str | os.PathLike) and str(value):
        return checked_text(str(value), option=name)
    raise InvalidOption(f"{name} is not text", seen=shown(value), do="Write it as a string.")


def _milliseconds(value: Any, name: str) -> int:
    return to_ms(value, name=name)


def _lasting(value: Any, name: str) -> int:
    if to_ms(value, name=name) == 0:
        raise InvalidOption(f"{name} is no time at all", seen=shown(value), do='Write it like "1h".')
    return to_ms(value, name=name)


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidOption(f"{name} is not a whole number of at least 1", seen=shown(value), do="Write 1 or more.")
    return value


def _yes(value: Any, name: str) -> bool:
    word = value.lower() if isinstance(value, str) else value
    if isinstance(word, str | int) and word in _YES | _NO:
        return word in _YES
    raise InvalidOption(f"{name} is neither true nor false", seen=shown(value), do="Write True or False.")


_YES: Final = frozenset[object]({True, "true", "yes", "on"})
_NO: Final = frozenset[object]({False, "false", "no", "off"})


def _public_url(value: Any, name: str) -> str:
    """Where a server is found from outside; it may stand below a path."""
    said = urlsplit(_text(value, name).rstrip("/"))
    if said.scheme not in ("http", "https") or not said.hostname or said.query or said.fragment or said.username:
        raise InvalidOption(
            f"{name} is not the URL of a server", seen=shown(value), do='Write it like "https://jobs.example.com".'
        )
    return said.geturl()


def _rate(value: Any, name: str) -> str:
    text = _text(value, name)
    read_rate(text, name=name)
    return text


def _machine(value: Any, name: str) -> Machine:
    return machine_of(value, option=name)


def _origins(value: Any, name: str) -> str:
    """Which pages may call from a browser: ``*``, or where they come from."""
    origins = [each.rstrip("/") for each in _text(value, name).replace(",", " ").split()]
    for each in origins:
        said = urlsplit(each)
        if each != "*" and (said.scheme not in ("http", "https") or f"{said.scheme}://{said.netloc}" != each):
            raise InvalidOption(
                f"{name} names no page's origin",
                seen=shown(each),
                do='Write "https://shop.example.com", or "*".',
            )
    return " ".join(origins)


PUBLIC_URL: Final = "http://127.0.0.1:8765"
SERVED_AT: Final = "HOLDFAST_SERVED_AT"  # what a server tells the processes that it starts: where it listens

_DECLARED: Final[Mapping[str, _Declared]] = {
    "database": _Declared("HOLDFAST_DATABASE_URL", _text, "holdfast.db"),
    "max_duration": _Declared("HOLDFAST_MAX_DURATION", _lasting, None),
    "ttl": _Declared("HOLDFAST_TTL", _lasting, None),
    "payload_limit": _Declared("HOLDFAST_PAYLOAD_LIMIT", _whole, 10 * MIB),
    "output_limit": _Declared("HOLDFAST_OUTPUT_LIMIT", _whole, 10 * MIB),
    "retention": _Declared("HOLDFAST_RETENTION", _milliseconds, 30 * 86_400_000),
    "lease": _Declared("HOLDFAST_LEASE", _lasting, 30_000),
    "suspend_after": _Declared("HOLDFAST_SUSPEND_AFTER", _milliseconds, 30_000),
    "suspend_above": _Declared("HOLDFAST_SUSPEND_ABOVE", _whole, 64 * MIB),
    "public_url": _Declared("HOLDFAST_PUBLIC_URL", _public_url, PUBLIC_URL),
    "api_key": _Declared("HOLDFAST_API_KEY", _text, None),
    "api_rate": _Declared("HOLDFAST_API_RATE", _rate, None),
    "cors_origins": _Declared("HOLDFAST_CORS_ORIGINS", _origins, None),
    "push_allow": _Declared("HOLDFAST_PUSH_ALLOW", _text, None),
    "push_secret": _Declared("HOLDFAST_PUSH_SECRET", _text, None),
    "push_timeout": _Declared("HOLDFAST_PUSH_TIMEOUT", _lasting, 15 * 60_000),
    "push_concurrency": _Declared("HOLDFAST_PUSH_CONCURRENCY", _whole, 10_000),
    "push_per_host": _Declared("HOLDFAST_PUSH_PER_HOST", _whole, None),
    "smtp_url": _Declared("HOLDFAST_SMTP_URL", _text, None),
    "mail_from": _Declared("HOLDFAST_MAIL_FROM", _text, None),
    "push_response_limit": _Declared("HOLDFAST_PUSH_RESPONSE_LIMIT", _whole, 16 * KIB),
    "machine": _Declared("HOLDFAST_MACHINE", _machine, None),
    "traces": _Declared("HOLDFAST_TRACES", _yes, False),
    "version": _Declared("HOLDFAST_VERSION", _text, None),
    "pin_versions": _Declared("HOLDFAST_PIN_VERSIONS", _yes, False),
}


class Settings:
    """The settings of one app: what its constructor said, and where its project is.

    Durations are milliseconds, sizes bytes.

    >>> Settings({"database": "jobs.db"}, Path("/srv/shop")).get("database")
    Setting(name='database', value='sqlite:////srv/shop/jobs.db', source='Holdfast(database=…)')
    """

    def __init__(
        self,
        constructor: Mapping[str, Any],
        project: Path,
        environ: Mapping[str, str] | None = None,
        *,
        file: Path | None = None,
    ) -> None:
        self.project, self.file = project, file
        self._constructor = {name: value for name, value in constructor.items() if value is not None}
        self._environ = os.environ if environ is None else environ
        self._flags: dict[str, Any] = {}

    @property
    def app(self) -> str:
        """What the schedules that the app's code declares are known by in a database."""
        return app_name(self.file, self.project)

    def use_flags(self, **flags: Any) -> None:
        """Take what a command was told; a flag that is None was not given."""
        self._flags.update({name: value for name, value in flags.items() if value is not None})

    def get(self, name: str) -> Setting:
        """One setting, read and checked.

        Raises:
            InvalidOption: its value cannot be used; the message names where it was said.
        """
        declared = _DECLARED[name]
        value, source = self._said(name, declared)
        if source != "default" or name == "database":
            value = declared.read(value, source if source != "default" else name)
        if name == "database":
            value = absolute_url(value, self.project)
        return Setting(name, value, source)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all settings."""
        return tuple(_DECLARED)

    def all(self) -> list[Setting]:
        """All settings, for people to read."""
        return [self.get(name) for name in _DECLARED]

    def _said(self, name: str, declared: _Declared) -> tuple[Any, str]:
        if name in self._flags:
            return self._flags[name], f"--{name.replace('_', '-')}"
        if name in self._constructor:
            return self._constructor[name], f"Holdfast({name}=…)"
        if value := self._environ.get(declared.variable, "").strip():
            return _number(value) if declared.read not in (_text, _public_url) else value, declared.variable
        return declared.default, "default"


def _number(text: str) -> float | str:
    """What a variable says: a plain number is meant as one."""
    if len(text) > _LONGEST_NUMBER or not text.replace(".", "", 1).isdecimal():
        return text
    return float(text) if "." in text else int(text)


def absolute_url(database: str, project: Path) -> str:
    """A database URL that means the same wherever it is used. A plain path is an SQLite file.

    Raises:
        DatabaseUrlInvalid: it names no file.
    """
    scheme = database.partition("://")[0] if "://" in database else ""
    if scheme in _SERVERS:
        return database
    if scheme not in ("", "sqlite"):
        raise DatabaseUrlInvalid(
            "The database URL has a scheme that is not known",
            seen=database,
            do="Write postgresql://… or sqlite:///path, or a plain path.",
        )
    path = database.removeprefix("sqlite:").removeprefix("//")
    if path.strip("/") == ":memory:":
        return "sqlite://:memory:"
    if database.startswith("sqlite:///"):
        path = path.removeprefix("/")
    if not Path(path).name:
        raise DatabaseUrlInvalid("The database URL names no file", seen=database, do="Write sqlite:///path/to/file.db.")
    return f"sqlite:///{(project / Path(path).expanduser()).resolve()}"


def project_of(file: Path | None) -> Path:
    """The project an app's file belongs to: the nearest folder above it with a pyproject.toml, else its own folder.

    Code without a file (a notebook, ``python -c``) belongs to where it was started; there is nothing else to go by.
    """
    folder = Path.cwd() if file is None else file.resolve().parent
    return next((each for each in (folder, *folder.parents) if (each / "pyproject.toml").is_file()), folder)


def app_name(file: Path | None, project: Path) -> str:
    """What an app is known by in a database, the same in all processes that have its code: ``project:module``."""
    try:
        said = tomllib.loads((project / "pyproject.toml").read_text("utf-8")).get("project", {}).get("name")
    except (OSError, ValueError):
        said = None
    inside = None if file is None or not file.resolve().is_relative_to(project) else file.resolve().relative_to(project)
    return f"{said or project.name}:{'.'.join(inside.with_suffix('').parts) if inside else ''}"


def calling_file() -> Path | None:
    """The file of the code that called into Holdfast; None if it has none."""
    frame = _caller()
    file = frame.f_globals.get("__file__") if frame is not None else None
    return Path(file) if file else None


def calling_place() -> str:
    """The line of code that called into Holdfast, as ``path:line``."""
    frame = _caller()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "unknown"


def _caller() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_ours(module: str) -> bool:
    """Whether a module is Holdfast itself; its demo is an app like any other."""
    return module.partition(".")[0] == _PACKAGE and not module.startswith(f"{_PACKAGE}.demo.")
