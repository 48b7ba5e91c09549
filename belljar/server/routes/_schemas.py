"""JSON schemas of what is sent and answered: the wire types, with the rules that no type says, and the answers."""

from __future__ import annotations

from typing import Any, cast

from pydantic import TypeAdapter

from belljar.tracing import types
from belljar.tracing.types import Trace

__all__ = [
    "CAPABILITY",
    "CAPABILITY_PAGE",
    "LEARNING",
    "STATS",
    "SUGGESTIONS",
    "TRACE_PAGE",
    "TRUST",
    "UUID",
    "Schema",
    "components",
]

Schema = dict[str, Any]

_REFERENCE = "#/components/schemas/{model}"
UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_TIME: Schema = {"type": "string", "format": "date-time"}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_SHA256: Schema = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_DURATION: Schema = {"minimum": 0, "maximum": 1e12}
_FLAG: Schema = {"type": "boolean"}

# What the store and the dataclasses check by hand.
_RULES: dict[str, dict[str, Schema]] = {
    "Trace": {
        "traceId": {"pattern": UUID},
        "parentTraceId": {"pattern": UUID},
        "capabilityId": {"maxLength": 400},
        "capabilityHash": {"pattern": "^([0-9a-f]{64})?$"},
        "durationMs": _DURATION,
        "timestamp": {"format": "date-time"},
        "workflowId": {"maxLength": 256},
        "errorCode": {"maxLength": 64},
        "taskResults": {"maxItems": 5000},
        "decisions": {"maxItems": types.MAX_DECISIONS},
    },
    "TaskResult": {"durationMs": _DURATION, "timestamp": {"format": "date-time"}},
    "Decision": {
        "nodeId": {"pattern": "^L[0-9]{1,7}$"},
        "outcome": {"pattern": "^(true|false|case:[0-9]{1,6})$"},
    },
    "TraceMetadata": {
        "mockedShare": {"minimum": 0, "maximum": 1},
        "otelTraceId": {"pattern": "^[0-9a-f]{32}$"},
        "otelSpanId": {"pattern": "^[0-9a-f]{16}$"},
    },
}


def _object(required: dict[str, Schema], **optional: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": {**required, **optional}}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_ADDED: dict[str, Schema] = {
    "priority": _SHARE,
    "predicted": _SHARE,
    "tdError": {"type": "number", "minimum": -1, "maximum": 1},
    "receivedAt": _TIME,
}
_HEAD: dict[str, Schema] = {
    "traceId": {"type": "string", "pattern": UUID},
    "capabilityId": _TEXT,
    "capabilityHash": _TEXT,
    "success": _FLAG,
    "durationMs": {"type": "number", "minimum": 0},
    "timestamp": _TIME,
    **_ADDED,
}
_SOMETIMES: dict[str, Schema] = {
    "parentTraceId": {"type": "string", "pattern": UUID},
    "workflowId": _TEXT,
    "capabilityUuid": {"type": "string", "pattern": UUID},
    "errorCode": _TEXT,
    "errorMessage": _TEXT,
    "userId": _TEXT,
    "intent": _TEXT,
    "anonymizedAt": _TIME,
}
_SUMMARY = _object({**_HEAD, "calls": _COUNT, "mockedShare": _SHARE}, **_SOMETIMES)
_STORED = _object(
    {
        **_HEAD,
        "taskResults": _list({"$ref": _REFERENCE.format(model="TaskResult")}),
        "decisions": _list({"$ref": _REFERENCE.format(model="Decision")}),
        "metadata": {"type": "object"},
    },
    **_SOMETIMES,
    children=_list({"$ref": _REFERENCE.format(model="StoredTrace")}),
    childrenTruncated=_FLAG,
)
_NEXT: Schema = {"type": ["string", "null"], "description": "The cursor of the next page; null on the last."}
TRACE_PAGE = _object({"traces": _list({"$ref": _REFERENCE.format(model="TraceSummary")}), "next": _NEXT})

_TEXTS = _list(_TEXT)
CAPABILITY = _object(
    {
        "id": {"type": "string", "pattern": UUID},
        "fqdn": _TEXT,
        "sha256": _SHA256,
        "description": _TEXT,
        "schema": {"type": ["object", "null"]},
        "servers": _TEXTS,
        "permissions": _TEXTS,
        "dependencies": _TEXTS,
        "publishedAt": _TIME,
    },
    code=_TEXT,
    yankedAt=_TIME,
)
CAPABILITY_PAGE = _object({"capabilities": _list({"$ref": _REFERENCE.format(model="Capability")}), "next": _NEXT})

_MILLISECONDS: Schema = {"type": ["number", "null"], "minimum": 0}
_GROUP = _object(
    {
        "name": _TEXT,
        "count": _COUNT,
        "failures": _COUNT,
        "mocked": _COUNT,
        "sampled": _COUNT,
        "successRate": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "p50Ms": _MILLISECONDS,
        "p95Ms": _MILLISECONDS,
        "lastAt": {"type": ["string", "null"], "format": "date-time"},
    }
)
STATS = _object({"total": _GROUP, "capabilities": _list(_GROUP), "tools": _list(_GROUP)})

_PROBLEM = _object(
    {**dict.fromkeys(("type", "title", "detail", "code", "requestId"), _TEXT), "status": {"type": "integer"}}
)


_SUGGESTION = _object(
    {
        "score": _SHARE,
        "successRate": _SHARE,
        "interval": {**_list(_SHARE), "minItems": 2, "maxItems": 2},
        "n": {**_COUNT, "minimum": 1},
        "evidence": _list({**_TEXT, "pattern": UUID}),
    },
    capabilityId=_TEXT,
    tool=_TEXT,
)
SUGGESTIONS = _object(
    {"suggestions": _list(_SUGGESTION), "abstained": _FLAG, "model": _TEXT},
    path=_list(_SUGGESTION),
)
_RANKING = _object({"hit1": _SHARE, "hit5": _SHARE, "mrr": _SHARE})
_BIN = _object({"predicted": _SHARE, "observed": _SHARE, "n": _COUNT})
_CALIBRATION = _object({"brier": _SHARE, "calibrationError": _SHARE, "bins": _list(_BIN)})


def _task(figures: Schema) -> Schema:
    scorers: Schema = {"type": "object", "additionalProperties": figures}
    return _object({"n": _COUNT, "scorers": scorers, "winner": _TEXT, "reason": _TEXT})


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_EVALUATION = _object(
    {
        "heldOut": _COUNT,
        "fitted": _COUNT,
        "tasks": _object({"capabilities": _task(_RANKING), "tools": _task(_RANKING), "chance": _task(_CALIBRATION)}),
    }
)
_CHECKPOINT = _object(
    {
        "version": {**_COUNT, "minimum": 1},
        "trainedAt": _TIME,
        "traces": _COUNT,
        "lastRow": _COUNT,
        "seed": {"type": "integer"},
        "seconds": {"type": "number", "minimum": 0},
        "embedder": _TEXT,
    }
)
_LEARNER = _object(
    {
        "state": {**_TEXT, "enum": ["off", "waiting", "training", "absent"]},
        "why": _TEXT,
        "replay": _COUNT,
        "newTraces": _COUNT,
        "trainsAfter": _COUNT,
        "updatedAt": {"type": ["string", "null"], "format": "date-time"},
    }
)
_SURPRISE = _object({"traces": {**_COUNT, "minimum": 1}, "meanAbsTdError": _SHARE, "brier": _SHARE})
LEARNING = _object(
    {
        "model": {**_TEXT, "enum": ["counts", "shgat"]},
        "reason": _TEXT,
        "uses": _object({"capabilities": _FLAG, "tools": _FLAG, "chance": _FLAG}),
        "checkpoint": _or_null(_CHECKPOINT),
        "evaluation": _or_null(_EVALUATION),
        "learner": _LEARNER,
        "known": {"type": "object", "additionalProperties": _object({"things": _COUNT, "n": _COUNT})},
        "surprise": _list(_SURPRISE),
        "mostSurprising": _list(_object({"traceId": {**_TEXT, "pattern": UUID}, "priority": _SHARE})),
    }
)

_STANDING = _object(
    {
        "successes": {"type": "number", "minimum": 0, "description": "Each run weighs 0.98 of the one after it."},
        "failures": {"type": "number", "minimum": 0},
        "n": _COUNT,
        "nFailed": _COUNT,
        "keys": {**_COUNT, "description": "How many keys saw it."},
        "own": {**_FLAG, "description": "Whether the key that asks is one of them."},
    }
)
TRUST = _object(
    {"capability": _TEXT, "tools": _list(_object({"tool": _TEXT, "overall": _STANDING, "capability": _STANDING}))}
)


def components() -> dict[str, Schema]:
    """Schemas that bodies and answers refer to by name."""
    trace = TypeAdapter(Trace).json_schema(ref_template=_REFERENCE)
    wire = {**cast("dict[str, Schema]", trace.pop("$defs")), "Trace": trace}
    for model, rules in _RULES.items():
        for key, rule in rules.items():
            wire[model]["properties"][key] |= rule
    ours = {"StoredTrace": _STORED, "TraceSummary": _SUMMARY, "Capability": CAPABILITY, "Problem": _PROBLEM}
    return {**wire, **ours}
