"""Finding the app, as people write it down."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.discovery import Found, find_app
from holdfast.errors import AppNotFound, DuplicateTask

APP = "from holdfast import Holdfast\napp = Holdfast(':memory:')\n"
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _fresh_imports() -> Iterator[None]:
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str = APP) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


def find(folder: Path, argument: str | None = None, **environ: str) -> Found:
    return find_app(argument, folder=folder, environ=environ)


# -- where ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "argument", "name"),
    [
        ("tasks.py", "tasks.py", "tasks:app"),
        ("tasks.py", "./tasks.py", "tasks:app"),
        ("tasks.py", "tasks", "tasks:app"),
        ("tasks.py", "tasks:app", "tasks:app"),
        ("tasks.py", "tasks.py:app", "tasks:app"),
        ("folder/jobs.py", "folder/jobs.py", "jobs:app"),
        ("shop/jobs.py", "shop/jobs.py", "shop.jobs:app"),
        ("shop/jobs.py", "shop.jobs", "shop.jobs:app"),
        ("shop/jobs.py", "shop.jobs:app", "shop.jobs:app"),
        ("src/shop/jobs.py", "src/shop/jobs.py", "shop.jobs:app"),
        ("src/shop/jobs.py", "shop.jobs", "shop.jobs:app"),
        ("shop/deep/jobs.py", "shop/deep/jobs.py", "shop.deep.jobs:app"),
    ],
)
def test_an_argument(write: Write, tmp_path: Path, file: str, argument: str, name: str) -> None:
    write(file)
    for package in ("shop", "shop/deep", "src/shop"):
        if (tmp_path / package).is_dir():
            write(f"{package}/__init__.py", "")
    found = find(tmp_path, argument)
    assert (found.name, found.source) == (name, "argument")


def test_a_package_has_its_app_in_init(write: Write, tmp_path: Path) -> None:
    write("shop/__init__.py")
    assert find(tmp_path, "shop").name == "shop:app"
    assert find(tmp_path, "shop/").name == "shop:app"
    assert find(tmp_path, str(tmp_path / "shop" / "__init__.py")).name == "shop:app"


def test_the_environment(write: Write, tmp_path: Path) -> None:
    write("jobs.py")
    write("tasks.py")
    found = find(tmp_path, HOLDFAST_APP="jobs:app")
    assert (found.name, found.source) == ("jobs:app", "HOLDFAST_APP")
    assert find(tmp_path, "tasks.py", HOLDFAST_APP="jobs:app").name == "tasks:app"


def test_pyproject(write: Write, tmp_path: Path) -> None:
    write("jobs.py")
    write("tasks.py")
    file = write("pyproject.toml", '[tool.holdfast]\napp = "jobs.py"\n')
    write("deep/down/x.txt", "")
    found = find(tmp_path / "deep" / "down")
    assert (found.name, found.source) == ("jobs:app", str(file))


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("tasks.py", "app.py", "main.py"), "tasks:app"),
        (("app.py", "main.py"), "app:app"),
        (("main.py",), "main:app"),
    ],
)
def test_the_usual_files(write: Write, tmp_path: Path, files: tuple[str, ...], name: str) -> None:
    for file in files:
        write(file)
    assert find(tmp_path).name == name


def test_the_usual_files_of_the_project(write: Write, tmp_path: Path) -> None:
    write("tasks.py")
    write("pyproject.toml", "")
    write("deep/x.txt", "")
    assert find(tmp_path / "deep").name == "tasks:app"


# -- which ------------------------------------------------------------------------------------------------------------


def test_any_name_will_do_if_there_is_one(write: Write, tmp_path: Path) -> None:
    write("tasks.py", "from holdfast import Holdfast\njobs = Holdfast(':memory:')\nsame = jobs\n")
    assert find(tmp_path).name == "tasks:jobs"


def test_a_name_that_is_not_there_is_told_which_there_are(write: Write, tmp_path: Path) -> None:
    write("tasks.py", APP + "other = Holdfast()\nnumber = 5\n")
    with pytest.raises(
        AppNotFound, match=r"no nope in this module \(tasks, from .*\)\. There is tasks:app, tasks:other"
    ):
        find_app("tasks.py:nope", folder=tmp_path, environ={})
    with pytest.raises(AppNotFound, match=r"number is no Holdfast app .*There is tasks:app"):
        find_app("tasks.py:number", folder=tmp_path, environ={})


def test_several_are_named(write: Write, tmp_path: Path) -> None:
    write("tasks.py", "from holdfast import Holdfast\na = Holdfast()\nb = Holdfast()\n")
    with pytest.raises(AppNotFound, match=r"several Holdfast apps.*tasks:a, tasks:b"):
        find(tmp_path)
    assert find(tmp_path, "tasks:b").name == "tasks:b"


def test_an_attribute_of_an_attribute(write: Write, tmp_path: Path) -> None:
    write("tasks.py", f"{APP}class shop:\n  jobs = Holdfast(':memory:')\n")
    assert find(tmp_path, "tasks:shop.jobs").name == "tasks:shop.jobs"


# -- once -------------------------------------------------------------------------------------------------------------


def test_a_file_is_never_imported_twice(write: Write, tmp_path: Path) -> None:
    write("shop/__init__.py", "")
    write("shop/jobs.py")
    first = find(tmp_path, "shop.jobs").app
    assert find(tmp_path, "shop/jobs.py").app is first
    assert find(tmp_path / "shop", "jobs.py").app is first
    assert find(tmp_path / "shop", "jobs").app is first


def test_a_file_that_runs_as_the_main_module_is_taken_as_it_is(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write("tasks.py")
    main = type(sys)("__main__")
    main.__file__ = str(file)
    exec(APP, main.__dict__)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert find(tmp_path, "tasks.py").app is main.app
    assert find(tmp_path, "tasks:app").app is main.app


def test_another_module_of_the_same_name_is_not_taken_for_it(write: Write, tmp_path: Path) -> None:
    write("one/jobs.py")
    write("two/jobs.py")
    find(tmp_path, "one/jobs.py")
    with pytest.raises(AppNotFound, match="The module jobs is another file"):
        find(tmp_path, "two/jobs.py")


def test_further_modules_are_imported(write: Write, tmp_path: Path) -> None:
    write("shop/__init__.py", "")
    write("shop/jobs.py", "from holdfast import Holdfast\napp = Holdfast(':memory:', imports=['shop.mail'])\n")
    write("shop/mail.py", "from shop.jobs import app\n@app.task\ndef send(to: str) -> None: ...\n")
    app = find(tmp_path, "shop.jobs").app
    assert list(app.tasks) == ["send"]
    assert list(find(tmp_path, "shop.jobs").app.tasks) == ["send"]


def test_two_tasks_with_one_id_name_both_places(write: Write, tmp_path: Path) -> None:
    write("jobs.py", "from holdfast import Holdfast\napp = Holdfast(':memory:', imports=['one', 'two'])\n")
    for name in ("one", "two"):
        write(f"{name}.py", "from jobs import app\n@app.task\ndef send(to: str) -> None: ...\n")
    with pytest.raises(DuplicateTask, match=r"one\.py:2 and .*two\.py:2"):
        find(tmp_path, "jobs")


# -- not found --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (None, r"no argument, no HOLDFAST_APP, no \[tool.holdfast\] app; no tasks.py, app.py, main.py in"),
        ("nowhere.py", "There is no such file .*nowhere.py, from argument"),
        ("nowhere", "There is no such module .*nowhere, from argument"),
        ("nowhere.at.all:app", "There is no such module"),
        ("empty.nowhere", "There is no such module"),
        ("what is this?", "neither a file nor a module"),
        ("empty", r"no Holdfast app in this module.*Write app = Holdfast\(\)"),
        ("empty:app", r"no app in this module \(empty, from argument\)\. Write app = Holdfast\(\)"),
        ("empty:x", "x is no Holdfast app .*5"),
    ],
)
def test_not_found_says_what_was_tried(write: Write, tmp_path: Path, argument: str | None, message: str) -> None:
    write("empty.py", "x = 5\n")
    with pytest.raises(AppNotFound, match=message):
        find(tmp_path, argument)


@pytest.mark.parametrize("text", ["[tool.holdfast]\napp = 5\n", "[tool.holdfast\n"])
def test_a_pyproject_that_cannot_be_used(write: Write, tmp_path: Path, text: str) -> None:
    write("pyproject.toml", text)
    with pytest.raises(AppNotFound, match=r"pyproject\.toml"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [("import nowhere_at_all\n", ModuleNotFoundError), ("1 / 0\n", ZeroDivisionError), ("x = (\n", SyntaxError)],
)
@pytest.mark.parametrize("argument", ["tasks.py", "tasks", "shop.jobs"])
def test_an_error_in_the_app_is_the_apps(
    write: Write, tmp_path: Path, argument: str, text: str, error: type[Exception]
) -> None:
    write("tasks.py", text)
    write("shop/__init__.py", text)
    write("shop/jobs.py")
    with pytest.raises(error):
        find(tmp_path, argument)
