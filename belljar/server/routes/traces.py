"""/api/traces: batches in, lists and trees out."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime

from belljar.server import bodies
from belljar.server.answers import encoded, json_answer, linked, tagged, utc
from belljar.server.auth import SCHEMES, Admin, Read, Sender, invalid, sender
from belljar.server.bodies import Body
from belljar.server.intake import Refused, batch_of
from belljar.server.problems import Problem
from belljar.server.routes import _documents as documents
from belljar.server.services import Services, now, services
from belljar.server.store import ingest, learned, maintenance, queries
from belljar.server.store.ingest import ItemResult, Written
from belljar.server.store.queries import TraceFilter

__all__ = ["router"]

router = APIRouter(prefix="/api/traces", tags=["traces"])

Parts = Annotated[Services, Depends(services)]
_Text = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00]*$")]
_Time = AwareDatetime | NaiveDatetime


class TraceQuery(BaseModel):
    """Which traces to list. A filter that is not known is an error, not a silent everything."""

    model_config = ConfigDict(extra="forbid")

    capability: _Text | None = Field(None, description="FQDN with or without its hash, or `namespace:action`.")
    success: bool | None = None
    since: _Time | None = Field(None, description="Executed at or after; UTC unless it has an offset.")
    until: _Time | None = Field(None, description="Executed before.")
    workflow: _Text | None = None
    tool: _Text | None = Field(None, description="`server:tool` that was called.")
    mocked: bool | None = Field(None, description="Whether anything but the real world answered.")
    text: _Text | None = Field(None, description="Found in name, intent or error message.")
    roots: bool | None = Field(None, description="true: only traces without a parent.")
    limit: int = Field(50, ge=1, le=200)
    cursor: _Text | None = Field(None, description="From the answer before: its `next`, or its Link header.")

    def where(self) -> TraceFilter:
        """The same as the store knows it."""
        return TraceFilter(
            capability=self.capability,
            success=self.success,
            since=utc(self.since),
            until=utc(self.until),
            workflow=self.workflow,
            tool=self.tool,
            mocked=self.mocked,
            text=self.text,
            roots=self.roots,
        )


class _Direct(APIRoute):
    """Called with the request alone: for the route that has to be fast, FastAPI's way is a third of it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The function itself."""
        return self.endpoint


async def post_traces(request: Request) -> Response:
    """Store up to 100 traces, as JSON or msgpack, also gzipped.

    The same trace again is a duplicate, and well. The same id with another content is rejected, and so is what is not a
    trace; the others of the batch are stored. `retry` means: not stored, send this one again. `userId` is the key's.
    """
    parts = await services(request)
    who = await sender(request, parts)
    body = await bodies.read(request, parts.settings)
    parts.metrics.body_bytes.inc(len(body.data))
    status, answer, noted = await parts.run("ingest", lambda: _ingest(parts, who, body), heavy=body.large)
    request.scope["belljar.note"] |= noted
    return json_answer(answer, status)


router.add_api_route(
    "",
    post_traces,
    methods=["POST"],
    summary="Store traces",
    dependencies=SCHEMES,
    openapi_extra=documents.BATCH,
    responses=documents.BATCH_ANSWERS,
    route_class_override=_Direct,
)


def _ingest(parts: Services, by: Sender, body: Body) -> tuple[int, bytes, dict[str, int]]:
    by.take()
    value, size = bodies.parse(body, parts.settings)
    items = batch_of(value)
    at = now()
    parts.metrics.received.inc(len(items))
    parts.metrics.batch.observe(len(items))
    looked = parts.intake.look(items, size)
    good = [each for each in looked if isinstance(each, Written)]
    learn = partial(learned.learn, now=at, room=parts.room) if parts.settings.learn else None
    try:
        stored = iter(ingest.ingest(parts.db, by.principal, good, now=at, learn=learn, ask=not by.checked))
    except ingest.KeyRevoked:
        raise invalid() from None
    results = [_refusal(each) if isinstance(each, Refused) else _entry(next(stored)) for each in looked]
    counts = _counted(parts, results)
    wire = {"received": len(items), "stored": counts["stored"], "duplicates": counts["duplicate"], "results": results}
    wire["errors"] = [{"index": i, **each} for i, each in enumerate(results) if each["status"] in ("rejected", "retry")]
    return 207 if wire["errors"] else 200, encoded(wire), {"traces": len(items), **counts}


def _refusal(refused: Refused) -> dict[str, Any]:
    return {
        "traceId": refused.trace_id,
        "status": refused.status,
        "code": refused.code,
        "message": refused.message,
    }


def _entry(result: ItemResult) -> dict[str, Any]:
    return result.to_wire()


def _counted(parts: Services, results: Sequence[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = dict.fromkeys(("stored", "duplicate", "rejected", "retry"), 0)
    for each in results:
        counts[each["status"]] += 1
    for outcome, count in counts.items():
        parts.metrics.traces.labels(outcome).inc(count)
    return counts


@router.get("", summary="List traces", responses=documents.LIST_ANSWERS)
async def list_traces(request: Request, who: Read, parts: Parts, query: Annotated[TraceQuery, Query()]) -> Response:
    """The newest first, a page at a time; `next` (and the Link header) lead to the following page."""

    def work() -> tuple[bytes, str | None]:
        page = queries.list_traces(parts.db, who.tenant_id, query.where(), limit=query.limit, cursor=query.cursor)
        traces = [item.to_wire() for item in page.items]
        return encoded({"traces": traces, "next": page.next_cursor}), page.next_cursor

    body, cursor = await parts.run("list", work)
    return json_answer(body, headers=linked(request, cursor))


@router.get("/{traceId}", summary="One trace, with its children", responses=documents.TRACE_ANSWERS)
async def get_trace(
    request: Request,
    who: Read,
    parts: Parts,
    trace_id: Annotated[str, documents.TRACE_ID],
    depth: Annotated[int, Query(ge=0, le=16, description="Levels of children.")] = 16,
) -> Response:
    """The trace, masked, with `priority`, `predicted` and `tdError`, and the runs it started as a tree."""

    def work() -> tuple[bytes, str]:
        tree = queries.trace_tree(parts.db, who.tenant_id, trace_id, max_depth=depth)
        if tree is None:
            raise Problem(404, "there is no such trace")
        return encoded(tree.to_wire()), tree.etag

    body, tag = await parts.run("get", work)
    return tagged(request, tag, body)


@router.post("/{traceId}/anonymize", summary="Make a trace nobody's", responses=documents.ANONYMIZE_ANSWERS)
async def anonymize(who: Admin, parts: Parts, trace_id: Annotated[str, documents.TRACE_ID]) -> Response:
    """Take out of one trace, for ever, what could say who or what: arguments, results, texts, the key that sent it.

    Its shape, outcome and times stay, and the same trace sent again is a duplicate. The runs it started are traces of
    their own, and stay as they are.
    """

    def work() -> bytes:
        maintenance.anonymize(parts.db, who.tenant_id, [trace_id], now=now())
        trace = queries.get_trace(parts.db, who.tenant_id, trace_id)
        if trace is None:
            raise Problem(404, "there is no such trace")
        return encoded(trace.to_wire())

    return json_answer(await parts.run("anonymize", work))
