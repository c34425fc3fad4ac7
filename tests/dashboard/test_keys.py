"""The pages Keys, Audit and API."""

from __future__ import annotations

from holdfast import Holdfast
from holdfast.engine import audit, keys
from holdfast.ids import new_api_key
from tests.dashboard.conftest import Served


async def test_keys_are_told_apart_and_never_shown(served: Served) -> None:
    app, key = Holdfast(database="sqlite://:memory:", public_url="http://127.0.0.1"), new_api_key()
    async with served(app) as http:
        assert "No key has been made yet" in (await http.get("/keys")).text
        await app.client.awrite(keys.create, key, "<b>web</b>", ["read", "trigger:greet"], 0)
        await app.client.awrite(keys.revoke, (await app.client.aread(keys.listed))[0].id)
        page = (await http.get("/keys")).text
        assert key not in page
        assert f"…{key[-4:]}" in page
        assert "&lt;b&gt;web" in page
        assert "revoked" in page
    await app.aclose()


async def test_the_audit_log_has_pages(served: Served) -> None:
    app = Holdfast(database="sqlite://:memory:")
    async with served(app) as http:
        assert "Nothing was changed yet" in (await http.get("/audit?cursor=<x>")).text
        for n in range(101):
            await app.client.awrite(audit.write, "ada", "queues pause", f"<i>queue {n}", "here")
        first = (await http.get("/audit")).text
        cursor = first.partition("?cursor=")[2].partition('"')[0]
        rest = (await http.get("/audit", params={"cursor": cursor})).text
    assert first.count("data-row") == 100
    assert "&lt;i&gt;queue 0<" in rest
    assert rest.count("data-row") == 1
    await app.aclose()


async def test_what_can_be_called_is_on_a_page_that_loads_nothing_from_elsewhere(served: Served) -> None:
    app = Holdfast(database="sqlite://:memory:")
    async with served(app) as http:
        page = await http.get("/docs")
        document = (await http.get("/openapi.json")).json()
    assert all(path.replace("<", "&lt;") in page.text for path in document["paths"])
    assert all(told["summary"] for methods in document["paths"].values() for told in methods.values())
    assert "default-src 'none'" in page.headers["content-security-policy"] or "'self'" in str(page.headers)
    assert 'src="http' not in page.text
    assert 'href="http' not in page.text
    await app.aclose()
