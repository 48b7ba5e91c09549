"""/api/registry: capabilities published, fetched, listed, yanked."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from belljar import show
from belljar.server import bodies
from belljar.server.answers import encoded, json_answer, linked, tagged
from belljar.server.auth import Publish, Read
from belljar.server.problems import Problem
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, now, services
from belljar.server.store import registry
from belljar.server.store.registry import Publication

__all__ = ["PublicationBody", "router"]

router = APIRouter(prefix="/api/registry", tags=["registry"])

Parts = Annotated[Services, Depends(services)]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_MAX_NAMES = 256
_Fqdn = Annotated[str, documents.FQDN]


class PublicationBody(BaseModel):
    """A capability as it is published."""

    model_config = ConfigDict(extra="forbid", strict=True)

    fqdn: _Name = Field(description="4 or 5 parts; a hash in it must be the code's.")
    code: str = Field(min_length=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Of the code as UTF-8; verified.")
    description: str = ""
    args_schema: dict[str, Any] | None = Field(None, alias="schema", description="JSON Schema of its arguments.")
    servers: list[_Name] = Field(default_factory=list[str], max_length=_MAX_NAMES)
    permissions: list[_Name] = Field(default_factory=list[str], max_length=_MAX_NAMES)
    dependencies: list[_Name] = Field(default_factory=list[str], max_length=_MAX_NAMES)

    def publication(self) -> Publication:
        """The same as the store knows it."""
        return Publication(
            fqdn=self.fqdn,
            code=self.code,
            sha256=self.sha256,
            description=self.description,
            args_schema=self.args_schema,
            servers=tuple(self.servers),
            permissions=tuple(self.permissions),
            dependencies=tuple(self.dependencies),
        )


def _publication(value: Any) -> Publication:
    try:
        return PublicationBody.model_validate(value).publication()
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False, include_input=False)[0]
        place = show.text(".".join(map(str, first["loc"])), max_chars=100) or "the body"
        raise Problem(400, f"not a capability: {place}: {first['msg']}") from None


@router.post(
    "", summary="Publish a capability", openapi_extra=documents.PUBLICATION, responses=documents.PUBLISH_ANSWERS
)
async def publish(request: Request, who: Publish, parts: Parts) -> Response:
    """Publish a text under a name. The same again is well (200); another text with the same hash4 is refused (409).

    An org belongs to the tenant that published under it first.
    """
    body = await bodies.read(request, parts.settings)

    def work() -> tuple[bytes, int]:
        value, _ = bodies.parse(body, parts.settings)
        publication = _publication(value)
        done = registry.publish(parts.db, who, publication, now=now())
        return encoded(done.capability.to_wire()), 201 if done.created else 200

    answer, status = await parts.run("publish", work)
    return json_answer(answer, status)


@router.get("", summary="List capabilities", responses=documents.CAPABILITIES_ANSWERS)
async def list_capabilities(
    request: Request,
    who: Read,
    parts: Parts,
    prefix: Annotated[str, Query(max_length=400, description="Names that begin so.")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(min_length=1, max_length=1000)] = None,
) -> Response:
    """By name, without code, a page at a time."""

    def work() -> tuple[bytes, str | None]:
        page = registry.list_capabilities(parts.db, who.tenant_id, prefix=prefix, limit=limit, cursor=cursor)
        found = [item.to_wire() for item in page.items]
        return encoded({"capabilities": found, "next": page.next_cursor}), page.next_cursor

    body, following = await parts.run("list_capabilities", work)
    return json_answer(body, headers=linked(request, following))


@router.get("/{fqdn}", summary="Fetch a capability", responses=documents.CAPABILITY_ANSWERS)
async def fetch(request: Request, who: Read, parts: Parts, fqdn: _Fqdn) -> Response:
    """With its code. Without a hash: the newest that is not yanked. With one: exactly that, and marked if yanked."""

    def work() -> tuple[bytes, str]:
        found = registry.fetch(parts.db, who.tenant_id, fqdn)
        if found is None:
            raise Problem(404, "there is no such capability")
        return encoded(found.to_wire()), f"{found.sha256[:32]}{'' if found.yanked_at is None else '-yanked'}"

    body, tag = await parts.run("fetch", work)
    return tagged(request, tag, body)


@router.delete(
    "/{fqdn}", summary="Yank a capability", status_code=204, responses=documents.problems(400, 401, 403, 404, 429, 503)
)
async def yank(who: Publish, parts: Parts, fqdn: _Fqdn) -> Response:
    """No longer found without its hash; what pinned it still finds it, marked."""

    def work() -> None:
        if not registry.yank(parts.db, who.tenant_id, fqdn, now=now()):
            raise Problem(404, "there is no such capability")

    await parts.run("yank", work)
    return Response(status_code=204)
