"""Environment variables of workers, as the official package keeps them."""

from __future__ import annotations

import pytest

from holdfast import Holdfast
from holdfast.engine import audit, variables
from tests.api.trigger_dev.conftest import Making


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # what differs is tried elsewhere
async def test_variables_are_kept_and_secrets_not_shown(database_url: str, official: Making) -> None:
    app = Holdfast(database_url)
    there = await official(app)
    said = await there.does("variables")
    assert said["made"] == [{"success": True}] * 2
    assert (said["again"], said["other"]["status"]) == ({"success": True}, 422)
    greeting = {"name": "GREETING", "value": "Servus", "isSecret": False}
    secret = {"name": "TOKEN", "value": "**********", "isSecret": True}
    assert (said["first"], said["kept"]) == ([greeting, secret], greeting)
    c = {"name": "C", "value": "c", "isSecret": False}
    assert said["last"] == [c, {**greeting, "value": "Ahoy"}, secret]
    assert said["refused"] == [404, 404, 404, 422, 422, 422, 422]
    assert await app.client.aread(variables.values) == {"C": "c", "GREETING": "Ahoy", "TOKEN": "hunter3"}
    noted = await app.client.aread(audit.page)
    assert noted[0][4:6] == ("variables remove", "B")
    assert "hunter" not in str(noted)
