"""Traces: what a run is part of, said by whoever triggers it, and told to whoever carries it out.

A trace is the two headers of W3C Trace Context. It is stored with the run, so that it reaches an attempt in another
process, days later. Nothing here knows OpenTelemetry: `holdfast.contrib.opentelemetry` says what the present trace is
(`sources`) and makes spans of requests that were sent (`observers`); a server takes the trace of a call from its
headers, and a pusher gives it on, with or without that.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from holdfast import jsontext
from holdfast.records import NewRun

__all__ = ["Trace", "carried", "observe", "observers", "read_trace", "sources", "stamp", "trace_of"]

Trace = Mapping[str, str]

KEY: Final = "trace"
PARENT: Final = "traceparent"
STATE: Final = "tracestate"
VALID: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
STATE_LENGTH: Final = 512

carried: Final[ContextVar[Trace | None]] = ContextVar("holdfast_trace", default=None)
sources: Final[list[Callable[[], Trace | None]]] = []
observers: Final[list[Callable[..., None]]] = []


def current() -> Trace | None:
    """The trace that what is triggered here belongs to."""
    return next((found for source in sources if (found := source())), carried.get())


def stamp(runs: Iterable[NewRun]) -> None:
    """Store the present trace with new runs. What they say of one already stays."""
    if (trace := current()) is None:
        return
    for run in runs:
        said: dict[str, Any] = jsontext.decode(run.options) if run.options else {}
        if KEY not in said:
            run.options = jsontext.encode({**said, KEY: dict(trace)})


def trace_of(options: str | None) -> Trace | None:
    """The trace that is stored with a run."""
    if options is None or f'"{KEY}"' not in options:
        return None
    said = jsontext.decode(options).get(KEY)
    return read_trace(said) if isinstance(said, Mapping) else None


def read_trace(headers: Mapping[str, Any]) -> Trace | None:
    """The trace in these headers, if there is one that is valid."""
    parent, state = headers.get(PARENT), headers.get(STATE)
    if not isinstance(parent, str) or not VALID.fullmatch(parent):
        return None
    if isinstance(state, str) and 0 < len(state) <= STATE_LENGTH and state.isascii() and state.isprintable():
        return {PARENT: parent, STATE: state}
    return {PARENT: parent}


def observe(*facts: Any) -> None:
    """Tell those who make spans of requests. What goes wrong there is not the request's affair."""
    for tell in observers:
        with contextlib.suppress(Exception):
            tell(*facts)
