"""How to make the same run from elsewhere: for a terminal, Python and TypeScript."""

from __future__ import annotations

import json
import shlex
from typing import NamedTuple
from urllib.parse import quote

from holdfast.dashboard.shapes import pretty
from holdfast.views import RunView


class Snippet(NamedTuple):
    """A text to copy, and what it is in."""

    name: str
    text: str


def snippets(run: RunView, base: str) -> list[Snippet]:
    """The same run once more, in each language."""
    return [
        Snippet("Command line", command(run)),
        Snippet("curl", curl(run, base)),
        Snippet("Python", f"app.trigger({run.task!r}, {python(run.payload)}{options(run)})"),
        Snippet("TypeScript", typescript(run)),
    ]


def command(run: RunView) -> str:
    said = [f"--tag={tag}" for tag in run.tags]
    if run.concurrency_key:
        said.append(f"--concurrency-key={run.concurrency_key}")
    return shlex.join(["holdfast", "trigger", run.task, packed(run.payload), *said])


def typescript(run: RunView) -> str:
    said = f", {packed(wire(run))}" if wire(run) else ""
    call = f"await tasks.trigger({json.dumps(run.task)}, {pretty(run.payload)}{said});"
    return f'import {{ tasks }} from "@trigger.dev/sdk";\n\n{call}'


def wire(run: RunView) -> dict[str, object]:
    """What its trigger said besides the payload, as the API calls it."""
    said: dict[str, object] = {"tags": run.tags, "concurrencyKey": run.concurrency_key}
    return {name: value for name, value in said.items() if value}


def curl(run: RunView, base: str) -> str:
    address = f"{base}/api/v1/tasks/{quote(run.task, safe='')}/trigger"
    said = {"options": wire(run)} if wire(run) else {}
    body = shlex.quote(packed({"payload": run.payload, **said}))
    return (
        f'curl {shlex.quote(address)} \\\n  -H "Authorization: Bearer $HOLDFAST_API_KEY" \\\n'
        f"  -H 'Content-Type: application/json' \\\n  -d {body}"
    )


def packed(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()


def python(value: object) -> str:
    return repr(value).encode("utf-8", "backslashreplace").decode()


def options(run: RunView) -> str:
    said = {"tags": run.tags, "concurrency_key": run.concurrency_key}
    return "".join(f", {name}={value!r}" for name, value in said.items() if value)
