"""Request bodies: read up to a bound and a deadline, unpacked up to another bound, parsed by the one strict parser.

`read` is what happens on the event loop: bytes, and nothing but counting them. `parse` is for a thread: gzip, msgpack,
JSON. A body that says gzip is unpacked piece by piece, so that a gigabyte of zeros ends at the bound and not in memory.
msgpack is turned into JSON text and goes through the same door as JSON: then there is one place that refuses NaN, lone
surrogates, deep nesting and the like, and no value that only one of the two can carry.

That door is `rpc.jsontext`. Before it stands a quick one for what nothing is wrong with: pydantic's parser, twice as
fast, takes a body if it can show that the other would give the same value, and has no say in anything else. The one
thing that parser cannot see is a key that comes twice; but then the value written again has fewer quotes than the body.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import anyio
import msgpack  # pyright: ignore[reportMissingTypeStubs]
import pydantic_core
from starlette.requests import Request

from belljar.limits import KIB
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue
from belljar.server.problems import Problem
from belljar.server.settings import Settings

__all__ = ["JSON", "MSGPACK", "Body", "parse", "read"]

JSON = "application/json"
MSGPACK = "application/msgpack"

_KINDS = {
    JSON: "json",
    MSGPACK: "msgpack",
    "application/x-msgpack": "msgpack",
    "application/vnd.msgpack": "msgpack",
}
_ENCODINGS = {"": False, "identity": False, "gzip": True, "x-gzip": True}
_LARGE = 256 * KIB
_LARGE_GZIP = 16 * KIB
_GZIP_BITS = 31  # a gzip header, the largest window
_CHARSETS = ("", "utf-8", "utf8")
# msgpack makes room for as many items as a list says it has; the longest list a trace of 256 KiB can hold fits.
_MAX_LIST = 1 << 17

# msgpack comes without types.
_unpackb = cast("Callable[..., object]", msgpack.unpackb)  # pyright: ignore[reportUnknownMemberType]
_as_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Body:
    """What was sent, as it travelled, and what it says it is."""

    data: bytes
    kind: str
    """`json` or `msgpack`."""
    gzipped: bool

    @property
    def large(self) -> bool:
        """Whether looking at it may take long."""
        return len(self.data) > (_LARGE_GZIP if self.gzipped else _LARGE)


async def read(request: Request, settings: Settings) -> Body:
    """The request's body, all of it.

    Raises:
        Problem: 400, 408, 413 or 415; what can be told from the head is told before a byte is read.
        ClientDisconnect: it ended early.
    """
    kind, gzipped = _kind(request.headers), _gzipped(request.headers)
    _check_length(request.headers, settings.max_body_bytes)
    data = bytearray()
    try:
        with anyio.fail_after(settings.body_timeout_s):
            async for chunk in request.stream():
                data += chunk
                if len(data) > settings.max_body_bytes:
                    _too_large(settings.max_body_bytes)
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {settings.body_timeout_s:g} s") from None
    return Body(bytes(data), kind, gzipped)


def parse(body: Body, settings: Settings) -> tuple[JsonValue, int]:
    """The value in a body, and its bytes unpacked. Takes as long as the body is large: not for the event loop.

    Raises:
        Problem: 400 or 413, with the place of the first fault where there is one, and nothing of the content.
    """
    data = _unpacked(body.data, settings.max_decoded_bytes) if body.gzipped else body.data
    if len(data) > settings.max_decoded_bytes:
        _too_large(settings.max_decoded_bytes)
    text = data if body.kind == "json" else _json_of(data, settings).encode("utf-8", "surrogatepass")
    try:
        return _quickly(text, settings), len(data)
    except ValueError:
        pass  # the other parser says what is wrong, or finds that nothing is
    try:
        value = jsontext.parse(
            text,
            max_bytes=2 * settings.max_decoded_bytes,
            max_depth=settings.max_depth,
            max_containers=settings.max_containers,
        )
        return value, len(data)
    except jsontext.JsonError as exc:
        raise Problem(400, f"the body is not one JSON value: {exc}") from None


# What the head says


def _kind(headers: Mapping[str, str]) -> str:
    media, _, parameters = headers.get("content-type", "").partition(";")
    kind = _KINDS.get(media.strip().lower())
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if kind is None or charset not in _CHARSETS:
        raise Problem(
            415, f"content-type must be {JSON} (UTF-8) or {MSGPACK}", headers={"accept": f"{JSON}, {MSGPACK}"}
        )
    return kind


def _gzipped(headers: Mapping[str, str]) -> bool:
    gzipped = _ENCODINGS.get(headers.get("content-encoding", "").strip().lower())
    if gzipped is None:
        raise Problem(415, "content-encoding must be gzip, or none", headers={"accept-encoding": "gzip"})
    return gzipped


def _check_length(headers: Mapping[str, str], most: int) -> None:
    length = headers.get("content-length")
    # h11 has checked that it is a number; a longer body than it says is no body of this request.
    if length is not None and int(length) > most:
        _too_large(most)


def _too_large(most: int) -> NoReturn:
    raise Problem(413, f"the body is longer than {most} bytes: send fewer traces at once")


# What the bytes say


def _unpacked(data: bytes, most: int) -> bytes:
    unpacker = zlib.decompressobj(_GZIP_BITS)
    try:
        out = unpacker.decompress(data, most + 1)
    except zlib.error:
        raise Problem(400, "the body is not gzip") from None
    if len(out) > most:
        _too_large(most)
    # Further members would each need a bound of their own, and nobody sends them.
    if not unpacker.eof or unpacker.unused_data:
        raise Problem(400, "the body is not one whole gzip member")
    return out


def _quickly(data: bytes, settings: Settings) -> JsonValue:
    """As `jsontext.parse`. Raises ValueError for more than that one would."""
    if len(data) > 2 * settings.max_decoded_bytes:
        raise ValueError
    jsontext.check_brackets(data.decode(), settings.max_depth, settings.max_containers)
    value = pydantic_core.from_json(data, allow_inf_nan=False)
    again = pydantic_core.to_json(value)
    # A number too long to be taken is short when written again, as is a body full of white space.
    shorter = len(data) - len(again) > jsontext.MAX_NUMBER_CHARS - 100
    if shorter or _quotes(again) != _quotes(data) or b"Infinity" in again:
        raise ValueError
    return value


def _quotes(text: bytes) -> int:
    """Of strings: those inside strings have a backslash before them. A backslash at a string's end, too, takes one
    away; spelled otherwise in the body than in what we write, there are more in the body and never fewer."""
    return text.count(b'"') - text.count(b'\\"')


def _json_of(data: bytes, settings: Settings) -> str:
    containers = 0

    def count() -> None:
        nonlocal containers
        containers += 1
        if containers > settings.max_containers:
            raise Problem(400, f"the body holds more than {settings.max_containers} lists and maps")

    def listed(items: list[Any]) -> list[Any]:
        count()
        return items

    def mapped(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        count()
        content = dict(pairs)
        if len(content) != len(pairs):
            raise Problem(400, "the body holds a map with the same key twice")
        return content

    try:
        value = _unpackb(
            data,
            strict_map_key=True,
            max_array_len=_MAX_LIST,
            max_map_len=_MAX_LIST,
            max_ext_len=0,
            ext_hook=_no_extension,
            list_hook=listed,
            object_pairs_hook=mapped,
        )
        return _as_json(value)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError):
        # `from None`: msgpack's exceptions carry the bytes they did not like.
        raise Problem(400, "the body is not msgpack that JSON could hold") from None


def _no_extension(_code: int, _data: bytes) -> object:
    raise ValueError("extension types are not used")
