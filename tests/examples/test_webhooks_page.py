"""docs/webhooks.md: its Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from holdfast import Webhook

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_the_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_DATABASE_URL", str(tmp_path / "holdfast.db"))
    monkeypatch.setenv("STRIPE_SECRET", "whsec_anything")
    monkeypatch.setenv("GITHUB_SECRET", "another thing")
    monkeypatch.setenv("SHOP_TOKEN", "a token")
    names: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(block, "docs/webhooks.md", "exec", dont_inherit=True), names)
    app = names["app"]
    assert set(app.webhooks) == {"/stripe", "/github", "/shop"}
    with app.testing() as jobs:
        assert jobs.run(names["stripe"], Webhook(names["Event"](id="evt_1", type="paid"))).output == "paid"
    app.close()
