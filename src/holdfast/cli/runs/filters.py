"""Which runs: the filters that the commands over many runs share."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from holdfast import views
from holdfast.cli.show import now_ms
from holdfast.duration import to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.model import STATUSES
from holdfast.views import Filter

Status = Annotated[
    list[str] | None,
    typer.Option(
        "--status", "-s", metavar="STATUS", help="Only with this status; several may be given.", show_default=False
    ),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", "-t", metavar="ID", help="Only of this task.", show_default=False)
]
QueueOption = Annotated[
    str | None, typer.Option("--queue", "-q", metavar="NAME", help="Only of this queue.", show_default=False)
]
Tag = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="TAG", help="Only with this tag; with several, all of them.", show_default=False),
]
Batch = Annotated[str | None, typer.Option("--batch", metavar="ID", help="Only of this batch.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option(
        "--since", metavar="TIME", help='Only made since then: "2h" ago, or "2027-01-31T09:00".', show_default=False
    ),
]


def read_filter(
    status: Sequence[str] | None,
    task: str | None,
    queue: str | None,
    tag: Sequence[str] | None,
    batch: str | None,
    since: str | None,
) -> Filter:
    """The filter that these options say.

    Raises:
        InvalidOption: a status that there is not, or a time that is none.
    """
    return Filter(
        statuses=frozenset(known(word) for text in status or () for word in text.split(",") if word),
        tasks=frozenset([task] if task else []),
        queues=frozenset([queue] if queue else []),
        tags=tuple(tag or ()),
        batch=batch,
        since=None if since is None else read_since(since),
    )


def known(status: str) -> str:
    word = status.strip().lower().replace("-", "_")
    if word not in STATUSES:
        close = difflib.get_close_matches(word, STATUSES, n=1)
        do = f"Did you mean {close[0]}?" if close else f"There are {', '.join(STATUSES)}."
        raise InvalidOption("There is no such status", seen=shown(status), do=do)
    return word


def read_since(text: str) -> int:
    """A duration ago, or a date and time; without a zone that of whoever asks."""
    with suppress(ValueError, OverflowError):
        return int(datetime.fromisoformat(text.strip()).timestamp() * 1000)
    try:
        return now_ms() - to_ms(text, name="--since")
    except InvalidOption:
        raise InvalidOption(
            "--since is neither a duration nor a date", seen=shown(text), do='Write "2h", "3d" or "2027-01-31T09:00".'
        ) from None


def is_empty(wanted: Filter) -> bool:
    """Whether nothing was said that narrows it down."""
    return wanted == views.Filter()
