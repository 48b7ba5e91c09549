"""JSON text in, plain values out, and back: the only place where foreign JSON is parsed.

Everything a guest says and everything a recording holds passes `parse`, which takes RFC 8259 and nothing beside it: no
duplicate keys (two readers would see two documents), no NaN or Infinity (nor a float like `1e999` that becomes one), no
lone surrogates (they cannot be written as UTF-8 again). What could hurt the parser itself is bounded before it starts:
size, nesting - a recursive parser must not meet its stack's end - and the number of lists and objects, because `[]` is
two bytes on the wire and sixty in memory. `dump` refuses what `parse` would not take, so a value makes the way back.

`canonical` is RFC 8785: the bytes that every implementation agrees on and that hashes are taken over. One deviation, on
purpose: integers beyond 2^53 are written digit by digit, not rounded to a double, because ids are such integers and two
different ids must not hash alike. Most values have no floats and no keys beyond the BMP; for those the C encoder's
sorted output is already canonical, and only the rest takes the slow way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder, JSONEncoder
from typing import Any, NoReturn, cast

import orjson

from belljar.limits import MAX_JSON_DEPTH
from belljar.rpc.world import JsonValue

__all__ = [
    "MAX_CONTAINERS",
    "MAX_NUMBER_CHARS",
    "JsonError",
    "canonical",
    "check_brackets",
    "compact",
    "dump",
    "parse",
    "sha256",
    "size",
    "text_value_sha256",
]

# What a CPython writes and reads back by default (sys.int_info.default_max_str_digits), on both sides of the border.
MAX_NUMBER_CHARS = 4300
# About 50 MB of empty lists and objects; an 8 MiB answer reaches it only with less than 32 bytes for each of them.
MAX_CONTAINERS = 1 << 18

_LONE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")
# A float, written compactly, follows a bracket, colon or comma. Inside a string this may match too: the slow way is
# slower, not wrong.
_FLOAT = re.compile(r"[\[:,]-?[0-9]+(?:\.|e[+-])")


# JSON as `dump` writes it, and without floats: no blanks, no escape that need not be. Only of what `parse` takes.
_COMPACT_TEXT = re.compile(
    r"""(?:[\[\]{}:,0-9-]++|true|false|null|"[^"\\]*+(?:\\(?:["\\bfnrt]|u00[01][0-9a-f])[^"\\]*+)*+")*+"""
)


# What orjson, which is eight times as fast, reads or writes in another form than the canonical one: floats, integers
# beyond 64 bits, keys beyond the BMP. In a string this may match too: the slow way is slower, not wrong.
_NOT_QUICK = re.compile(r"[0-9](?:[.eE]|[0-9]{17})|\\u")


class JsonError(ValueError):
    """Text that is not the JSON we take, or a value that cannot be written as such. One line; echoes no content."""


def parse(
    text: str | bytes,
    *,
    max_bytes: int,
    max_depth: int = MAX_JSON_DEPTH,
    max_containers: int = MAX_CONTAINERS,
    surrogates: bool = False,
) -> JsonValue:
    """The value of a JSON text; with `surrogates`, lone ones are taken, for values that are kept and not passed on.

    Raises:
        JsonError: malformed, or over a bound: `max_bytes` of UTF-8, `max_depth` levels, `max_containers` lists and
            objects, MAX_NUMBER_CHARS a number.
    """
    if isinstance(text, bytes):
        text = _decoded(text, max_bytes)
    elif size(text) > max_bytes:
        raise JsonError(f"longer than {max_bytes} bytes")
    check_brackets(text, max_depth, max_containers)
    try:
        value = _DECODER.decode(text)
    except JSONDecodeError as exc:
        raise JsonError(f"{exc.msg} (line {exc.lineno} column {exc.colno})") from None
    if not surrogates and "\\u" in text and _LONE_SURROGATE.search(text):
        dump(value)
    return value


def dump(value: JsonValue) -> str:
    """The value as compact JSON text that `parse` takes back.

    Raises:
        JsonError: not a JSON value, a cycle, NaN, a lone surrogate, or deeper than MAX_JSON_DEPTH.
    """
    text = _encode(_COMPACT, value)
    check_brackets(text, MAX_JSON_DEPTH, MAX_CONTAINERS)
    size(text)
    return text


def compact(text: str, *, max_bytes: int) -> str:
    """The same document as `dump` writes it, of a text that `parse` has taken before; mostly it is that already.

    Raises:
        JsonError: as `parse` does.
    """
    if (text[:1] == '"' and "\\" not in text) or _COMPACT_TEXT.fullmatch(text) is not None:
        return text
    return dump(parse(text, max_bytes=max_bytes))


def check_brackets(text: str, max_depth: int, max_containers: int) -> None:
    """Look at nothing but how deep a JSON text is nested and how many lists and objects it holds.

    Raises:
        JsonError: over one of the bounds.
    """
    if text.count("[") + text.count("{") <= min(max_depth, max_containers):
        return
    outside = _outside_strings(text)
    if outside.count("[") > max_containers:
        raise JsonError(f"more than {max_containers} lists and objects")
    # Each pass takes away the innermost pairs, all at once and in C: after max_depth passes nothing may be left.
    for _ in range(max_depth):
        if not outside:
            return
        outside = outside.replace("[]", "")
    if outside:
        raise JsonError(f"nested deeper than {max_depth} levels, or brackets that do not match")


def size(text: str) -> int:
    """Bytes of the text as UTF-8.

    Raises:
        JsonError: it holds a lone surrogate.
    """
    if text.isascii():
        return len(text)
    return len(_utf8(text))


def canonical(value: JsonValue) -> bytes:
    """The value in RFC 8785 canonical form, integers of any size written exactly.

    Raises:
        JsonError: not a JSON value, a cycle, NaN or a lone surrogate.
    """
    text = _encode(_SORTED, value)
    if type(value) is float or _has_float(text) or (not text.isascii() and _BEYOND_BMP.search(text)):
        text = _slowly(value)
    return _utf8(text)


def sha256(value: JsonValue) -> str:
    """Hex SHA-256 of the canonical form. Raises JsonError as `canonical` does."""
    return hashlib.sha256(canonical(value)).hexdigest()


def text_value_sha256(text: str, *, max_bytes: int) -> str:
    """`sha256` of the value of a text that `parse` has taken before. Raises JsonError as `parse` does."""
    if text.isascii() and _NOT_QUICK.search(text) is None:
        return hashlib.sha256(orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)).hexdigest()
    return sha256(parse(text, max_bytes=max_bytes))


# Parsing


def _decoded(data: bytes, max_bytes: int) -> str:
    if len(data) > max_bytes:
        raise JsonError(f"longer than {max_bytes} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise JsonError("not UTF-8") from None


_BRACKETS = bytes(range(256)).translate(bytes.maketrans(b"{}", b"[]"))
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _outside_strings(text: str) -> str:
    """The brackets outside strings, braces as brackets. Wrong only after the first error, where no parser gets to."""
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    outside = "".join(text.split('"')[::2])
    return outside.encode(errors="replace").translate(_BRACKETS, _NO_BRACKETS).decode()


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonError("an object with the same key twice")
    return value


def _int(digits: str) -> int:
    if len(digits) > MAX_NUMBER_CHARS:
        raise JsonError(f"a number longer than {MAX_NUMBER_CHARS} characters")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > MAX_NUMBER_CHARS:
        raise JsonError(f"a number longer than {MAX_NUMBER_CHARS} characters")
    number = float(digits)
    if number - number != 0.0:
        raise JsonError("a number beyond the range of a double")
    return number


def _constant(_name: str) -> NoReturn:
    raise JsonError("NaN and Infinity are not JSON")


_DECODER = JSONDecoder(object_pairs_hook=_object, parse_int=_int, parse_float=_float, parse_constant=_constant)

# Writing

_COMPACT = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_SORTED = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
_STRING = JSONEncoder(ensure_ascii=False)


def _encode(encoder: JSONEncoder, value: JsonValue) -> str:
    try:
        return encoder.encode(value)
    except RecursionError:
        raise JsonError("nested too deep") from None
    except TypeError:
        raise JsonError("holds something that is not a JSON value") from None
    except ValueError as exc:
        reason = "a value that contains itself" if "Circular" in str(exc) else "a number that JSON cannot hold"
        raise JsonError(reason) from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise JsonError("a lone surrogate") from None


# Canonical form, the slow way


def _has_float(text: str) -> bool:
    if "." not in text and "e+" not in text and "e-" not in text:
        return False
    return _FLOAT.search(text) is not None


def _slowly(value: JsonValue) -> str:
    try:
        return "".join(_canonical(value))
    except RecursionError:
        raise JsonError("nested too deep") from None


def _canonical(value: JsonValue) -> Iterator[str]:
    if type(value) is float:
        yield _es6(value)
    elif isinstance(value, dict):
        yield from _canonical_object(cast("dict[str, Any]", value))
    elif isinstance(value, list | tuple):
        yield from _canonical_list(cast("list[Any]", value))
    else:
        yield _STRING.encode(value)


def _canonical_object(value: dict[str, JsonValue]) -> Iterator[str]:
    separator = "{"
    for key in sorted(value, key=_utf16):
        yield f"{separator}{_STRING.encode(key)}:"
        yield from _canonical(value[key])
        separator = ","
    yield "}" if value else "{}"


def _canonical_list(value: list[JsonValue]) -> Iterator[str]:
    separator = "["
    for item in value:
        yield separator
        yield from _canonical(item)
        separator = ","
    yield "]" if value else "[]"


def _utf16(key: str) -> bytes:
    """Sorts as RFC 8785 wants it: by UTF-16 code units."""
    return key.encode("utf-16-be", "surrogatepass")


def _es6(number: float) -> str:
    """A double as ECMAScript's Number::toString writes it; Python finds the same shortest digits."""
    if number == 0.0:
        return "0"
    sign, (digits, point) = "-" if number < 0 else "", _shortest(abs(number))
    if len(digits) <= point <= 21:
        return f"{sign}{digits}{'0' * (point - len(digits))}"
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{fraction}e{point - 1:+d}"


def _shortest(number: float) -> tuple[str, int]:
    """(digits, point): the number is 0.digits times ten to the power of point."""
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = whole + fraction
    digits = padded.lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(padded) - len(digits))
    return digits.rstrip("0"), point
