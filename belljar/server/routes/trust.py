"""/api/trust: what real runs say of tools, for a client that decides whether to ask a person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from belljar import fqdn
from belljar.errors import BelljarError
from belljar.fqdn import Fqdn
from belljar.rpc.policy import Policy
from belljar.server.answers import encoded, json_answer
from belljar.server.auth import Read
from belljar.server.problems import Problem
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, services
from belljar.server.store import trust as store

__all__ = ["router"]

router = APIRouter(prefix="/api", tags=["learning"])

Parts = Annotated[Services, Depends(services)]
_NO_NUL = r"^[^\x00]*$"
_CODE = r"^[a-z0-9_-]+(\.[a-z0-9_-]+){3}\.[0-9a-f]{64}$"


@router.get("/trust", summary="How far tools have proven themselves", responses=documents.TRUST_ANSWERS)
async def trust(
    who: Read,
    parts: Parts,
    capability: Annotated[
        str,
        Query(
            max_length=400,
            pattern=_CODE,
            description="The code that would call: its name with the whole hash.",
            examples=[documents.CODE],
        ),
    ],
    tools: Annotated[
        str,
        Query(
            max_length=4000,
            pattern=_NO_NUL,
            description=f"Up to {store.MAX_TOOLS} tools or patterns of a policy.",
            examples=["git:git_log,time:*"],
        ),
    ],
) -> Response:
    """Evidence from the newest real runs: of each tool by all of them, and by those of this code.

    `successes` and `failures` fade with every run, and no key counts for more than all others together or moves a mean
    by more than a fifth; `n` and `nFailed` are whole. `keys` is how many keys saw it, `own` whether the one that asks
    is among them. A tool that no real run called is not in the answer; at most 64 are, the last used first.
    """
    named, patterns = _capability(capability), _patterns(tools)

    def work() -> bytes:
        found = store.trust(parts.db, who, named, patterns)
        return encoded({"capability": named.exact, "tools": [each.to_wire() for each in found]})

    return json_answer(await parts.run("trust", work))


def _capability(text: str) -> Fqdn:
    try:
        return fqdn.parse(text)
    except BelljarError as exc:
        raise Problem(400, f"capability: {exc.message}") from None


def _patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(pattern.strip() for pattern in text.split(","))
    if len(patterns) > store.MAX_TOOLS:
        raise Problem(400, f"tools: {store.MAX_TOOLS} at most")
    try:
        return Policy(auto=patterns).auto
    except BelljarError as exc:
        raise Problem(400, f"tools: {exc.message}") from None
