"""`/standins/behaviour`: how the stand-ins behave, read and changed while they run."""

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from simulator.standins.behaviour import Behaviour

_CHANGES: TypeAdapter[dict[str, object]] = TypeAdapter(dict[str, object])


class WrongChange(ValueError):
    """A change that Behaviour does not take; the message names the field."""


def change(behaviour: Behaviour, body: bytes) -> None:
    """Set the fields of `behaviour` that `body` (a JSON object) names: all of them or, if one is wrong, none.

    Raises WrongChange.
    """
    try:
        changes = _CHANGES.validate_json(body)
        changed = Behaviour.model_validate({**behaviour.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise WrongChange(f"{place or 'body'}: {first['msg']}") from error
    for name in changes:
        setattr(behaviour, name, getattr(changed, name))


def add_routes(app: web.Application, behaviour: Behaviour) -> None:
    """Serve GET and PATCH of `/standins/behaviour` on `app`; both answer with the whole behaviour."""

    async def show(request: web.Request) -> web.Response:
        return web.json_response(behaviour.model_dump())

    async def alter(request: web.Request) -> web.Response:
        try:
            change(behaviour, await request.read())
        except WrongChange as error:
            return web.json_response({"error": str(error)}, status=400)
        return await show(request)

    app.router.add_get("/standins/behaviour", show)
    app.router.add_patch("/standins/behaviour", alter)
