"""Queues as code declares them.

A queue is a name that runs stand in line under, and its limits: how many of its runs may be executing at once, how many
of those may have the same ``concurrency_key``, and how often runs of either may start. It is a plain value; one that is
declared at module level and given to several tasks is shared by them. A task that names none has one of its own, called
``task/<id>``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.counts import checked_count
from holdfast.errors import InvalidOption, shown
from holdfast.names import checked_name
from holdfast.rate import Rate, read_rate
from holdfast.records import QueueEntry

__all__ = ["Queue", "own_queue", "queue_of"]


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue, how many of its runs may be executing at once, and how many may start in a time.

    ``concurrency_limit`` counts all runs of the queue, ``concurrency_limit_per_key`` those that were triggered with the
    same ``concurrency_key``. ``rate_limit`` and ``rate_limit_per_key`` count starts of attempts in any window of the
    time they name: ``"100/m"``, ``"10/s"``, ``"5/30s"``. ``None`` means no limit.

    Raises:
        InvalidOption: the name cannot be a name, a limit is not a whole number of at least 1, a rate is not a rate.

    >>> orders = Queue("orders", concurrency_limit=50, concurrency_limit_per_key=2)
    >>> mail = Queue("mail", rate_limit="100/m", rate_limit_per_key="10/s")
    """

    name: str
    concurrency_limit: int | None = field(default=None, kw_only=True)
    concurrency_limit_per_key: int | None = field(default=None, kw_only=True)
    rate_limit: str | None = field(default=None, kw_only=True)
    rate_limit_per_key: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        checked_name(self.name, option="The name of a queue")
        _check_limit(self.concurrency_limit, "concurrency_limit")
        _check_limit(self.concurrency_limit_per_key, "concurrency_limit_per_key")
        self.entry()  # which reads the rates

    def entry(self) -> QueueEntry:
        """This queue as the engine knows it."""
        rate, rate_ms = _rate(self.rate_limit, "rate_limit")
        rate_per_key, rate_per_key_ms = _rate(self.rate_limit_per_key, "rate_limit_per_key")
        return QueueEntry(
            name=self.name,
            concurrency_limit=self.concurrency_limit,
            concurrency_limit_per_key=self.concurrency_limit_per_key,
            rate=rate,
            rate_ms=rate_ms,
            rate_per_key=rate_per_key,
            rate_per_key_ms=rate_per_key_ms,
        )


def own_queue(task_id: str) -> str:
    """The name of the queue of a task that names none."""
    return f"task/{task_id}"


def queue_of(value: object) -> Queue:
    """What was given as ``queue=``: a Queue as it is, a name as a queue without limits of its own.

    Raises:
        InvalidOption: it is neither.
    """
    if isinstance(value, Queue):
        return value
    if isinstance(value, str):
        return Queue(value)
    raise InvalidOption(
        "queue is neither a Queue nor a name", seen=shown(value), do='Write Queue("orders") or "orders".'
    )


def _rate(rate: str | None, option: str) -> Rate | tuple[None, None]:
    return (None, None) if rate is None else read_rate(rate, name=option)


def _check_limit(limit: object, option: str) -> None:
    if limit is not None:
        checked_count(limit, option=option, do="Leave it out for no limit; to stop a queue, pause it.")
