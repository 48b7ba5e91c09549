"""What the OpenAPI document says of bodies that routes read and write by themselves."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Path
from pydantic import TypeAdapter

from belljar.server.bodies import JSON, MSGPACK
from belljar.server.problems import PROBLEM_JSON
from belljar.server.settings import MAX_TRACES
from belljar.tracing.types import Trace

__all__ = [
    "ANONYMIZE_ANSWERS",
    "BATCH",
    "BATCH_ANSWERS",
    "LEARNING_ANSWERS",
    "LIST_ANSWERS",
    "PUBLICATION",
    "PUBLISH_ANSWERS",
    "REGISTRY_ANSWERS",
    "STATS_ANSWERS",
    "SUGGEST_ANSWERS",
    "TRACE_ANSWERS",
    "TRACE_ID",
    "components",
    "problems",
]

_Schema = dict[str, Any]

TRACE_ID = Path(alias="traceId", max_length=64, description="A UUID in lower case.")

_ID = "019a0000-0000-7000-8000-000000000001"
_TRACE_EXAMPLE: _Schema = {
    "traceId": _ID,
    "capabilityId": "local.default.git.release_notes.a7f3",
    "capabilityHash": "a7f3" + "0" * 60,
    "success": True,
    "durationMs": 12.5,
    "timestamp": "2026-01-02T03:04:05.678Z",
    "intent": "What changed, grouped by author",
    "taskResults": [
        {
            "taskId": "t1",
            "tool": "git:git_log",
            "args": {"repo_path": ".", "max_count": 50},
            "result": ["..."],
            "success": True,
            "state": "applied",
            "durationMs": 8.1,
            "timestamp": "2026-01-02T03:04:05.680Z",
            "source": "real",
            "isWrite": False,
        }
    ],
    "decisions": [{"nodeId": "L12", "outcome": "true", "condition": "len(commits) > 10"}],
    "metadata": {"backend": "wasm", "sdkVersion": "0.1.0"},
}
_STORED_EXAMPLE: _Schema = {**_TRACE_EXAMPLE, "priority": 0.5, "predicted": 0.5, "tdError": 0.5, "children": []}
_RESULT: _Schema = {
    "type": "object",
    "required": ["traceId", "status"],
    "properties": {
        "traceId": {"type": ["string", "null"], "description": "null if what was sent has no id that is one."},
        "status": {"enum": ["stored", "duplicate", "rejected", "retry"]},
        "code": {"type": "string", "description": "Why it was rejected, for programs."},
        "message": {"type": "string", "description": "Names the first field that is wrong; never its value."},
    },
}
_BATCH_RESULT: _Schema = {
    "type": "object",
    "required": ["received", "stored", "duplicates", "results", "errors"],
    "properties": {
        "received": {"type": "integer"},
        "stored": {"type": "integer"},
        "duplicates": {"type": "integer"},
        "results": {"type": "array", "items": _RESULT, "description": "One for each trace, in the order they came."},
        "errors": {
            "type": "array",
            "description": "Those that were not stored, each with its `index` in the batch.",
            "items": {"type": "object", "properties": {"index": {"type": "integer"}, **_RESULT["properties"]}},
        },
    },
}
_ALL_STORED = {
    "received": 1,
    "stored": 1,
    "duplicates": 0,
    "results": [{"traceId": _ID, "status": "stored"}],
    "errors": [],
}
_REJECTED = {
    "traceId": None,
    "status": "rejected",
    "code": "VALIDATION_ERROR",
    "message": "not a trace: traceId: Field required",
}
_MIXED = {**_ALL_STORED, "stored": 0, "results": [_REJECTED], "errors": [{"index": 0, **_REJECTED}]}

_WHY = {
    400: "The body or a parameter is not what it must be.",
    401: "No valid API key.",
    403: "The key lacks the scope, or its tenant may not.",
    404: "There is no such thing, or it is another tenant's.",
    408: "The body did not arrive in time.",
    409: "It contradicts what is stored.",
    413: "Too many traces, or too long a body: send fewer at once.",
    415: "Neither JSON nor msgpack, or another compression than gzip.",
    429: "This key sends too fast; Retry-After says when to go on.",
    503: "The database does not answer, or the server is busy or ending; Retry-After says when to try again.",
}


def _json(schema: _Schema, example: Any) -> _Schema:
    return {"application/json": {"schema": schema, "example": example}}


def problems(*statuses: int) -> dict[int | str, _Schema]:
    """The problems a route may answer with."""
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _WHY[status], "content": {PROBLEM_JSON: {"schema": reference}}} for status in statuses
    }


def _answers(schema: _Schema, example: Any, *statuses: int, **more: _Schema) -> dict[int | str, _Schema]:
    ok: _Schema = {"description": "As asked.", "content": _json(schema, example), **more}
    return {200: ok, **problems(400, 401, 403, 429, 503, *statuses)}


_TRACE_REF = {"$ref": "#/components/schemas/Trace"}
_BATCH_SCHEMA: _Schema = {
    "oneOf": [
        {
            "type": "object",
            "required": ["traces"],
            "properties": {"traces": {"type": "array", "maxItems": MAX_TRACES, "items": _TRACE_REF}},
        },
        {"type": "array", "maxItems": MAX_TRACES, "items": _TRACE_REF},
    ]
}
BATCH: _Schema = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _BATCH_SCHEMA, "example": {"traces": [_TRACE_EXAMPLE]}},
            MSGPACK: {"schema": _BATCH_SCHEMA},
        },
    }
}
BATCH_ANSWERS: dict[int | str, _Schema] = {
    200: {"description": "All are stored, now or before.", "content": _json(_BATCH_RESULT, _ALL_STORED)},
    207: {"description": "Some are not stored; `results` says which and why.", "content": _json(_BATCH_RESULT, _MIXED)},
    **problems(400, 401, 403, 408, 413, 415, 429, 503),
}

_PAGED = {"next": {"type": ["string", "null"], "description": "The cursor of the next page; null on the last."}}
_LINK = {"Link": {"description": 'The next page: <...>; rel="next".', "schema": {"type": "string"}}}
LIST_ANSWERS = _answers(
    {"type": "object", "properties": {"traces": {"type": "array", "items": {"type": "object"}}, **_PAGED}},
    {"traces": [{"traceId": _ID, "success": True, "priority": 0.5}], "next": None},
    headers=_LINK,
)
TRACE_ANSWERS: dict[int | str, _Schema] = {
    **_answers({"type": "object"}, _STORED_EXAMPLE, 404, headers={"ETag": {"schema": {"type": "string"}}}),
    304: {"description": "It is as in If-None-Match."},
}
ANONYMIZE_ANSWERS = _answers(
    {"type": "object"},
    {**_STORED_EXAMPLE, "taskResults": [], "anonymizedAt": "2026-01-02T03:04:05.678000Z"},
    404,
)

_CODE = "async def main():\n    return await mcp.git.git_log()\n"
_CAPABILITY_EXAMPLE: _Schema = {
    "fqdn": "acme.default.git.release_notes",
    "sha256": hashlib.sha256(_CODE.encode()).hexdigest(),
    "code": _CODE,
    "description": "What changed, grouped by author",
    "permissions": ["git:git_log"],
}
PUBLICATION: _Schema = {
    "requestBody": {
        "required": True,
        "content": _json({"$ref": "#/components/schemas/PublicationBody"}, _CAPABILITY_EXAMPLE),
    }
}
PUBLISH_ANSWERS: dict[int | str, _Schema] = {
    **_answers({"type": "object"}, _CAPABILITY_EXAMPLE, 408, 409, 413, 415),
    201: {"description": "It is new.", "content": _json({"type": "object"}, _CAPABILITY_EXAMPLE)},
}
REGISTRY_ANSWERS = _answers({"type": "object"}, _CAPABILITY_EXAMPLE, 404)
STATS_ANSWERS = _answers({"type": "object"}, {"total": {"count": 1, "successRate": 1.0}})
_SUGGESTION: _Schema = {
    "capabilityId": "acme.default.git.release_notes.a7f3",
    "score": 0.41,
    "successRate": 0.95,
    "interval": [0.76, 0.99],
    "n": 20,
    "evidence": [_ID],
}
SUGGEST_ANSWERS = _answers({"type": "object"}, {"suggestions": [_SUGGESTION], "abstained": False, "model": "counts"})
LEARNING_ANSWERS = _answers({"type": "object"}, {"model": "counts", "known": {"tool": {"things": 3, "n": 120}}})


def components() -> dict[str, _Schema]:
    """Schemas that the answers above refer to."""
    trace = TypeAdapter(Trace).json_schema(ref_template="#/components/schemas/{model}")
    inner = trace.pop("$defs")
    texts = ("type", "title", "detail", "code", "requestId")
    problem = {
        "type": "object",
        "properties": {**{name: {"type": "string"} for name in texts}, "status": {"type": "integer"}},
    }
    return {**inner, "Trace": trace, "Problem": {**problem, "required": [*texts, "status"]}}
