"""dramatiq with Redis. There is no bulk call: a ``group`` is the shape its documentation has for many."""

from __future__ import annotations

from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from workload import URL, Jobs, stamp

dramatiq.set_broker(RedisBroker(url=URL))


@dramatiq.actor
def noop(n: int) -> None:
    stamp(n)


class DramatiqJobs(Jobs):
    def one(self, n: int) -> None:
        noop.send(n=n)

    def many(self, numbers: Sequence[int]) -> None:
        dramatiq.group([noop.message(n=n) for n in numbers]).run()


jobs = DramatiqJobs()
