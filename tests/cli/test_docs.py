"""docs/cli.md knows every command and every option."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.cli import main
from holdfast.views import why

TEXT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
SHARED = {"--help", "-h", "--json", "--database", "--app", "--yes", "-y", "-a"}


def commands() -> Iterator[tuple[str, Any]]:
    for name in main.COMMANDS:
        if name in ("dev", "bench"):
            continue  # they have a page of their own
        command = main.loaded(name)
        inner = getattr(command, "commands", None)
        if inner:
            yield from ((f"{name} {each}", value) for each, value in inner.items())
        else:
            yield name, command


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_is_told_of(name: str, command: Any) -> None:
    assert name.split()[-1] in TEXT
    options = {option for each in command.params for option in each.opts if option.startswith("-")}
    assert [option for option in sorted(options - SHARED) if f"{option}" not in TEXT] == []


def test_every_reason_is_told_of() -> None:
    source = Path(why.__file__).read_text("utf-8")
    codes = set(re.findall(r'code="(\w+)"', source)) | {"queue_limit", "key_limit", "queue_rate", "key_rate"}
    assert [code for code in sorted(codes) if f"`{code}`" not in TEXT] == []
