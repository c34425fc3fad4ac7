"""The receivers of examples/receivers: each does what was signed once, and refuses what was not."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from holdfast.sign import Signer, read_secrets
from tests.push.conftest import SECRET

FOLDER = Path(__file__).parents[2] / "examples" / "receivers"
Post = Callable[[bytes, dict[str, str]], int]


class Receiving(NamedTuple):
    """A receiver: a POST to /jobs, answered with its status, and what it has done."""

    post: Post
    done: set[str]


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def fastapi(monkeypatch: pytest.MonkeyPatch) -> Receiving:
    testclient: Any = pytest.importorskip("fastapi.testclient")
    module = loaded("fastapi_app", monkeypatch)
    client = testclient.TestClient(module.app)
    return Receiving(lambda body, headers: client.post("/jobs", content=body, headers=headers).status_code, module.done)


def flask(monkeypatch: pytest.MonkeyPatch) -> Receiving:
    pytest.importorskip("flask")
    module = loaded("flask_app", monkeypatch)
    client = module.app.test_client()
    return Receiving(lambda body, headers: client.post("/jobs", data=body, headers=headers).status_code, module.done)


def django(monkeypatch: pytest.MonkeyPatch) -> Receiving:
    pytest.importorskip("django")
    module = loaded("django_app", monkeypatch)
    from django.http import HttpRequest

    def post(body: bytes, headers: dict[str, str]) -> int:
        request = HttpRequest()
        request.method, request._body = "POST", body
        request.META.update({f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()})
        return module.jobs(request).status_code  # type: ignore[no-any-return]

    return Receiving(post, module.done)


@pytest.mark.parametrize("kind", [fastapi, flask, django], ids=lambda kind: kind.__name__)
def test_a_receiver_does_what_was_signed(
    kind: Callable[[pytest.MonkeyPatch], Receiving], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_PUSH_SECRET", SECRET)
    receiving = kind(monkeypatch)
    body = b'{"n": 1}'
    headers = Signer(read_secrets(SECRET), "key").headers("01run", body, time.time())
    assert receiving.post(body, headers) == 200
    assert receiving.post(body, headers) == 200  # it may come again
    assert receiving.done == {"01run"}
    receiving.done.clear()
    assert receiving.post(b'{"n": 2}', headers) == 401
    assert receiving.post(body, {}) == 401
    old = Signer(read_secrets(SECRET), None).headers("01run", body, time.time() - 3600)
    assert receiving.post(body, old) == 401
    assert receiving.done == set()
