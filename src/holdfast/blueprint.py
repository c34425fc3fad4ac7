"""Blueprints: the tasks of a library, which has no app of its own.

    billing = Blueprint()                          in the library

    @billing.task
    def invoice(number: int) -> str: ...

    app.include(billing, prefix="billing.")        in the app: now there is a task billing.invoice

``@billing.webhook`` is there, too. A blueprint belongs to one app, since ``invoice.trigger()`` has to know which
database it goes to. What is defined in it after it was included is taken in as well, so the order of imports does not
matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

from holdfast.errors import DuplicateTask, InvalidOption, shown
from holdfast.names import ID_LENGTH, checked_name
from holdfast.options import TaskOptions
from holdfast.task import Task, TaskDecorator, TaskFactory

if TYPE_CHECKING:
    from holdfast.webhooks.endpoint import Verify

__all__ = ["Blueprint", "refuse_duplicate", "refuse_same_path"]

Take = Callable[[Task[Any, Any]], None]
Check = Callable[[Task[Any, Any], str], None]


class Blueprint:
    """Tasks without an app. ``app.include(blueprint)`` gives them one; until then they are functions that cannot be
    triggered.

    >>> billing = Blueprint()
    >>> @billing.task
    ... def invoice(number: int) -> str:
    ...     return str(number)
    >>> app.include(billing, prefix="billing.")
    >>> invoice.trigger(7)
    """

    def __init__(self) -> None:
        self._tasks: dict[str, Task[Any, Any]] = {}
        self._factory = TaskFactory(self._register)
        self._home: object | None = None
        self._prefix = ""
        self._take: Take | None = None

    @property
    def task(self) -> TaskFactory:
        """Makes a function a task, as ``app.task`` does."""
        return self._factory

    def webhook(self, path: str, /, *, verify: Verify, **options: Unpack[TaskOptions]) -> TaskDecorator:
        """Makes a function a task whose runs are requests that come in, as ``app.webhook`` does. The prefix of an app
        goes before the task's id; the path is served as it is written here.

        >>> @billing.webhook("/stripe", verify=Stripe(os.environ["STRIPE_SECRET"]))
        ... async def paid(hook: Webhook[Event]) -> None: ...
        """
        from holdfast.webhooks.endpoint import receiving  # who has no webhooks need not load it

        return receiving(path, verify, options, self._register)

    @property
    def tasks(self) -> Mapping[str, Task[Any, Any]]:
        """The tasks defined so far, by the id they have without a prefix."""
        return MappingProxyType(self._tasks)

    def _register(self, task: Task[Any, Any]) -> None:
        name = task.id
        refuse_duplicate(self._tasks.get(name), task)
        refuse_same_path(self._tasks, task, name)
        if self._take is not None:
            task.rename(_with_prefix(self._prefix, name))
            self._take(task)
        self._tasks[name] = task

    def _join(self, home: object, prefix: str, *, check: Check, take: Take) -> None:
        """Belong to ``home``, which takes each task in. ``check`` raises for one that it cannot take; then none is."""
        _check_prefix(prefix)
        if self._home is not None:
            self._refuse_another(home, prefix)
            return
        ids = {name: _with_prefix(prefix, name) for name in self._tasks}
        for name, task in self._tasks.items():
            check(task, ids[name])
        self._home, self._prefix, self._take = home, prefix, take
        for name, task in self._tasks.items():
            task.rename(ids[name])
            take(task)

    def _refuse_another(self, home: object, prefix: str) -> None:
        if self._home is not home:
            raise InvalidOption(
                "This blueprint belongs to another app",
                seen=f"its tasks: {', '.join(self._tasks) or 'none yet'}",
                do="A task has one app to be triggered in. For a second app, make the blueprint in a function "
                "and call that once for each.",
            )
        if self._prefix != prefix:
            raise InvalidOption(
                "This blueprint is included already, with another prefix",
                seen=f"{shown(self._prefix)}, now {shown(prefix)}",
                do="A task has one id. Include the blueprint once.",
            )

    def __repr__(self) -> str:
        return f"<Blueprint with {len(self._tasks)} tasks>"


def refuse_duplicate(earlier: Task[Any, Any] | None, task: Task[Any, Any], id: str | None = None) -> None:
    """Two tasks may not have one id, unless the second is the first one defined again: its module was reloaded, or a
    notebook's cell was run again. ``id`` is the one that the task is to have, if that is not its own yet.

    Raises:
        DuplicateTask: naming both places.
    """
    if earlier is not None and not _same_again(earlier, task):
        raise DuplicateTask(
            f"Two tasks have the id {id or task.id}",
            seen=f"{earlier.place} and {task.place}",
            do='Give one of them another: @app.task(id="…"), or its blueprint a prefix.',
        )


def refuse_same_path(known: Mapping[str, Task[Any, Any]], task: Task[Any, Any], id: str) -> None:
    """Two tasks may not take the requests of one path. ``id`` is the one that the task is known by among these.

    Raises:
        DuplicateTask: naming both places.
    """
    for name, earlier in known.items():
        if task.webhook and earlier.webhook and earlier.webhook.path == task.webhook.path and name != id:
            raise DuplicateTask(
                f"Two tasks have the webhook {task.webhook.path}",
                seen=f"{earlier.place} and {task.place}",
                do="Give one of them another path.",
            )


def _check_prefix(prefix: object) -> None:
    if not isinstance(prefix, str):
        raise InvalidOption("prefix is not a string", seen=shown(prefix), do='Write, say, prefix="billing.".')
    if not prefix.isprintable() or prefix != prefix.lstrip() or len(prefix) >= ID_LENGTH:
        raise InvalidOption("prefix cannot begin an id", seen=shown(prefix), do='Write, say, prefix="billing.".')


def _with_prefix(prefix: str, name: str) -> str:
    return checked_name(f"{prefix}{name}", option="The id of a task, with the prefix", length=ID_LENGTH)


def _same_again(earlier: Task[Any, Any], task: Task[Any, Any]) -> bool:
    same_name = (earlier.fn.__module__, earlier.fn.__qualname__) == (task.fn.__module__, task.fn.__qualname__)
    return same_name and (earlier.place == task.place or task.place.startswith("<") or "ipykernel" in task.place)
