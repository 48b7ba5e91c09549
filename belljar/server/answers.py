"""Answers: compact JSON written in the thread that made the value, a page's link, an entity tag's 304."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

__all__ = ["encoded", "json_answer", "linked", "tagged", "utc"]

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encoded(value: Any) -> bytes:
    """The value as JSON. For large ones this is work for a thread. What no UTF-8 can hold is escaped."""
    return _encode(value).encode("utf-8", "backslashreplace")


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that is JSON already."""
    return Response(body, status, headers=headers, media_type="application/json")


def linked(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that names the next page, with the same filters."""
    if cursor is None:
        return {}
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {"link": f'<{request.url.path}?{urlencode([*query, ("cursor", cursor)])}>; rel="next"'}


def tagged(request: Request, tag: str, body: bytes) -> Response:
    """The answer with its entity tag; 304 without a body for whoever has it."""
    headers = {"etag": f'"{tag}"', "cache-control": "private, no-cache", "vary": "x-api-key, authorization"}
    known = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if known & {f'"{tag}"', "*"}:
        return Response(status_code=304, headers=headers)
    return json_answer(body, headers=headers)


def utc(at: datetime | None) -> datetime | None:
    """A time given without an offset is meant in UTC."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
