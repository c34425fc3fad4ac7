"""Testing tasks: a whole app in memory, with a clock that tests move.

def test_reminders() -> None:
    with app.testing() as jobs:                    Jobs: an own database in memory, a clock that stands still
        run = jobs.run(remind, ada)                carried out by a real worker, until nothing is due any more
        jobs.advance("3d")                         … and what becomes due until then
        assert jobs.payloads(send_mail) == [mail]

FakeContext, AsyncFakeContext      to call a task as the function it is
holdfast_jobs, holdfast_app        pytest fixtures, there once Holdfast is installed (`holdfast.pytest_plugin`)

jobs       the verbs of a test
stepping   the worker, taken from one thing that is due to the next
answers    results for code that waits, without anybody polling
told       what was triggered, in the words of a failed assertion
contexts   the fakes
"""

from __future__ import annotations

from holdfast.testing.contexts import AsyncFakeContext, FakeContext
from holdfast.testing.jobs import Jobs
from holdfast.testing.stepping import Stuck
from holdfast.testing.told import Payloads

__all__ = ["AsyncFakeContext", "FakeContext", "Jobs", "Payloads", "Stuck"]
