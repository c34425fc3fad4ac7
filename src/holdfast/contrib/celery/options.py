"""Celery's options in Holdfast's words.

    SharedOptions    @shared_task(max_retries=5, queue="mail")    → TaskOptions, and what governs self.retry()
    ApplyOptions     send.apply_async(countdown=60, expires=300)  → TriggerOptions

An option that Holdfast cannot honour is refused where it is written, with what to write instead. One that says what is
the case anyway (``acks_late=True``) is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypedDict

from holdfast.contrib.celery.refused import AT_A_CALL, AT_A_TASK, refuse
from holdfast.duration import to_ms
from holdfast.errors import InvalidOption, shown
from holdfast.options import TaskOptions, TriggerOptions
from holdfast.queue import Queue, own_queue, queue_of
from holdfast.retry import Retry

__all__ = ["UNLIMITED", "ApplyOptions", "Said", "SharedOptions", "read_apply", "read_shared"]

UNLIMITED: Final = 1_000_000  # the most that Retry takes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_RETRIES: Final = 3
_RETRY_DELAY_S: Final = 180
_BACKOFF_MAX_S: Final = 600


class SharedOptions(TypedDict, total=False):
    """What ``@shared_task`` takes beside ``bind``. Delays and limits are seconds, or durations such as ``"5m"``.

    - ``name``: the id; default is ``module.function``.
    - ``autoretry_for``, ``dont_autoretry_for``: exceptions after which it is tried again, or is not.
    - ``max_retries``: default 3; ``None`` is for ever. ``default_retry_delay``: default 180 s.
    - ``retry_backoff``: True, or the first delay, which doubles up to ``retry_backoff_max`` (600 s);
      ``retry_jitter`` spreads it. ``retry_kwargs``: ``max_retries`` and ``countdown`` for ``autoretry_for``.
    - ``rate_limit``: ``"10/m"``, over all workers; a number is per second.
    - ``time_limit``: the run ends as ``timed_out``. ``expires``: it is not started later than that.
    - ``queue``: default is a queue of its own.
    - ``ignore_result``: what the function returns is not kept.
    - ``acks_late``, ``reject_on_worker_lost``, ``track_started``, ``serializer``, ``pydantic``: as it is anyway.
    """

    name: str
    autoretry_for: Sequence[type[BaseException]]
    dont_autoretry_for: Sequence[type[BaseException]]
    max_retries: int | None
    default_retry_delay: float
    retry_backoff: bool | float
    retry_backoff_max: float
    retry_jitter: bool
    retry_kwargs: Mapping[str, Any]
    rate_limit: str | int | None
    time_limit: float | None
    expires: float | None
    queue: Queue | str
    ignore_result: bool
    acks_late: Literal[True]
    reject_on_worker_lost: Literal[True]
    track_started: bool
    serializer: Literal["json"]
    pydantic: Literal[True]


class ApplyOptions(TypedDict, total=False):
    """What ``apply_async`` takes beside the arguments.

    - ``countdown``: seconds until it may start; ``eta``: the aware datetime from which on it may. Not both.
    - ``expires``: it is not started later than that: seconds from now, or an aware datetime.
    - ``queue``: another queue than the task's. ``time_limit``: as at the task.
    - ``retry``, ``serializer="json"``: as it is anyway.
    """

    countdown: float
    eta: datetime
    expires: float | datetime
    queue: Queue | str
    time_limit: float
    retry: bool
    serializer: Literal["json"]


# -- at the task ------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What ``@shared_task`` says: ``task`` in Holdfast's words, and what is looked at here."""

    task: TaskOptions
    max_retries: int | None
    retry_delay_ms: int
    autoretry: bool
    ignore_result: bool


def read_shared(options: Mapping[str, Any], name: str) -> Said:
    """What is said of a task whose id is ``name``.

    Raises:
        InvalidOption: an option is unknown, cannot be honoured, or has a value that cannot be used.
    """
    refuse(options, SharedOptions.__annotations__, AT_A_TASK, "@shared_task")
    given = {option: value for option, value in options.items() if value is not None}
    again = _retry_kwargs(given.get("retry_kwargs", {}))
    max_retries = _max_retries(again.get("max_retries", options.get("max_retries", _RETRIES)))
    delay_ms = to_ms(given.get("default_retry_delay", _RETRY_DELAY_S), name="default_retry_delay")
    autoretry_for = _exceptions(given, "autoretry_for")
    task: TaskOptions = {"id": name, "retry": _retry(given, autoretry_for, max_retries, again, delay_ms)}
    if (queue := _queue(given, name)) is not None:
        task["queue"] = queue
    for theirs, ours in ("time_limit", "max_duration"), ("expires", "ttl"):
        if theirs in given:
            task[ours] = _lasting(given[theirs], theirs)  # type: ignore[literal-required]
    return Said(task, max_retries, delay_ms, bool(autoretry_for), _flag(given, "ignore_result", False))


def _retry(
    given: Mapping[str, Any],
    autoretry_for: tuple[type[BaseException], ...],
    max_retries: int | None,
    again: Mapping[str, Any],
    delay_ms: int,
) -> Retry:
    attempts = UNLIMITED if max_retries is None else max_retries + 1
    never = _exceptions(given, "dont_autoretry_for")
    backoff = given.get("retry_backoff", False)
    longest_ms = to_ms(given.get("retry_backoff_max", _BACKOFF_MAX_S), name="retry_backoff_max")
    jitter = _flag(given, "retry_jitter", True)
    if not autoretry_for:
        return Retry(max_attempts=attempts, never=BaseException)  # only what raises Retry or RetryAfter
    if not backoff:
        delay = timedelta(
            milliseconds=to_ms(again["countdown"], name="countdown") if "countdown" in again else delay_ms
        )
        return Retry(attempts, factor=1, min_delay=delay, max_delay=delay, jitter=False, on=autoretry_for, never=never)
    first_ms = 1_000 if backoff is True else to_ms(backoff, name="retry_backoff")
    return Retry(
        attempts,
        factor=2,
        min_delay=timedelta(milliseconds=min(first_ms, longest_ms)),
        max_delay=timedelta(milliseconds=longest_ms),
        jitter=jitter,
        on=autoretry_for,
        never=never,
    )


def _retry_kwargs(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping) and not set(value) - {"max_retries", "countdown"}:
        return value
    raise InvalidOption(
        "retry_kwargs has more than max_retries and countdown", seen=shown(value), do="Keep only these two in it."
    )


def _max_retries(value: Any) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value < UNLIMITED):
        return value
    raise InvalidOption(
        f"max_retries is not a whole number from 0 to {UNLIMITED - 1}",
        seen=shown(value),
        do="Write, say, 3; None is for ever.",
    )


def _exceptions(given: Mapping[str, Any], option: str) -> tuple[type[BaseException], ...]:
    value = given.get(option, ())
    if isinstance(value, list | tuple) and all(
        isinstance(each, type) and issubclass(each, BaseException) for each in value
    ):
        return tuple(value)
    raise InvalidOption(
        f"{option} is not a tuple of exception classes", seen=shown(value), do=f"Write {option}=(ConnectionError,)."
    )


def _flag(given: Mapping[str, Any], option: str, default: bool) -> bool:
    value = given.get(option, default)
    if isinstance(value, bool):
        return value
    raise InvalidOption(f"{option} is neither True nor False", seen=shown(value), do=f"Write {option}=True.")


def _queue(given: Mapping[str, Any], id: str) -> Queue | None:
    queue, rate = given.get("queue"), given.get("rate_limit")
    if rate is None:
        return None if queue is None else queue_of(queue)
    if queue is not None:
        raise InvalidOption(
            "rate_limit and queue are both given, and a rate is one of the whole queue",
            seen=f"rate_limit={shown(rate)}, queue={shown(queue)}",
            do='Write queue=Queue("mail", rate_limit="10/m"), or leave the queue out.',
        )
    return Queue(own_queue(id), rate_limit=_rate(rate))


def _rate(value: Any) -> Any:
    per_second = isinstance(value, int) and not isinstance(value, bool)
    return f"{value}/s" if per_second else value  # which the queue reads


# -- at apply_async ---------------------------------------------------------------------------------------------------


def read_apply(options: Mapping[str, Any], now: Callable[[], int]) -> TriggerOptions:
    """What one call says, in Holdfast's words. ``now`` tells the time in milliseconds, and is asked only if it matters.

    Raises:
        InvalidOption: an option is unknown, cannot be honoured, cannot be used, or contradicts another.
    """
    refuse(options, ApplyOptions.__annotations__, AT_A_CALL, "apply_async")
    given = {option: value for option, value in options.items() if value is not None}
    said: TriggerOptions = {}
    if "countdown" in given and "eta" in given:
        raise InvalidOption(
            "countdown and eta are both given",
            seen=f"countdown={shown(given['countdown'])}, eta={shown(given['eta'])}",
            do="Keep one of them.",
        )
    if "countdown" in given:
        said["delay"] = timedelta(milliseconds=to_ms(given["countdown"], name="countdown"))
    if "eta" in given:
        said["scheduled_for"] = checked_moment(given["eta"], "eta")
    if "expires" in given:
        said["ttl"] = timedelta(milliseconds=_ttl_ms(given["expires"], said, now))
    if "queue" in given:
        said["queue"] = given["queue"]
    if "time_limit" in given:
        said["max_duration"] = _lasting(given["time_limit"], "time_limit")
    return said


def _ttl_ms(expires: Any, said: TriggerOptions, now: Callable[[], int]) -> int:
    """Celery counts from the call, Holdfast from when the run may start."""
    eta = said.get("scheduled_for")
    now_ms = now() if eta is not None or isinstance(expires, datetime) else 0
    if isinstance(expires, datetime):
        ends_ms = to_epoch_ms(checked_moment(expires, "expires"))
    else:
        ends_ms = now_ms + to_ms(expires, name="expires")
    starts_ms = now_ms + to_ms(said.get("delay", 0), name="countdown") if eta is None else max(now_ms, to_epoch_ms(eta))
    if ends_ms <= starts_ms:
        raise InvalidOption(
            "It would expire before it may start", seen=f"expires={shown(expires)}", do="Let it expire later."
        )
    return ends_ms - starts_ms


def _lasting(value: Any, option: str) -> timedelta:
    lasting = to_ms(value, name=option)
    if lasting == 0:
        raise InvalidOption(f"{option} is no time at all", seen=shown(value), do="Leave it out for no limit.")
    return timedelta(milliseconds=lasting)


def checked_moment(value: Any, option: str) -> datetime:
    """``value`` if it is an aware datetime. Raises InvalidOption."""
    if isinstance(value, datetime) and value.utcoffset() is not None:
        return value
    raise InvalidOption(
        f"{option} is not an aware datetime",
        seen=shown(value),
        do=f"Write {option}=datetime(2027, 1, 1, tzinfo=UTC), so that it means the same on every machine.",
    )


def to_epoch_ms(moment: datetime) -> int:
    """An aware datetime in milliseconds since 1970."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)
