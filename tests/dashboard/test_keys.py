"""The pages Keys, Audit and API."""

from __future__ import annotations

from holdfast import Holdfast
from holdfast.engine import audit, keys
from holdfast.ids import new_api_key
from tests.dashboard.conftest import Served, post


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


async def test_a_key_is_made_shown_once_and_revoked(served: Served) -> None:
    app = Holdfast(database="sqlite://:memory:", public_url="http://127.0.0.1")
    lesser = {"name": "web", "scope": "read", "tasks": "greet\n\n pay ", "expires": "90d"}
    async with served(app) as http:
        refused = [
            await post(http, "/keys", "/keys", said)
            for said in ({"name": "web"}, {"scope": "admin"}, {"name": "web", "scope": "all"}, lesser)
        ]
        none = await app.client.aread(keys.listed)
        made = await post(http, "/keys", "/keys", {"name": "ada", "scope": "admin"})
        key = made.text.partition('data-copy="')[2].partition('"')[0]
        http.headers["authorization"] = f"Bearer {key}"
        again = (await http.get("/keys")).text
        other = await post(http, "/keys", "/keys", lesser)
        web = next(each for each in await app.client.aread(keys.listed) if each.name == "web")
        gone = await post(http, "/keys", f"/keys/{web.id}/revoke")
        unknown = await post(http, "/keys", "/keys/nothing/revoke")
    log = [(each.verb, each.subject) for each in await app.client.aread(audit.page, before=None, n=10)]
    assert [each.status_code for each in refused] == [422] * 4
    assert "may do everything" in refused[3].text, "who makes the first key would shut these pages for all"
    assert none == []
    assert key.startswith("tr_prod_sk_")
    assert key not in again
    assert (other.status_code, web.scopes, web.state) == (200, ("read", "trigger:greet", "trigger:pay"), "active")
    assert web.expires_at is not None
    assert (gone.status_code, unknown.status_code) == (303, 303)
    states = {each.name: each.state for each in await app.client.aread(keys.listed)}
    assert states == {"ada": "active", "web": "revoked"}
    assert [verb for verb, _ in log] == ["keys revoke", "keys create", "keys create"]
    assert not any(key in subject for _, subject in log)
    await app.aclose()


async def test_who_may_look_makes_and_revokes_no_key(served: Served) -> None:
    app, reader = Holdfast(database="sqlite://:memory:", public_url="http://127.0.0.1"), new_api_key()
    kept = await app.client.awrite(keys.create, reader, "reader", ["read"], None)
    async with served(app) as http:
        http.headers["authorization"] = f"Bearer {reader}"
        page = await http.get("/keys")
        made = await post(http, "/queues", "/keys", {"name": "eve", "scope": "admin"})
        gone = await post(http, "/queues", f"/keys/{kept.id}/revoke")
    assert (page.status_code, made.status_code, gone.status_code) == (403, 403, 403)
    assert [(each.name, each.state) for each in await app.client.aread(keys.listed)] == [("reader", "active")]
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
