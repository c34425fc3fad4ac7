"""``empty_url``: a database with nothing in it, of the same kind as the test's ``database_url``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migrations.catalogue import kind_of


@pytest.fixture
def empty_url(request: pytest.FixtureRequest, database_url: str, tmp_path: Path) -> str:
    if kind_of(database_url) == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    return str(request.getfixturevalue("empty_postgres"))
