"""``inside``: an app and workers for it in this process."""

from __future__ import annotations

from tests.worker.conftest import eventually_async, inside

__all__ = ["eventually_async", "inside"]
