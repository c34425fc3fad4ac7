"""Pages of docs/ whose Python is one program, from the first block to the last: it runs as it stands there."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast import errors
from holdfast.cli import main
from holdfast.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "holdfast.db"))


def program(page: str) -> dict[str, Any]:
    """What the Python of a page defines."""
    names: dict[str, Any] = {"__name__": page}
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, f"docs/{page}.md", "exec", dont_inherit=True), names)
    return names


def test_hooks() -> None:
    page = program("hooks")
    order, fulfill = page["Order"], page["fulfill"]
    with page["app"].testing() as jobs:
        failed = jobs.run(fulfill, order(number=-1, email="ada@example.com"))
        assert failed.logs[-1].message == "write to ada@example.com: there is no such order"
        timed, noted = (line.message for line in jobs.run(fulfill, order(number=7, email="")).logs)
    assert timed.startswith("fulfill took 0.")
    assert noted == "fulfill: order 7 is on its way"


def test_dependencies() -> None:
    page = program("dependencies")
    with page["app"].testing() as jobs:
        assert [jobs.run(page["sell"], what).output for what in ("tea", "cake")] == [3, 5]
        assert jobs.run(page["takings"]).output == 8


def test_machines() -> None:
    page = program("machines")
    with page["app"].testing() as jobs:
        assert jobs.run(page["resize"], "large.tiff").output == "large.tiff is small now"


def test_tokens() -> None:
    page = program("tokens")
    with page["app"].testing() as jobs:
        answered, not_answered = (jobs.run(page["refund"], order) for order in (7, 8))
        (token,) = (each for each in page["app"].tokens.list(status="open") if each.run_id == answered.id)
        page["app"].tokens.complete(token.id, {"by": "Ada"})
        jobs.advance("2d")
        assert (answered.output, not_answered.output) == ("Ada", "nobody answered")


def test_secrets() -> None:
    page = program("secrets")
    with page["app"].testing() as jobs:
        run = jobs.run(page["sync_account"], page["Login"](user="ada", password="hunter2", pin=1234))
        assert [line.message for line in run.logs] == ["ada logs in with '**********'"]


def test_versions() -> None:
    assert program("versions")["app"].settings


def test_errors() -> None:
    page = program("errors")
    with page["app"].testing() as jobs:
        handle = page["divide"].trigger(0)
        jobs.advance("1h")
        with pytest.raises(holdfast.RunFailed, match="ZeroDivisionError"):
            handle.result()


def test_every_error_is_told_of() -> None:
    text = (DOCS / "errors.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", text))
    exported = {name for name in holdfast.__all__ if name in errors.__all__}
    assert exported - told - {"HoldfastError", "DatabaseError"} == set()


def test_every_setting_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its variable, its default, and whether the app can say it."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "`HOLDFAST_" in line]
    told = {name: row for row in rows for name in re.findall(r"`HOLDFAST_(\w+)`", row[0])}
    arguments = set(inspect.signature(holdfast.Holdfast).parameters)
    monkeypatch.delenv("HOLDFAST_DATABASE_URL")
    settings = Settings({}, Path("/srv/shop"), {})
    for name in settings.names:
        variable, default, argument = told["DATABASE_URL" if name == "database" else name.upper()][:3]
        assert argument == (f"`{name}`" if name in arguments else ""), variable
        value = settings.get(name).value
        if default.startswith("`") and name != "database":
            said = Settings({}, Path("/srv/shop"), {f"HOLDFAST_{name.upper()}": default.strip("`")})
            assert said.get(name).value == value, variable
        else:
            assert value is None or name == "database", variable


COMMANDS = [
    (page.name, line.strip().removeprefix("$ "))
    for page in [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
    for line in re.findall(r"^(?:\$ |# )(?:\w+=\S+ )*holdfast .*$", page.read_text(encoding="utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_the_commands_of_a_page_are_there(page: str, line: str) -> None:
    """Each subcommand and each option that a page shows is one."""
    words = shlex.split(line.partition("  #")[0].removesuffix("&").replace("…", ""), comments=True)
    words = words[words.index("holdfast") + 1 :]
    if words[0].startswith("-"):
        return
    command = main.loaded(words.pop(0))
    inner = getattr(command, "commands", {})
    if words and words[0] in inner:
        command = inner[words.pop(0)]
    options = {option for each in command.params for option in each.opts} | {"--help"}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= options
