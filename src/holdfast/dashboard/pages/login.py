"""Logging in with a key, and out."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from holdfast.dashboard.site import Site, back


def routes(site: Site) -> APIRouter:
    router = site.router()

    @router.get("/login")
    async def asked(request: Request) -> Response:
        return site.page(request, "login.html", to=request.query_params.get("to", "/"), problem=None)

    @router.post("/login")
    async def login(request: Request) -> Response:
        form = await site.form(request)
        caller = await site.keys.caller_of_key(form.get("key")) if form.get("key") else None
        if caller is None:
            problem = "There is no such key, or it counts no more"
            return site.page(request, "login.html", status=401, to=form.get("to"), problem=problem)
        answer = back(form.get("to") or "/")
        await site.sessions.begin(request, answer, caller)
        return answer

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        await site.form(request)
        answer = back("/login")
        site.sessions.end(answer)
        return answer

    return router
