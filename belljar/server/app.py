"""The application: routes, what goes wrong as problems, and the edge around both.

    app = create_app(Settings(database=url), open_database(url))

`run.serve` serves it; any other ASGI server may. Whoever opened the database closes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.telemetry import TelemetryConfig
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException

from belljar import __version__, show
from belljar.server.edge import Edge, request_id
from belljar.server.problems import Problem, respond
from belljar.server.routes import _schemas as schemas
from belljar.server.routes import docs, health, learning, registry, stats, traces, trust
from belljar.server.services import Services
from belljar.server.settings import Settings
from belljar.server.store.engine import Database
from belljar.server.web import add_web

__all__ = ["create_app"]

_ABOUT = (
    "Takes the traces of capability runs, keeps and shows them, and keeps the registry of capabilities. "
    "Every answer that is an error is application/problem+json with a code and a requestId."
)
_QUIET: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
_ROUTERS = (traces.router, registry.router, stats.router, learning.router, trust.router, health.router, docs.router)


def create_app(settings: Settings, db: Database) -> FastAPI:
    """The server's application on an open database. `app.state.services` holds its parts."""
    parts = Services.of(settings, db)
    app = FastAPI(
        title="Belljar",
        version=__version__,
        description=_ABOUT,
        docs_url=None,  # its pages load scripts from elsewhere; ours is routes/docs.py
        redoc_url=None,
        redirect_slashes=False,
        # Neither spans nor logs of its own, which would hold what was sent, nor exporters from the environment.
        telemetry=_QUIET,
        lifespan=_lifespan,
    )
    app.state.services = parts
    for router in _ROUTERS:
        app.include_router(router)
    add_web(app)
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_middleware(Edge, settings=settings, metrics=parts.metrics, life=parts.life)
    _document(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncGenerator[None]:
    await anyio.to_thread.run_sync(app.state.services.intake.prepare)
    yield


async def _on_problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, Problem)
    return respond(exc, request_id(request.scope))


async def _on_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    said = {404: "there is nothing at this path", 405: "this path does not know that method"}
    detail = said.get(exc.status_code, "the request cannot be answered")
    headers = _allowed(request) if exc.status_code == 405 else exc.headers
    return respond(Problem(exc.status_code, detail, headers=headers), request_id(request.scope))


def _allowed(request: Request) -> dict[str, str]:
    """Every method that the path knows: the router names those of the first route alone."""
    paths = cast("dict[str, dict[str, Any]]", request.app.openapi()["paths"])
    methods = paths.get(getattr(request.scope.get("route"), "path", ""), {"get": None})
    return {"allow": ", ".join(sorted(map(str.upper, methods)))}


async def _on_invalid(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = cast("Sequence[dict[str, Any]]", exc.errors())[0]
    place = show.text(".".join(map(str, first["loc"])), max_chars=100)
    return respond(Problem(400, f"{place}: {first['msg']}"), request_id(request.scope))


def _document(app: FastAPI) -> None:
    """Add to the OpenAPI document what routes only refer to."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            named = document.setdefault("components", {}).setdefault("schemas", {})
            for unused in ("HTTPValidationError", "ValidationError"):
                named.pop(unused, None)
            named |= schemas.components()
            body = TypeAdapter(registry.PublicationBody).json_schema(ref_template="#/components/schemas/{model}")
            named["PublicationBody"] = body
            for methods in document["paths"].values():
                for operation in methods.values():
                    # Our 400 is what FastAPI announces as 422.
                    operation["responses"].pop("422", None)
        return cast("dict[str, Any]", app.openapi_schema)

    app.openapi = openapi
