"""How things look: tables without frames, colours by status, times as one says them; plain when piped.

In a terminal a table takes the columns that fit its width, and cuts what is long. Piped, every column is there in full,
so that ``grep`` and ``awk`` see everything. ``document`` is what ``--json`` prints: times as ISO 8601 in UTC.
"""

from __future__ import annotations

import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from holdfast.clock import utc
from holdfast.duration import format_ms

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

COLOURS: Final = {
    "pending_version": "yellow",
    "delayed": "blue",
    "queued": "cyan",
    "executing": "bold cyan",
    "waiting": "magenta",
    "completed": "green",
    "failed": "red",
    "canceled": "bright_black",
    "expired": "bright_black",
    "timed_out": "red",
    "crashed": "bold red",
    "system_failure": "bold red",
    "live": "green",
    "draining": "yellow",
    "silent": "bold red",
    "lost": "red",
    "stopped": "bright_black",
    "returned": "bright_black",
    "ok": "green",
    "note": "yellow",
    "wrong": "bold red",
}
LEVELS: Final = {"DEBUG": "bright_black", "INFO": "", "WARNING": "yellow", "ERROR": "red", "CRITICAL": "bold red"}
DIM: Final = "bright_black"
ANSI: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
SURROGATE: Final = re.compile("[\ud800-\udfff]")
UNLIMITED: Final = 100_000  # columns of what is no terminal
SECRETS: Final = frozenset(("api_key", "push_secret", "smtp_url"))  # settings whose values nobody is shown
STARS: Final = "**********"
DURATIONS: Final = frozenset(("max_duration", "ttl", "retention", "lease", "suspend_after", "push_timeout"))
GAP: Final = 2
NARROWEST: Final = 6


# -- consoles ---------------------------------------------------------------------------------------------------------


@cache
def consoles() -> dict[int, Console]:
    return {}


def out() -> Console:
    """Where answers go."""
    return console(sys.stdout)


def err() -> Console:
    """Where everything else goes."""
    return console(sys.stderr)


def console(stream: Any) -> Console:
    known = consoles()
    if id(stream) not in known:
        from rich.console import Console

        width = None if is_terminal(stream) else UNLIMITED
        known[id(stream)] = Console(
            file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=False
        )
    return known[id(stream)]


def is_terminal(stream: Any) -> bool:
    return bool(stream.isatty())


def complain(what: str, seen: str | None, do: str | None) -> None:
    """An error, in its three parts: what is wrong, the value seen, what to do."""
    from rich.text import Text

    text = Text("Error: ", style="bold red").append(clean(what.rstrip(".")), style="bold")
    if seen is not None:
        text.append(f" ({clean(seen)})", style="not bold")
    text.append(".")
    if do:
        text.append(f"\n{clean(do)}", style="not bold")
    err().print(text, soft_wrap=True)


def note(text: str) -> None:
    """Something to know, beside the answer."""
    err().print(clean(text), style=DIM, soft_wrap=True)


# -- JSON -------------------------------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """One JSON document: a view, or views under names."""
    named = isinstance(value, dict)
    shown = {name: document(each) for name, each in value.items()} if named else document(value)
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    sys.stdout.write(SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def document(value: Any) -> Any:
    """A view as JSON: its times as ISO 8601. What users wrote (payloads, outputs, metadata) is left as it is."""
    if isinstance(value, msgspec.Struct):
        return {field: dated(field, getattr(value, field)) for field in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [document(each) for each in value]
    return value


def dated(field: str, value: Any) -> Any:
    if isinstance(value, int) and (field in ("at", "now") or field.endswith("_at")):
        return utc(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return document(value)


# -- words ------------------------------------------------------------------------------------------------------------


def clean(text: str, *, one_line: bool = False) -> str:
    """Text that somebody else wrote, as it may go to a terminal: no colours of its own, control characters escaped."""
    bare = ANSI.sub("", text) if "\x1b" in text else text
    if bare.isprintable():
        return bare
    kept = "" if one_line else "\n\t"
    return "".join(each if each in kept or each.isprintable() else escaped(each) for each in bare)


def escaped(character: str) -> str:
    if character == "\n":
        return " ⏎ "
    if unicodedata.category(character) in ("Zs", "Zl", "Zp"):
        return " "
    return repr(character)[1:-1]


def styled(word: str, style: str | None = None) -> Text:
    """A status, a state or a level in its colour."""
    from rich.text import Text

    return Text(word, style=COLOURS.get(word, "") if style is None else style)


def duration(ms: int | None) -> str:
    return "" if ms is None else format_ms(max(0, ms))


def age(now: int, at: int | None) -> str:
    """How long ago, in one unit: for columns."""
    if at is None:
        return ""
    seconds = max(0, now - at) // 1000
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size or (seconds >= size and unit == "d"):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def moment(at: int | None) -> str:
    """A moment in the local time of whoever looks."""
    return "" if at is None else utc(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def when(now: int, at: int | None) -> str:
    """A moment, and how long ago or ahead that is."""
    if at is None:
        return ""
    distance = f"in {format_ms(at - now)}" if at > now else f"{format_ms(now - at)} ago"
    return f"{moment(at)}  ({distance})"


def masked(url: str) -> str:
    """A database URL as it may be shown: without its password."""
    without = re.sub(r"^(\w+://[^:/@]*):.*@", r"\1:…@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1…", without)


def setting_shown(name: str, value: Any) -> str:
    """A setting's value in the unit that one thinks in: durations are milliseconds, limits are bytes."""
    if value is None:
        return "none"
    if name == "database":
        return masked(str(value))
    if name in SECRETS:
        return STARS
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith("_limit") or name == "suspend_above":
        return f"{value / 1_048_576:g} MiB" if value >= 1_048_576 else f"{value / 1024:g} KiB"
    return format_ms(value) if name in DURATIONS else str(value)


def now_ms() -> int:
    return int(time.time() * 1000)


def plural(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


# -- tables -----------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column: its head, what it shows of a row, and from which width of terminal on it is there. ``flexible`` ones
    give way when there is too little room."""

    head: str
    cell: Callable[[Any], str | Text | None]
    from_width: int = 0
    right: bool = False
    flexible: bool = False
    style: str = ""


def print_list(columns: Sequence[Column], rows: Sequence[Any], *, none: str, more: str | None = None) -> None:
    """Rows, or that there are none; and how to go on, if there may be ``more``."""
    if rows:
        print_table(columns, rows)
    else:
        note(none)
    if more is not None:
        note(f"To go on: --cursor {more}")


def print_table(columns: Sequence[Column], rows: Sequence[Any]) -> None:
    """Rows under heads, in the columns that fit; one that is empty in every row is left out. Piped, there are always
    the same columns, and something in each."""
    from rich.table import Table

    console = out()
    nothing = "" if console.is_terminal else "-"
    fitting = [each for each in columns if each.from_width <= console.width]
    cells = [[as_text(each.cell(row) or nothing) for each in fitting] for row in rows]
    used = [index for index in range(len(fitting)) if any(row[index].plain for row in cells)]
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style=DIM, show_edge=False)
    natural = [max(len(fitting[index].head), *(row[index].cell_len for row in cells)) for index in used]
    for index, width in zip(
        used, widths(natural, [fitting[index].flexible for index in used], console.width), strict=True
    ):
        each = fitting[index]
        side: Any = "right" if each.right else "left"
        table.add_column(each.head, justify=side, style=each.style, width=width, no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*(row[index] for index in used))
    show(table)


def as_text(cell: str | Text) -> Text:
    from rich.text import Text

    return cell if isinstance(cell, Text) else Text(clean(cell, one_line=True))


def widths(natural: Sequence[int], flexible: Sequence[bool], room: int) -> list[int]:
    """How wide the columns are: as wide as what is in them, but flexible ones share what the others leave."""
    given = list(natural)
    over = sum(given) + GAP * (len(given) - 1) - room
    while over > 0:
        widest = max((index for index, may in enumerate(flexible) if may), key=given.__getitem__, default=None)
        if widest is None or given[widest] <= NARROWEST:
            break
        given[widest] -= 1
        over -= 1
    return given


def show(what: RenderableType) -> None:
    """Print, without the spaces at line ends that tables leave."""
    console = out()
    if console.is_terminal:
        console.print(what)
        return
    with console.capture() as captured:
        console.print(what)
    sys.stdout.write("\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n")
