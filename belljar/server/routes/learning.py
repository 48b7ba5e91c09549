"""/api/suggest and /api/learning: what to run next, and what makes us think so."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from belljar.server import advice
from belljar.server.answers import encoded, json_answer
from belljar.server.auth import Read
from belljar.server.problems import Problem
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, now, services

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["learning"])

Parts = Annotated[Services, Depends(services)]
_NO_NUL = r"^[^\x00]*$"
_MAX_TOOLS = 64


@router.get("/suggest", summary="What to run next", responses=documents.SUGGEST_ANSWERS)
async def suggest(
    who: Read,
    parts: Parts,
    intent: Annotated[str, Query(max_length=2000, pattern=_NO_NUL, description="What is wanted, in words.")] = "",
    context: Annotated[
        str, Query(max_length=4000, pattern=_NO_NUL, description="Tools called so far, in order: `a:b,c:d`.")
    ] = "",
    goal: Annotated[
        str | None,
        Query(max_length=256, pattern=_NO_NUL, description="A tool to reach: adds `path`, the likeliest way."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=50)] = 5,
) -> Response:
    """Capabilities that fit the intent, and tools that came next after those of the context.

    Each has its success rate in real runs, the 95 % interval of that, the number of runs, and traces as evidence. Where
    nothing is known that fits, `suggestions` is empty and `abstained` true. `model` says who ranked them: `counts`, or
    a trained model and its version where it won.
    """
    asked: dict[str, Any] = {"intent": intent, "context": _tools(context), "goal": goal, "limit": limit}

    def work() -> bytes:
        return encoded(advice.suggested(parts.db, parts.scoring, who.tenant_id, **asked).to_wire())

    return json_answer(await parts.run("suggest", work))


def _tools(context: str) -> tuple[str, ...]:
    tools = tuple(tool.strip() for tool in context.split(",")) if context.strip() else ()
    if len(tools) > _MAX_TOOLS or not all(tools):
        raise Problem(400, f"context: up to {_MAX_TOOLS} tools, as in a:b,c:d")
    return tools


@router.get("/learning", summary="What was learned", responses=documents.LEARNING_ANSWERS)
async def learning(who: Read, parts: Parts) -> Response:
    """Who answers and why, what the newest model won and what it did not, what the learner does, how much is known, and
    how surprising the newest traces were."""
    work = lambda: advice.learning(parts.db, parts.scoring, who.tenant_id, now=now())  # noqa: E731 - one word for it
    return json_answer(encoded(await parts.run("learning", work)))
