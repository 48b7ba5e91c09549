"""What the OpenAPI document says of bodies that routes read and write by themselves."""

from __future__ import annotations

import hashlib
from typing import Any

from fastapi import Path

from belljar.server.bodies import JSON, MSGPACK
from belljar.server.problems import PROBLEM_JSON
from belljar.server.routes import _schemas as schemas
from belljar.server.routes._schemas import Schema
from belljar.server.settings import MAX_TRACES

__all__ = [
    "ANONYMIZE_ANSWERS",
    "BATCH",
    "BATCH_ANSWERS",
    "CAPABILITIES_ANSWERS",
    "CAPABILITY_ANSWERS",
    "CODE",
    "FQDN",
    "LEARNING_ANSWERS",
    "LIST_ANSWERS",
    "PUBLICATION",
    "PUBLISH_ANSWERS",
    "STATS_ANSWERS",
    "SUGGEST_ANSWERS",
    "TRACE_ANSWERS",
    "TRACE_ID",
    "TRUST_ANSWERS",
    "problems",
]

_ID = "019a0000-0000-7000-8000-000000000001"
TRACE_ID = Path(alias="traceId", max_length=64, description="A UUID in lower case.", examples=[_ID])
_TRACE_EXAMPLE: Schema = {
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
_ADDED = {"priority": 0.5, "predicted": 0.5, "tdError": 0.5, "receivedAt": "2026-01-02T03:04:06.000000Z"}
_SUMMARY_EXAMPLE: Schema = {
    **{name: value for name, value in _TRACE_EXAMPLE.items() if name not in ("taskResults", "decisions", "metadata")},
    **_ADDED,
    "calls": 1,
    "mockedShare": 0.0,
}
_STORED_EXAMPLE: Schema = {**_TRACE_EXAMPLE, **_ADDED, "children": []}
_RESULT: Schema = {
    "type": "object",
    "required": ["traceId", "status"],
    "properties": {
        "traceId": {"type": ["string", "null"], "description": "null if what was sent has no id that is one."},
        "status": {"enum": ["stored", "duplicate", "rejected", "retry"]},
        "code": {"type": "string", "description": "Why it was rejected, for programs."},
        "message": {"type": "string", "description": "Names the first field that is wrong; never its value."},
    },
}
_BATCH_RESULT: Schema = {
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


def _json(schema: Schema, example: Any) -> Schema:
    return {"application/json": {"schema": schema, "example": example}}


def problems(*statuses: int) -> dict[int | str, Schema]:
    """The problems a route may answer with."""
    reference = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _WHY[status], "content": {PROBLEM_JSON: {"schema": reference}}} for status in statuses
    }


def _answers(schema: Schema, example: Any, *statuses: int, **more: Schema) -> dict[int | str, Schema]:
    ok: Schema = {"description": "As asked.", "content": _json(schema, example), **more}
    return {200: ok, **problems(400, 401, 403, 429, 503, *statuses)}


_TRACE_REF = {"$ref": "#/components/schemas/Trace"}
_STORED_REF = {"$ref": "#/components/schemas/StoredTrace"}
_BATCH_SCHEMA: Schema = {
    "oneOf": [
        {
            "type": "object",
            "required": ["traces"],
            "properties": {"traces": {"type": "array", "maxItems": MAX_TRACES, "items": _TRACE_REF}},
        },
        {"type": "array", "maxItems": MAX_TRACES, "items": _TRACE_REF},
    ]
}
BATCH: Schema = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": _BATCH_SCHEMA, "example": {"traces": [_TRACE_EXAMPLE]}},
            MSGPACK: {"schema": _BATCH_SCHEMA},
        },
    }
}
BATCH_ANSWERS: dict[int | str, Schema] = {
    200: {"description": "All are stored, now or before.", "content": _json(_BATCH_RESULT, _ALL_STORED)},
    207: {"description": "Some are not stored; `results` says which and why.", "content": _json(_BATCH_RESULT, _MIXED)},
    **problems(400, 401, 403, 408, 413, 415, 429, 503),
}

_LINK = {"Link": {"description": 'The next page: <...>; rel="next".', "schema": {"type": "string"}}}
LIST_ANSWERS = _answers(
    schemas.TRACE_PAGE,
    {"traces": [_SUMMARY_EXAMPLE], "next": None},
    headers=_LINK,
)
TRACE_ANSWERS: dict[int | str, Schema] = {
    **_answers(_STORED_REF, _STORED_EXAMPLE, 404, headers={"ETag": {"schema": {"type": "string"}}}),
    304: {"description": "It is as in If-None-Match."},
}
ANONYMIZE_ANSWERS = _answers(
    _STORED_REF,
    {**_STORED_EXAMPLE, "taskResults": [], "anonymizedAt": "2026-01-02T03:04:05.678000Z"},
    404,
)

_CODE = "async def main():\n    return await mcp.git.git_log()\n"
_CAPABILITY_EXAMPLE: Schema = {
    "fqdn": "acme.default.git.release_notes",
    "sha256": hashlib.sha256(_CODE.encode()).hexdigest(),
    "code": _CODE,
    "description": "What changed, grouped by author",
    "permissions": ["git:git_log"],
}
_PUBLISHED_EXAMPLE: Schema = {
    **_CAPABILITY_EXAMPLE,
    "id": "7d444840-9dc0-41d1-b245-5ffdce74fad2",
    "fqdn": f"{_CAPABILITY_EXAMPLE['fqdn']}.{_CAPABILITY_EXAMPLE['sha256'][:4]}",
    "schema": None,
    "servers": [],
    "dependencies": [],
    "publishedAt": "2026-01-02T03:04:05.678000Z",
}
_CAPABILITY_REF = {"$ref": "#/components/schemas/Capability"}
PUBLICATION: Schema = {
    "requestBody": {
        "required": True,
        "content": _json({"$ref": "#/components/schemas/PublicationBody"}, _CAPABILITY_EXAMPLE),
    }
}
PUBLISH_ANSWERS: dict[int | str, Schema] = {
    **_answers(_CAPABILITY_REF, _PUBLISHED_EXAMPLE, 408, 409, 413, 415),
    201: {"description": "It is new.", "content": _json(_CAPABILITY_REF, _PUBLISHED_EXAMPLE)},
}
CAPABILITIES_ANSWERS = _answers(
    schemas.CAPABILITY_PAGE,
    {"capabilities": [{name: value for name, value in _PUBLISHED_EXAMPLE.items() if name != "code"}], "next": None},
    headers=_LINK,
)
CAPABILITY_ANSWERS: dict[int | str, Schema] = {
    **_answers(_CAPABILITY_REF, _PUBLISHED_EXAMPLE, 404, headers={"ETag": {"schema": {"type": "string"}}}),
    304: {"description": "It is as in If-None-Match."},
}
FQDN = Path(
    max_length=400,
    description="`org.project.namespace.action`, the same with a hash, or a whole hash alone.",
    examples=[_PUBLISHED_EXAMPLE["fqdn"]],
)
_GROUP_EXAMPLE = {
    "name": "git:git_log",
    "count": 4,
    "failures": 1,
    "successRate": 0.75,
    "mocked": 0,
    "p50Ms": 8.1,
    "p95Ms": 20.5,
    "sampled": 4,
    "lastAt": "2026-01-02T03:04:05.678000Z",
}
STATS_ANSWERS = _answers(
    schemas.STATS, {"total": {**_GROUP_EXAMPLE, "name": ""}, "capabilities": [], "tools": [_GROUP_EXAMPLE]}
)
_SUGGESTION: Schema = {
    "capabilityId": "acme.default.git.release_notes.a7f3",
    "score": 0.41,
    "successRate": 0.95,
    "interval": [0.76, 0.99],
    "n": 20,
    "evidence": [_ID],
}
SUGGEST_ANSWERS = _answers(schemas.SUGGESTIONS, {"suggestions": [_SUGGESTION], "abstained": False, "model": "counts"})
_SURPRISE = {"traces": 12, "meanAbsTdError": 0.2, "brier": 0.06}
_STATE = {
    "model": "counts",
    "reason": "the model won nothing: counts answer, which are no worse",
    "uses": {"capabilities": False, "tools": False, "chance": False},
    "checkpoint": {
        "version": 7,
        "trainedAt": "2026-01-02T03:04:05.678Z",
        "traces": 1200,
        "lastRow": 1311,
        "seed": 1200,
        "seconds": 61.5,
        "embedder": "belljar.learning.embedding.embed",
    },
    "evaluation": None,
    "learner": {
        "state": "waiting",
        "why": "12 new traces of the 240 that the next training takes",
        "replay": 1212,
        "newTraces": 12,
        "trainsAfter": 240,
        "updatedAt": "2026-01-02T03:05:05.678Z",
    },
    "known": {"tool": {"things": 3, "n": 120}},
    "surprise": [_SURPRISE],
    "mostSurprising": [{"traceId": _ID, "priority": 0.97}],
}
LEARNING_ANSWERS = _answers(schemas.LEARNING, _STATE)
_STANDING = {"successes": 18.2, "failures": 0.9, "n": 22, "nFailed": 1, "keys": 1, "own": True}
CODE = f"{_CAPABILITY_EXAMPLE['fqdn']}.{_CAPABILITY_EXAMPLE['sha256']}"
"""A capability with its whole hash."""
_TRUST = {
    "capability": CODE,
    "tools": [{"tool": "git:git_log", "overall": _STANDING, "capability": _STANDING}],
}
TRUST_ANSWERS = _answers(schemas.TRUST, _TRUST)
