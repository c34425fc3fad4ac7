"""Blueprints: a library's tasks, and the app that takes them in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast import Blueprint, DuplicateTask, Holdfast, InvalidOption, InvalidTask, NotBound, Queue, Retry, Webhook

WEBHOOK = """
@billing.webhook("/stripe", verify=lambda request: True)
def paid(hook: Webhook[str]) -> str: return hook.body
"""
LIBRARY = "@billing.task\ndef invoice(number: int) -> str: return str(number)"


def app(**options: Any) -> Holdfast:
    return Holdfast(":memory:", **options)


def library(text: str = LIBRARY, blueprint: Blueprint | None = None, file: str = "billing.py") -> Any:
    """Run a library's text, as an import would."""
    names = {
        "billing": blueprint or Blueprint(),
        "Queue": Queue,
        "Retry": Retry,
        "Webhook": Webhook,
        "__name__": file[:-3],
    }
    exec(compile(text, file, "exec"), names)
    return SimpleNamespace(**names)


def test_before_it_is_included_a_task_is_a_function_and_says_what_it_lacks() -> None:
    invoice = library().invoice
    assert invoice(7) == "7"
    for verb in (lambda: invoice.trigger(7), lambda: invoice.item(7), lambda: invoice.handle("r1")):
        with pytest.raises(NotBound, match=r"Task invoice belongs to no app yet \(billing\.py:1\).*app\.include"):
            verb()


def test_include_gives_the_tasks_a_home_and_a_prefix() -> None:
    shop, lib = app(retry=Retry(max_attempts=9)), library()
    shop.include(lib.billing, prefix="billing.")
    assert dict(shop.tasks) == {"billing.invoice": lib.invoice}
    assert (lib.invoice.id, lib.invoice.queue) == ("billing.invoice", Queue("task/billing.invoice"))
    assert lib.invoice.item(7).target.task == "billing.invoice"
    assert lib.invoice.entry().id == "billing.invoice"
    assert lib.invoice.governing(None).max_attempts == 9


def test_a_queue_that_was_named_keeps_its_name() -> None:
    shop = app()
    lib = library("@billing.task(queue=Queue('mail', concurrency_limit=2))\ndef send(to: str) -> None: ...")
    shop.include(lib.billing, prefix="billing.")
    assert lib.send.queue == Queue("mail", concurrency_limit=2)


def test_what_is_defined_later_is_taken_in_too() -> None:
    shop, billing = app(), Blueprint()
    shop.include(billing, prefix="b.")
    lib = library(blueprint=billing)
    assert dict(shop.tasks) == {"b.invoice": lib.invoice}
    assert dict(billing.tasks) == {"invoice": lib.invoice}


def test_including_it_again_changes_nothing() -> None:
    shop, lib = app(), library()
    for _ in range(2):
        shop.include(lib.billing, prefix="b.")
    assert list(shop.tasks) == ["b.invoice"]


def test_a_module_that_is_reloaded_defines_its_tasks_anew() -> None:
    shop, billing = app(), Blueprint()
    shop.include(billing, prefix="b.")
    first, again = library(blueprint=billing).invoice, library(blueprint=billing).invoice
    assert shop.tasks["b.invoice"] is again is not first


def test_one_blueprint_in_two_apps_is_refused() -> None:
    shop, other, lib = app(), app(), library()
    shop.include(lib.billing)
    with pytest.raises(InvalidOption, match=r"belongs to another app \(its tasks: invoice\).*in a function"):
        other.include(lib.billing)
    assert not other.tasks


def test_another_prefix_for_the_same_app_is_refused() -> None:
    shop, lib = app(), library()
    shop.include(lib.billing, prefix="a.")
    with pytest.raises(InvalidOption, match=r"another prefix \('a\.', now 'b\.'\)"):
        shop.include(lib.billing, prefix="b.")


def test_two_tasks_with_one_id_are_refused_with_both_places_and_none_is_taken_in() -> None:
    shop = app()
    shop.include(library().billing)
    second = library(f"@billing.task\ndef mail() -> None: ...\n{LIBRARY}", file="other.py")
    with pytest.raises(DuplicateTask, match=r"id invoice \(billing\.py:1 and other\.py:3\).*prefix"):
        shop.include(second.billing)
    assert list(shop.tasks) == ["invoice"]
    assert not other_home(second.mail)
    shop.include(second.billing, prefix="other.")
    assert list(shop.tasks) == ["invoice", "other.mail", "other.invoice"]


def other_home(task: Any) -> bool:
    try:
        task.handle("r1")
    except NotBound:
        return False
    return True


def test_two_tasks_of_one_blueprint_cannot_have_one_id_either() -> None:
    with pytest.raises(DuplicateTask, match=r"billing\.py:1 and billing\.py:4"):
        library(f"{LIBRARY}\n\n{LIBRARY}")


def test_a_queue_with_other_limits_is_refused_and_nothing_is_taken_in() -> None:
    shop = app()
    shop.task(id="a", queue=Queue("mail", concurrency_limit=1))(lambda: None)
    lib = library(f"{LIBRARY}\n@billing.task(queue=Queue('mail', concurrency_limit=2))\ndef send(to: str) -> None: ...")
    with pytest.raises(InvalidOption, match="The queue mail is declared twice"):
        shop.include(lib.billing)
    assert list(shop.tasks) == ["a"]


@pytest.mark.parametrize("first", [True, False], ids=["included first", "included last"])
def test_requests_come_in_for_a_library_too(first: bool) -> None:
    shop, billing = app(), Blueprint()
    if first:
        shop.include(billing, prefix="billing.")
    paid = library(WEBHOOK, billing).paid
    shop.include(billing, prefix="billing.")
    assert dict(shop.webhooks) == {"/stripe": paid.webhook}
    assert paid.entry().webhook == "/stripe"
    with shop.testing() as jobs:
        assert jobs.run(paid, Webhook("evt_1")).output == "evt_1"
        assert jobs.run(paid, Webhook("evt_1")).task == "billing.paid"


def test_two_tasks_cannot_have_one_path_and_none_of_a_library_is_taken_in() -> None:
    shop = app()
    shop.include(library(WEBHOOK).billing)
    second = library(f"{LIBRARY}\n{WEBHOOK}".replace("paid", "settled"), file="other.py")
    with pytest.raises(DuplicateTask, match=r"webhook /stripe \(billing\.py:2 and other\.py:4\).*another path"):
        shop.include(second.billing, prefix="other.")
    assert list(shop.tasks) == ["paid"]
    with pytest.raises(DuplicateTask, match="Two tasks have the webhook /stripe"):
        shop.webhook("/stripe", verify=lambda request: True, id="another")(lambda: None)
    with pytest.raises(DuplicateTask, match="Two tasks have the webhook /stripe"):
        library(WEBHOOK.replace("paid", "settled"), blueprint=library(WEBHOOK).billing)


def test_a_path_that_is_changed_in_a_reloaded_module_takes_no_requests_any_more() -> None:
    shop, billing = app(), Blueprint()
    shop.include(billing, prefix="b.")
    library(WEBHOOK, billing)
    again = library(WEBHOOK.replace("/stripe", "/paid"), billing).paid
    assert dict(shop.webhooks) == {"/paid": again.webhook}


def test_what_takes_no_requests_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidTask, match="has a webhook, and takes something else"):
        library(WEBHOOK.replace("Webhook[str]", "int"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("billing",), "This is not a Blueprint"),
        ((app(),), "This is not a Blueprint"),
    ],
)
def test_what_is_no_blueprint_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        app().include(*arguments)


@pytest.mark.parametrize("prefix", [None, 5, "line\nbreak", " ", "x" * 125])
def test_a_prefix_that_makes_no_id_is_refused_before_anything_changes(prefix: Any) -> None:
    shop, lib = app(), library()
    with pytest.raises(InvalidOption):
        shop.include(lib.billing, prefix=prefix)
    assert not shop.tasks
    assert lib.invoice.id == "invoice"
