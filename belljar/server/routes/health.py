"""/healthz, /readyz and /metrics, for who runs the server."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from belljar.server.answers import encoded, json_answer
from belljar.server.auth import Admin
from belljar.server.metrics import CONTENT_TYPE
from belljar.server.problems import Problem
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, services
from belljar.server.store import migrating

__all__ = ["router"]

router = APIRouter(tags=["operation"])

Parts = Annotated[Services, Depends(services)]


@router.get("/healthz", summary="Is the process alive")
async def healthz() -> Response:
    """Open to everybody; asks nothing of the database."""
    return json_answer(b'{"status":"ok"}')


@router.get("/readyz", summary="Can it do its work", responses=documents.problems(503))
async def readyz(parts: Parts) -> Response:
    """Open to everybody. 503, with the reason, while the database does not answer, lacks tables, or the server ends."""
    if parts.life.ending:
        raise Problem(503, "the server is ending", retry_after_s=2)

    def work() -> None:
        parts.db.ping()
        if not migrating.state(parts.db).applied:
            detail = "the database is not migrated: run `belljar server migrate`"
            raise Problem(503, detail, code="NOT_MIGRATED", retry_after_s=5)

    await parts.run("ready", work)
    return json_answer(encoded({"status": "ready"}))


@router.get(
    "/metrics",
    summary="Figures for Prometheus",
    responses={200: {"content": {"text/plain": {}}}, **documents.problems(401, 403, 429, 503)},
)
async def metrics(_who: Admin, parts: Parts) -> Response:
    """Of this process: requests, traces, latencies, the database pool. Needs the scope `admin`, also from this machine:
    behind a proxy everybody comes from there."""
    return Response(parts.metrics.text(), media_type=CONTENT_TYPE)
