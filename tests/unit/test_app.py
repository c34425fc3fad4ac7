"""The app as a registry: what it takes in, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import DuplicateTask, Holdfast, InvalidOption, Queue, Retry


def app(**options: Any) -> Holdfast:
    return Holdfast(":memory:", **options)


def define(app: Holdfast, text: str, file: str = "tasks.py", name: str = "tasks") -> Any:
    """Run a module's text, as an import would."""
    names = {"app": app, "Queue": Queue, "__name__": name}
    exec(compile(text, file, "exec"), names)
    return SimpleNamespace(**names)


GREET = "@app.task\ndef greet(name: str) -> str: return name"


def test_tasks_and_queues_are_known() -> None:
    shop = app()
    define(shop, f"{GREET}\n@app.task(queue=Queue('mail', concurrency_limit=2))\ndef send(to: str) -> None: ...")
    assert list(shop.tasks) == ["greet", "send"]
    assert dict(shop.declared_queues) == {"task/greet": Queue("task/greet"), "mail": Queue("mail", concurrency_limit=2)}
    with pytest.raises(TypeError):
        shop.tasks["x"] = None  # type: ignore[index]


def test_two_tasks_with_one_id_are_refused_with_both_places() -> None:
    shop = app()
    define(shop, GREET, "one.py", "one")
    with pytest.raises(DuplicateTask, match=r"Two tasks have the id greet \(one\.py:1 and two\.py:1\)"):
        define(shop, GREET, "two.py", "two")
    with pytest.raises(DuplicateTask, match=r"one\.py:1 and one\.py:3"):
        define(shop, f"\n\n{GREET}", "one.py", "one")
    assert shop.tasks["greet"].place == "one.py:1"


def test_a_module_that_is_reloaded_and_a_cell_that_is_run_again_define_anew() -> None:
    shop = app()
    first = define(shop, GREET, "one.py", "one").greet
    again = define(shop, GREET, "one.py", "one").greet
    assert shop.tasks["greet"] is again is not first
    cell = define(shop, f"\n{GREET}", "<ipython-input-7>", "one").greet
    assert shop.tasks["greet"] is cell


def test_the_defaults_of_the_app() -> None:
    shop = app(retry=Retry(max_attempts=9), max_duration="1m", ttl="1h")
    greet = define(shop, GREET).greet
    assert greet.governing(None).max_attempts == 9
    assert greet.rules.max_duration_ms == 60_000
    assert greet.rules.ttl_ms == 3_600_000


def test_the_defaults_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_MAX_DURATION", "5m")
    assert define(app(), GREET).greet.rules.max_duration_ms == 300_000
    assert define(app(max_duration="1m"), GREET).greet.rules.max_duration_ms == 60_000


def test_one_queue_has_one_set_of_limits() -> None:
    shop = app()
    define(shop, "@app.task(queue='mail')\ndef a() -> None: ...")
    define(shop, "@app.task(queue=Queue('mail', concurrency_limit=2))\ndef b() -> None: ...")
    define(shop, "@app.task(queue='mail')\ndef c() -> None: ...")
    assert shop.declared_queues["mail"] == Queue("mail", concurrency_limit=2)
    with pytest.raises(InvalidOption, match="The queue mail is declared twice, with different limits"):
        define(shop, "@app.task(queue=Queue('mail', concurrency_limit=3))\ndef d() -> None: ...")
    assert "d" not in shop.tasks
