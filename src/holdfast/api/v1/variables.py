"""Environment variables of the workers: ``/api/v1/projects/{project}/envvars/{environment}``.

There is one project and one environment, whatever a call names. A worker has the variables from its start on, beneath
those of its own environment; a secret one is not shown again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from holdfast.api.auth import changed, needs
from holdfast.api.refused import Refused
from holdfast.api.v1.documents import answered, documented, said
from holdfast.client import Client
from holdfast.engine import variables as engine
from holdfast.engine.variables import MOST, Variable
from holdfast.secret import STARS

BODY_BYTES: Final = 1_048_576
PLACE: Final = "/api/v1/projects/{project}/envvars/{environment}"


class Shown(msgspec.Struct, rename="camel"):
    """A variable. The value of a secret one is stars."""

    name: str
    value: str
    is_secret: bool


class Create(msgspec.Struct, rename="camel"):
    """A variable to be made."""

    name: str
    value: str
    is_secret: bool | None = None


class Update(msgspec.Struct):
    """Its new value."""

    value: str


class Import(msgspec.Struct, rename="camel"):
    """Many variables; those that are there keep their values unless they are overridden."""

    variables: dict[str, str]
    override: bool = False
    is_secret: bool | None = None


class Done(msgspec.Struct):
    """That it is done."""

    success: bool


_create: Final = msgspec.json.Decoder(Create)
_update: Final = msgspec.json.Decoder(Update)
_import: Final = msgspec.json.Decoder(Import)


def variables(client: Callable[[], Client]) -> APIRouter:
    """The routes, over the database of ``client()``."""
    router = APIRouter(prefix=PLACE, dependencies=[Depends(named)])
    may = needs("admin")

    @router.get("", **documented("The variables of the workers", needs=may, answer=list[Shown]))
    async def list_() -> Response:
        return answered([shown(each) for each in await client().aread(engine.every)])

    @router.post("", **documented("Make a variable", needs=may, body=Create, answer=Done))
    async def create(request: Request) -> Response:
        asked = await said(request, _create, BODY_BYTES)
        if await keep(request, {asked.name: asked.value}, asked.is_secret, override=False):
            raise Refused(422, f"There is a variable {asked.name} with another value", "name")
        return answered(Done(success=True))

    @router.post("/import", **documented("Make many variables", needs=may, body=Import, answer=Done))
    async def bring(request: Request) -> Response:
        asked = await said(request, _import, BODY_BYTES)
        await keep(request, asked.variables, asked.is_secret, override=asked.override)
        return answered(Done(success=True))

    @router.get("/{name}", **documented("A variable", needs=may, answer=Shown, refusals=[404]))
    async def retrieve(name: str) -> Response:
        return answered(shown(await found(name)))

    @router.put(
        "/{name}",
        **documented("Change a variable", needs=may, body=Update, answer=Done, refusals=[404]),
    )
    async def update(request: Request, name: str) -> Response:
        asked = await said(request, _update, BODY_BYTES)
        before = await found(name)
        await keep(request, {before.name: asked.value}, None, override=True)
        return answered(Done(success=True))

    @router.delete("/{name}", **documented("Remove a variable", needs=may, answer=Done, refusals=[404]))
    async def remove(request: Request, name: str) -> Response:
        before = await found(name)
        await client().awrite(engine.remove, before.name)
        changed(request, "variables remove", before.name)
        return answered(Done(success=True))

    async def found(name: str) -> Variable:
        for each in await client().aread(engine.every):
            if each.name == name:
                return each
        raise Refused(404, "There is no such variable")

    async def keep(request: Request, wanted: dict[str, str], secret: bool | None, *, override: bool) -> list[str]:
        for name, value in wanted.items():
            if (problem := engine.problem(name, value)) is not None:
                raise Refused(422, problem.what, problem.part)
        if len(wanted) + len(await client().aread(engine.every)) > MOST:
            raise Refused(422, f"There can be {MOST} variables")
        changed(request, "variables set", ", ".join(sorted(wanted)))
        return await client().awrite(engine.put, wanted, secret=secret, override=override)

    return router


async def named(project: str, environment: str) -> None:
    """Whichever are named: there is one."""


def shown(variable: Variable) -> Shown:
    return Shown(variable.name, STARS if variable.secret else variable.value, variable.secret)
