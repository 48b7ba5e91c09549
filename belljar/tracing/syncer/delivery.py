"""One batch to one server: one request, and what its answer says about each trace.

A server is believed only as far as it names what we sent. Every answer becomes one of five things, and what cannot be
undone - a trace is acknowledged, or a dead letter - needs a server that says so clearly; anything else (HTML, half an
answer, 200 with nonsense, silence) means that the traces are sent again. A redirect is not followed, wherever it leads:
the key belongs to one origin. Answers come uncompressed, are read up to a bound, and only where they are needed.

The key stands in a header and nowhere else: no URL, no message and no log line of ours holds it or a body. Nothing is
taken from the environment: no proxy, no certificates, no .netrc.
"""

from __future__ import annotations

import gzip
import re
import ssl
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any, cast

import anyio
import httpx2

from belljar._version import __version__
from belljar.rpc import jsontext
from belljar.tracing.syncer.settings import Pace

__all__ = ["Answer", "Later", "Letter", "Parked", "Refused", "Results", "Server", "TooLarge", "Verdict", "retry_after"]

_MAX_ANSWER = 1 << 20
# Cut again to what is kept, but only after it was masked: a cut must not leave half a secret.
_MAX_TEXT = 2000
# Less than what servers keep an idle connection open for, or a batch would now and then meet its end.
_KEPT_OPEN_S = 4.0
_STATUSES = {"stored", "duplicate", "rejected", "retry"}
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_SECONDS = re.compile(r"[0-9]{1,300}")


@dataclass(frozen=True, slots=True)
class Letter:
    """A trace as it is sent."""

    trace_id: str
    body: bytes = field(repr=False)
    """Compact JSON in UTF-8, frozen."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a server does not take something. Foreign text: to be masked before it is kept, and shown with care."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Results:
    """The server said something of at least one trace. What stands in none of the three is to be sent again."""

    stored: frozenset[str]
    duplicates: frozenset[str]
    rejected: Mapping[str, Verdict]


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The request is too large for this server."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The request as a whole is wrong, in the server's eyes."""

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Parked:
    """Sending again makes no sense before somebody has changed something; says what."""

    reason: str
    redirected: bool = False


@dataclass(frozen=True, slots=True)
class Later:
    """It did not work this time; says why."""

    reason: str
    floor_s: float = 0.0
    """The server asks not to be asked again before."""


Answer = Results | TooLarge | Refused | Parked | Later


class Server:
    """One server, and our key for it. Made by `connect`."""

    def __init__(self, client: httpx2.AsyncClient, url: str, pace: Pace, clock: Callable[[], float]) -> None:
        self._client = client
        self._url = url
        self._pace = pace
        self._clock = clock

    @staticmethod
    @asynccontextmanager
    async def connect(
        url: str, api_key: str | None, pace: Pace, *, clock: Callable[[], float] = time.time
    ) -> AsyncGenerator[Server]:
        """The server at a URL as `Destination` normalizes it; nothing is opened before the first batch."""
        headers = {
            "accept": "application/json",
            "accept-encoding": "identity",
            "content-encoding": "gzip",
            "content-type": "application/json",
            "user-agent": f"belljar/{__version__}",
        }
        if api_key is not None:
            headers["x-api-key"] = api_key
        async with httpx2.AsyncClient(
            headers=headers,
            timeout=httpx2.Timeout(pace.request_s, connect=pace.connect_s),
            limits=httpx2.Limits(max_connections=1, keepalive_expiry=_KEPT_OPEN_S),
            follow_redirects=False,
            trust_env=False,
        ) as client:
            # What a server wants us to remember, we do not.
            client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
            yield Server(client, f"{url}/api/traces", pace, clock)

    async def post(self, letters: Sequence[Letter]) -> Answer:
        """Send a batch. Never raises, and never takes longer than `request_s`."""
        content = gzip.compress(b'{"traces":[' + b",".join(x.body for x in letters) + b"]}", 6, mtime=0)
        try:
            with anyio.fail_after(self._pace.request_s):
                return await self._post(content, {x.trace_id for x in letters})
        except (TimeoutError, httpx2.TimeoutException):
            return Later("the server does not answer in time")
        except httpx2.ConnectError as exc:
            return Later(_no_connection(exc))
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL, OSError, ValueError):
            # Their texts may hold parts of a URL or of an answer.
            return Later("the connection broke before the whole answer was there")

    async def _post(self, content: bytes, ids: set[str]) -> Answer:
        async with self._client.stream("POST", self._url, content=content) as response:
            status = response.status_code
            if status in (200, 207):
                return _results(await _body(response), ids)
            if status in (400, 422):
                return _refused(response, await _body(response))
            return self._by_status(status, response)

    def _by_status(self, status: int, response: httpx2.Response) -> Answer:
        if status == 413:
            return TooLarge()
        if status in (401, 403):
            return Parked(
                f"the server does not take this API key ({status}): check BELLJAR_API_KEY and tracing.cloud_url; "
                "what was captured for a key waits for that key"
            )
        if 300 <= status < 400:
            return Parked(
                f"the server sends us elsewhere ({status}), and the key goes nowhere else: correct tracing.cloud_url",
                True,
            )
        floor = retry_after(response.headers, self._clock())
        return Later(f"the server answered {status}", min(floor, self._pace.retry_after_cap_s))


def retry_after(headers: Mapping[str, str], now: float) -> float:
    """Seconds a server asks us to wait, 0 if it does not ask, or not in one of the two forms.

    A date is read against the server's own: its clock and ours need not agree. Without one, against `now`.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text) is not None:
        return float(text)
    until = _date(text)
    if until is None:
        return 0.0
    own = _date(headers.get("date", ""))
    return max(0.0, until - (now if own is None else own))


def _date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


async def _body(response: httpx2.Response) -> bytes | None:
    """The answer's body; None if it is longer than any answer to a batch, or encoded in a way we did not ask for."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        return None
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _MAX_ANSWER:
            return None
    return bytes(body)


def _results(body: bytes | None, ids: set[str]) -> Results | Later:
    answer = _object(body)
    items = None if answer is None else answer.get("results")
    if not isinstance(items, list):
        return Later("the server's answer is not one to a batch of traces")
    said: dict[str, str] = {}
    rejected: dict[str, Verdict] = {}
    for trace_id, item in _named(cast("list[Any]", items), ids):
        status = said.setdefault(trace_id, str(item.get("status")))  # the first word counts
        if status == "rejected":
            rejected.setdefault(trace_id, _verdict(item, "REJECTED"))
    if not set(said.values()) & _STATUSES:
        return Later("the server's answer says nothing of the traces sent")
    stored = frozenset(x for x, status in said.items() if status == "stored")
    duplicates = frozenset(x for x, status in said.items() if status == "duplicate")
    return Results(stored, duplicates, rejected)


def _named(items: list[Any], ids: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The items that are about a trace we sent."""
    for item in items:
        if isinstance(item, dict):
            found = cast("dict[str, Any]", item)
            if isinstance(trace_id := found.get("traceId"), str) and trace_id in ids:
                yield trace_id, found


def _refused(response: httpx2.Response, body: bytes | None) -> Refused | Later:
    if "html" in response.headers.get("content-type", "").lower():
        # A page for people: this was not the server we meant, but something that stands before it.
        return Later(f"the server answered {response.status_code} with a page for people")
    return Refused(_verdict(_object(body) or {}, f"HTTP_{response.status_code}"))


def _verdict(said: Mapping[str, Any], default: str) -> Verdict:
    code = said.get("code")
    words = (said.get(name) for name in ("message", "detail", "title", "error"))
    message = next((word for word in words if isinstance(word, str) and word), "")
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        code = default
    return Verdict(code, message[:_MAX_TEXT])


def _object(body: bytes | None) -> dict[str, Any] | None:
    try:
        value = None if body is None else jsontext.parse(body, max_bytes=_MAX_ANSWER)
    except jsontext.JsonError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _no_connection(exc: BaseException) -> str:
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return "the server's certificate is not one this machine trusts"
        cause = cause.__cause__ or cause.__context__
    return "the server cannot be reached"
