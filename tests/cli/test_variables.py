"""``holdfast variables``: kept, shown without secrets, and noted without values."""

from __future__ import annotations

import pytest

from holdfast.engine import variables
from holdfast.storage import Store
from tests.cli.conftest import Cli


def test_variables_are_set_listed_and_removed(cli: Cli, store: Store) -> None:
    assert "No variables" in cli("variables", "list").err
    assert "next start" in cli("variables", "set", "REGION", "eu").err
    assert cli("variables", "set", "PASSWORD", "hunter2", "--secret", "--json").json["secret"] is True
    cli("variables", "set", "PASSWORD", "hunter3")
    assert store.read_sync(variables.values) == {"REGION": "eu", "PASSWORD": "hunter3"}
    listed = cli("variables", "list", "--json").json["variables"]
    assert [(each["name"], each["secret"]) for each in listed] == [("PASSWORD", True), ("REGION", False)]
    assert listed[1]["value"] == "eu"
    assert "hunter" not in str(listed) + cli("variables", "list").out
    assert cli("variables", "remove", "REGION").code == 0
    assert cli("variables", "remove", "REGION").code == 2
    changes = [(each["verb"], each["subject"]) for each in cli("audit", "--json").json["changes"]]
    assert changes[0] == ("variables remove", "REGION")
    assert changes.count(("variables set", "PASSWORD")) == 2
    assert "hunter" not in str(changes)


def test_a_value_may_come_from_stdin(cli: Cli, store: Store) -> None:
    answer = cli("variables", "set", "TOKEN", "-", text="from a pipe\n")
    assert answer.code == 0
    assert store.read_sync(variables.values) == {"TOKEN": "from a pipe"}


@pytest.mark.parametrize(
    ("name", "value"), [("A-B", "x"), ("", "x"), ("HOLDFAST_API_KEY", "x"), ("LD_PRELOAD", "x"), ("A", "x" * 40_000)]
)
def test_what_no_worker_can_be_given_is_refused(cli: Cli, store: Store, name: str, value: str) -> None:
    answer = cli("variables", "set", name, value)
    assert (answer.code, store.read_sync(variables.values)) == (2, {})
    assert "x" * 100 not in answer.err
