"""docs/progress.md: its Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from holdfast import Progress

PAGE = (Path(__file__).parents[2] / "docs" / "progress.md").read_text(encoding="utf-8")


async def test_the_page() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    exec(
        "\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)).replace("Holdfast()", 'Holdfast(":memory:")'),
        names,
    )
    app = names["app"]
    async with app.running():
        scanned = await names["scan"].atrigger(["a", "b"])
        assert await scanned.aresult(timeout=20) == 2
        assert (await scanned.aretrieve()).progress == Progress(0.9, 1, "writing the index")
        assert await names["show"]("?") == "Kelp holds on."
        handle = await names["album"].atrigger(["a", "b", "c"])
        await handle.aresult(timeout=20)
        for child in await app.runs.alist(task="resize"):
            await app.handle(child.id).aresult(timeout=20)
        metadata = (await handle.aretrieve()).metadata
        assert (metadata["title"], metadata["resized"], sorted(metadata["names"])) == ("Kelp", 3, ["a", "b", "c"])
