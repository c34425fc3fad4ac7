"""docs/durable.md: its Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "durable.md").read_text(encoding="utf-8")


def test_the_page() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)).replace("Holdfast()", 'Holdfast(":memory:")')
    exec(compile(code, "durable.md", "exec", dont_inherit=True), names)
    app, user = names["app"], names["User"](1, "ada@example.com")
    with app.testing() as jobs:
        run = jobs.run(names["onboard"], user)
        assert run.status == "waiting"
        jobs.advance("3d")
        assert run.output == "nudged"
        assert names["told"](run.id) == ["send_welcome done", "sleep done", "has_logged_in done", "send_nudge done"]
        again = app.handle(names["again"](run.id))
        jobs.work()
        assert again.retrieve().output == "nudged"
        assert jobs.run(names["checkout"], 7).output == "paid 7"
        approved, late = jobs.run(names["publish"], "home"), jobs.run(names["publish"], "shop")
        (token,) = [entry.token_id for entry in app.runs.retrieve(approved.id).journal if entry.kind == "token"]
        assert app.tokens.complete(token, {"by": "Ada"}) == "completed"
        jobs.advance("2d")
        assert (approved.output, late.output) == ("approved by Ada", "nobody has approved")
        assert jobs.run(names["album"], ["a", "bb"]).output == 8
        both = jobs.run(names["both"], user)
        jobs.advance("2d")
        assert both.output == ["nudge ada@example.com"] * 2
