"""/api/stats."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, NaiveDatetime

from belljar.server.answers import encoded, json_answer, utc
from belljar.server.auth import Read
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, services
from belljar.server.store import stats

__all__ = ["router"]

router = APIRouter(prefix="/api")

Parts = Annotated[Services, Depends(services)]
_Time = AwareDatetime | NaiveDatetime


@router.get("/stats", summary="Counts, success rates, latencies", tags=["traces"], responses=documents.STATS_ANSWERS)
async def get_stats(
    who: Read,
    parts: Parts,
    since: Annotated[_Time | None, Query(description="Executed at or after; UTC unless it has an offset.")] = None,
    until: Annotated[_Time | None, Query(description="Executed before.")] = None,
    top: Annotated[int, Query(ge=1, le=200, description="Capabilities and tools, the most used first.")] = 50,
) -> Response:
    """Of all traces, by capability and by tool."""

    def work() -> bytes:
        found = stats.stats(parts.db, who.tenant_id, since=utc(since), until=utc(until), top=top)
        return encoded(found.to_wire())

    return json_answer(await parts.run("stats", work))
