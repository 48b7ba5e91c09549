"""Errors as RFC 9457 says them: `application/problem+json`, with a code for programs and one line for people.

    {"type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "...", "code": "RATE_LIMITED",
     "requestId": "..."}

A `Problem` is raised anywhere below a route; `respond` writes it. The codes are a contract: add, never rename. No
detail holds a value that was sent, a key, or anything of an exception that is not ours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

__all__ = ["PROBLEM_JSON", "Problem", "ProblemCode", "respond"]

PROBLEM_JSON = "application/problem+json"


class ProblemCode(StrEnum):
    """What went wrong with a request, or with one trace in it."""

    BAD_REQUEST = "BAD_REQUEST"
    BAD_CURSOR = "BAD_CURSOR"
    UNAUTHORIZED = "UNAUTHORIZED"
    FORBIDDEN = "FORBIDDEN"
    NOT_FOUND = "NOT_FOUND"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    CONFLICT = "CONFLICT"
    TOO_LARGE = "TOO_LARGE"
    TOO_MANY_TRACES = "TOO_MANY_TRACES"
    UNSUPPORTED_MEDIA_TYPE = "UNSUPPORTED_MEDIA_TYPE"
    MISDIRECTED = "MISDIRECTED"
    RATE_LIMITED = "RATE_LIMITED"
    TIMEOUT = "TIMEOUT"
    INTERNAL = "INTERNAL"
    UNAVAILABLE = "UNAVAILABLE"
    # of one trace
    VALIDATION_ERROR = "VALIDATION_ERROR"


_CODES = {
    400: ProblemCode.BAD_REQUEST,
    401: ProblemCode.UNAUTHORIZED,
    403: ProblemCode.FORBIDDEN,
    404: ProblemCode.NOT_FOUND,
    405: ProblemCode.METHOD_NOT_ALLOWED,
    408: ProblemCode.TIMEOUT,
    409: ProblemCode.CONFLICT,
    413: ProblemCode.TOO_LARGE,
    415: ProblemCode.UNSUPPORTED_MEDIA_TYPE,
    421: ProblemCode.MISDIRECTED,
    429: ProblemCode.RATE_LIMITED,
    500: ProblemCode.INTERNAL,
    503: ProblemCode.UNAVAILABLE,
}


class Problem(Exception):
    """A request that cannot be answered as asked.

    Attributes:
        status: the HTTP status.
        detail: one line for people; holds nothing that was sent.
        code: for programs; a `ProblemCode` or one of the store's reasons.
        headers: to answer with.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        code: str | None = None,
        retry_after_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code: str = code or _CODES.get(status, ProblemCode.BAD_REQUEST if status < 500 else ProblemCode.INTERNAL)
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            # Whole seconds, never too early.
            self.headers["retry-after"] = str(max(1, math.ceil(retry_after_s)))


def respond(problem: Problem, request_id: str) -> Response:
    """The problem as an answer."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "code": str(problem.code),
        "requestId": request_id,
    }
    text = json.dumps(body, separators=(",", ":"))
    return Response(text, problem.status, headers=problem.headers, media_type=PROBLEM_JSON)
