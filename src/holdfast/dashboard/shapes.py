"""How values look: times, durations, sizes, JSON, statuses. Whatever a user has written is escaped on the way.

Times leave the server in UTC, as ``<time>``; a script says them in the viewer's zone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

from markupsafe import Markup, escape

from holdfast.clock import SystemClock, utc
from holdfast.duration import format_ms
from holdfast.errors import HoldfastError, PayloadInvalid
from holdfast.frames import frames
from holdfast.model import FINAL, STATUSES
from holdfast.views import COUNTED

STATUS_WORDS: Final[Mapping[str, str]] = {word: word.replace("_", " ") for word in STATUSES}
UNITS: Final = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))
LONGEST_JSON: Final = 40_000  # characters of a value that a page shows
NONE: Final = Markup('<span class="none dash">\u2013</span>')
PART: Final = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d[\d.eE+-]*)')


def moment(at: int | datetime | None, kind: str = "ago") -> Markup:
    """A time. ``since`` is how long ago, and the script keeps it up; ``ago`` is told by the script; ``at`` is a date,
    ``slot`` one with its day of the week. Without a script those are dates. The exact one is in the title."""
    if at is None:
        return NONE
    ms = round(at.timestamp() * 1000) if isinstance(at, datetime) else at
    when = utc(ms)
    exact = f"{when:%Y-%m-%d %H:%M:%S}.{ms % 1000:03d} UTC"
    said = exact[11:23] if kind == "clock" else gone(ms) if kind == "since" else f"{when:%d %b %H:%M:%S}"
    machine = f"{exact[:10]}T{exact[11:23]}Z"
    return Markup(f'<time datetime="{machine}" data-as="{escape(kind)}" title="{exact}">{said}</time>')


def gone(ms: int) -> str:
    """How long ago that is, in its largest unit."""
    past = max(0, SystemClock().now() - ms)
    return next((f"{past // size}{unit}" for unit, size in UNITS if past >= size), "0s")


def axis(ms: int, day: bool) -> str:
    """A time on an axis, in UTC until the script says it in the viewer's zone."""
    when = utc(ms)
    return f"{when:%d %b}" if day else f"{when:%H:%M}"


def iso(ms: int) -> str:
    """A time as addresses say it."""
    return utc(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def span(ms: int | None) -> str | Markup:
    """A duration."""
    return NONE if ms is None else format_ms(ms)


def fine(microseconds: int | None) -> str | Markup:
    """A duration that is known to the microsecond."""
    if microseconds is None:
        return NONE
    return f"{microseconds / 1000:.1f} ms" if microseconds < 1_000_000 else f"{microseconds / 1e6:.2f}s"


def number(value: float) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def counted(value: int) -> str:
    """A count that has a bound: as much as that means "or more"."""
    return f"{number(value)}+" if value >= COUNTED else number(value)


def size(count: int) -> str:
    """Bytes."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024  # type: ignore[assignment]
    return ""


def short(run_id: str) -> str:
    """The end of an id, by which people tell runs apart."""
    return run_id[-8:]


def pretty(value: Any) -> str:
    """JSON over several lines; lone surrogates are spelled out, for no page can hold them."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()


def coloured(value: Any) -> Markup:
    """JSON with its parts told apart."""
    text = pretty(value)
    shown, rest = text[:LONGEST_JSON], len(text) - LONGEST_JSON
    more = Markup('<i class="cut">… {} more characters</i>').format(number(rest)) if rest > 0 else Markup()
    return Markup().join(parts(shown)) + more


def parts(text: str) -> Iterator[Markup]:
    place = 0
    for found in PART.finditer(text):
        yield escape(text[place : found.start()])
        string, colon, word, figure = found.groups()
        kind = ("k" if colon else "s") if string else "w" if word else "n"
        yield Markup('<b class="{}">{}</b>{}').format(kind, string or word or figure, colon or "")
        place = found.end()
    yield escape(text[place:])


def line(value: Any, most: int = 120) -> str:
    """JSON in one line, cut."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[:most]}…"


def percent(part: float, whole: float) -> str:
    """For the geometry of a drawing."""
    return f"{100 * part / whole if whole else 0:.3f}%"


@lru_cache(maxsize=256)
def icon(name: str, title: str = "") -> Markup:
    """One of the drawings in ``icons.html``."""
    label = Markup(' role="img" aria-label="{}"').format(title) if title else Markup(' aria-hidden="true"')
    return Markup('<svg class="i i-{0}"{1}><use href="#i-{0}"/></svg>').format(name, label)


@lru_cache(maxsize=64)
def status(word: str) -> Markup:
    """A status: a shape, a colour and a word."""
    meaning = next((text for known, text in STATUSES.items() if known == word), "")
    return Markup('<span class="status s-{}" title="{}">{}{}</span>').format(
        word, meaning, icon(word), word.replace("_", " ")
    )


def linked(text: str, run_ids: Iterable[str]) -> Markup:
    """A sentence in which ids of runs lead to them."""
    said = escape(text)
    for each in run_ids:
        said = said.replace(each, Markup('<a href="/runs/{0}" title="{0}">{1}</a>').format(each, short(each)))
    return said


def segment(text: str) -> str:
    """A name as one part of a path."""
    return quote(text, safe="")


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "moment": moment,
    "span": span,
    "axis": axis,
    "iso": iso,
    "fine": fine,
    "number": number,
    "counted": counted,
    "size": size,
    "short": short,
    "pretty": pretty,
    "coloured": coloured,
    "line": line,
    "status": status,
    "segment": segment,
    "linked": linked,
    "frames": frames,
}


def wrong_with(problem: HoldfastError | None, name: str) -> list[str]:
    """What is wrong with the value of one field of a payload, for the field to say it itself."""
    path = name.partition(".")[2]
    if isinstance(problem, PayloadInvalid):
        found = (each.partition(": ") for each in problem.problems)
        return [said for at, _, said in found if path and (at == path or at.startswith(f"{path}."))]
    return [problem.what] if problem is not None and path and problem.what.startswith(f"{path} is not ") else []


def portion(part: int, whole: int | None) -> float:
    """How much of a limit is taken, at most all of it."""
    return min(100.0, 100 * part / whole) if whole else 0.0


GLOBALS: Final[dict[str, Any]] = {
    "portion": portion,
    "icon": icon,
    "percent": percent,
    "final": FINAL,
    "wrong_with": wrong_with,
}
