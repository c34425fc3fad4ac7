"""Whether the asyncio tasks of an attempt can go on by themselves.

    quiet      none of them is about to run: a result may be handed out, and the next one when all is quiet again
    waiting    all of them wait for durable operations, or for tasks that do: the run may give up its slot

What a task waits for is read from the task itself. Anything that is not known to be durable, a socket, a lock, an
``asyncio.sleep``, keeps the slot.
"""

from __future__ import annotations

import asyncio
import asyncio.taskgroups
import sys
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

Task = asyncio.Task[Any]


class Wait(asyncio.Future[Any]):
    """What an operation waits for."""


def quiet(tasks: Iterable[Task]) -> bool:
    """Whether each of these waits for something that has not come. One that is done and still among them has not been
    heard of: who waits for it is about to go on."""
    return all(awaited(task) is not None and not awaited(task).done() for task in tasks)


def waiting(tasks: Collection[Task]) -> bool:
    """Whether each of these waits for a durable operation, or for others of them."""
    return all(blocked(task, tasks) for task in tasks)


def awaited(task: Task) -> Any:
    return getattr(task, "_fut_waiter", None)


def blocked(task: Task, tasks: Collection[Task]) -> bool:
    waiter = awaited(task)
    if waiter is None or waiter.done():
        return False
    if durable(waiter, tasks):
        return True
    children = getattr(waiter, "_children", None) or waited_for(task)  # of a gather, or of what else waits for several
    return bool(children) and all(child.done() or durable(child, tasks) for child in children)


def durable(future: Any, tasks: Collection[Task]) -> bool:
    return isinstance(future, Wait) or future in tasks


# What waits for tasks inside asyncio, by file and function, and the variable that holds them.
PLACES: Final[dict[tuple[str, str], Callable[[dict[str, Any]], Any]]] = {
    (asyncio.tasks.__file__, "_wait"): lambda variables: variables["fs"],
    (asyncio.tasks.__file__, "wait_for"): lambda variables: [variables["fut"]],
    (asyncio.tasks.__file__, "_wait_for_one"): lambda variables: as_completed(variables),
    (asyncio.taskgroups.__file__, "__aexit__"): lambda variables: variables["self"]._tasks,
    (asyncio.taskgroups.__file__, "_aexit"): lambda variables: variables["self"]._tasks,
}


def as_completed(variables: dict[str, Any]) -> Any:
    return variables["todo"] if "todo" in variables else variables["self"]._todo


def given_to_as_completed() -> Any:
    """What ``asyncio.as_completed`` was given, if it is what starts a task here; None if it is not. It starts
    coroutines in the order of a set."""
    frame: Any = sys._getframe(2)
    for _ in range(8):
        if frame is None:
            return None
        code = frame.f_code
        if code.co_filename == asyncio.tasks.__file__ and code.co_name in ("as_completed", "__init__"):
            return frame.f_locals.get("fs", frame.f_locals.get("aws"))
        frame = frame.f_back
    return None


def waited_for(task: Task) -> list[Any]:
    """The futures that a task waits for in one of asyncio's own functions; none if it is not in one."""
    inner: Any = task.get_coro()
    while inner is not None:
        frame = getattr(inner, "cr_frame", None)
        if frame is not None:
            look = PLACES.get((frame.f_code.co_filename, frame.f_code.co_name))
            if look is not None:
                try:
                    return list(look(frame.f_locals))
                except (AttributeError, KeyError, TypeError):  # another version of asyncio: it keeps its slot
                    return []
        inner = getattr(inner, "cr_await", None)
    return []
