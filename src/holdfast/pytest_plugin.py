"""What pytest gets from an installed Holdfast: two fixtures, and words for failed assertions.

    def test_welcome(holdfast_jobs):                 `app.testing()` of your app
        run = holdfast_jobs.run(greet, "Ada")
        assert run.output == "Hello, Ada!"

    holdfast_app      the app under test, found as the command line finds it (HOLDFAST_APP, pyproject.toml, tasks.py);
                      with several, or another one, define a fixture of this name in conftest.py

Nothing of Holdfast is imported before a test asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdfast.app import Holdfast
    from holdfast.testing import Jobs


@pytest.fixture(scope="session")
def holdfast_app(request: pytest.FixtureRequest) -> Holdfast:
    """The Holdfast app under test. Override it to say which one."""
    from holdfast.discovery import find_app

    return find_app(folder=request.config.rootpath).app


@pytest.fixture
def holdfast_jobs(holdfast_app: Holdfast) -> Iterator[Jobs]:
    """The app in memory, for one test: see `holdfast.testing.Jobs`."""
    with holdfast_app.testing() as jobs:
        yield jobs


def pytest_assertrepr_compare(op: str, left: Any, right: Any) -> list[str] | None:
    """Where `jobs.payloads` is not what was expected: what was triggered instead."""
    found = next((each for each in (left, right) if type(each).__module__ == "holdfast.testing.told"), None)
    if found is None or op != "==":
        return None
    from holdfast.testing.told import instead

    return [f"{left!r} == {right!r}", "", *instead(found)]
