"""What a pattern cannot say: check digits, ranges, and the shape of things that only look alike.

Each check gets the text (one byte a character) and where the candidate lies, so that it may look
around it. True masks; a number masks up to there.
"""

from __future__ import annotations

import binascii
import ipaddress
import math
import re
from collections import Counter

from belljar.tracing.masking.cards import card, digits, luhn

__all__ = [
    "always", "aws_secret", "card", "dated", "email", "entropy", "goes_on", "iban", "in_iban", "in_row", "ipv4", "ipv6",
    "isbn", "jwt", "luhn", "mixed", "next_start", "phone", "phone_named", "phone_national", "phone_us", "ssn",
    "ssn_named", "whole",
]  # fmt: skip

_WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")


def always(_text: bytes, _begin: int, _end: int) -> bool:
    """No further condition."""
    return True


def next_start(text: bytes, begin: int, end: int) -> int:
    """Where to look on after a candidate failed: past its first run of letters or digits."""
    pos = begin + 1
    while pos < end and text[pos] in _WORD:
        pos += 1
    return min(pos, end) if pos > begin else end


def entropy(text: bytes) -> float:
    """Shannon entropy in bits per byte."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def mixed(text: bytes, begin: int, end: int) -> bool:
    """Looks drawn at random: letters and digits, and no byte too often."""
    found = text[begin:end]
    return _has_digit(found) and entropy(found) >= 3.0 and re.search(rb"[A-Za-z]", found) is not None


def whole(text: bytes, begin: int, end: int) -> bool:
    """Drawn at random, and no part of a longer word."""
    return mixed(text, begin, end) and text[end : end + 1] not in b"_-" and not text[end : end + 1].isalnum()


def _has_digit(found: bytes) -> bool:
    return re.search(rb"[0-9]", found) is not None


def aws_secret(text: bytes, begin: int, end: int) -> bool:
    """40 characters of base64, drawn at random; a hex digest is not."""
    found = text[begin:end]
    kinds = sum(re.search(pattern, found) is not None for pattern in (rb"[a-z]", rb"[A-Z]", rb"[0-9]"))
    return kinds == 3 and entropy(found) >= 4.0


def jwt(text: bytes, begin: int, end: int) -> bool:
    """The first part is base64url of the beginning of a JSON object."""
    head = text[begin:end].partition(b".")[0]
    try:
        plain = binascii.a2b_base64(head[: len(head) // 4 * 4].translate(bytes.maketrans(b"-_", b"+/")))
    except binascii.Error:
        return True
    return plain.startswith((b'{"', b"{ ", b"{\n"))


# Numbers of things


def isbn(number: bytes) -> bool:
    """The check digit of a book's number of ten digits."""
    return len(number) == 10 and sum((10 - i) * (digit - 48) for i, digit in enumerate(number)) % 11 == 0


def goes_on(text: bytes, end: int) -> bool:
    """Whether the word or number goes on behind `end`."""
    rest = text[end : end + 2]
    return bool(rest) and (rest[0] in _WORD or rest[0] == 0x5F or (rest[0] in b".-+" and rest[1:2].isalnum()))


# IBAN

# Length by country, from the registry that SWIFT keeps for ISO 13616.
_IBAN_LENGTHS = {
    name: length
    for length, names in {
        15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "AO CV GW LY MZ PT ST", 26: "DZ IR IS TR", 27: "BI CF CG CM DJ FR GA GQ GR IT KM MC MG MR SM TD",
        28: "AL AZ BF BJ BY CI CY DO GT HN HU LB MA ML NE NI PL SN SV TG", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for name in names.split()
}  # fmt: skip


def iban(text: bytes, begin: int, end: int) -> int:
    """The length of its country and remainder 1 by 97; what the pattern took beyond is not part of it."""
    if begin and text[begin - 1] in _WORD and text[max(0, begin - 4) : begin].lower() != b"iban":
        return 0
    found = re.sub(rb"[ ?.-]", b"", text[begin:end]).upper().decode()
    length = _IBAN_LENGTHS.get(found[:2])
    if length is not None and len(found) >= length and _is_97(found[:length]) and (stop := _after(text, begin, length)):
        return stop
    # Of other countries, or of a length that its country does not have: people make them up so.
    grouped = _FOURS.match(text, begin, end)
    stop = grouped.end() if grouped is not None else begin + len(text[begin:end].partition(b" ")[0])
    found = re.sub(rb"[ ?.-]", b"", text[begin:stop]).decode()
    sure = grouped is not None or _IBAN_WORD.search(text[max(0, begin - 16) : begin]) is not None
    if not (sure or sum(map(str.isdigit, found)) * 3 >= 2 * len(found)):
        return 0
    whole = len(found) >= 12 and found.isupper() and not text[stop : stop + 1].isalnum()
    return stop if whole and _is_97(found) else 0


_FOURS = re.compile(rb"[A-Z]{2}\d{2}(?P<gap>[ ?.-])(?:[A-Z0-9]{4}(?P=gap)){1,6}[A-Z0-9]{1,4}(?![A-Za-z0-9])")
_IBAN_WORD = re.compile(rb"(?i)iban\W{1,8}$")


def _is_97(found: str) -> bool:
    return int("".join(str(int(c, 36)) for c in found[4:] + found[:4])) % 97 == 1


def _after(text: bytes, begin: int, count: int) -> int:
    """Where `count` letters and digits from `begin` end; 0 if the word goes on."""
    end = begin
    while count:
        count -= text[end] in _WORD
        end += 1
    return 0 if text[end : end + 1].isalnum() else end


# Addresses

# What stands after the last dot of a file name, and is no top-level domain (or one nobody writes letters to).
_FILES = frozenset(
    b"png jpg jpeg gif svg webp ico bmp tiff css scss less js jsx mjs cjs ts tsx vue json yaml yml toml xml html htm "
    b"txt log pyc rb go java kt swift c h cpp hpp cs php bat ps1 sql csv tsv tar gz tgz bz2 xz whl jar "
    b"war exe dll wasm pdf doc docx xls xlsx ppt pptx mp3 mp4 avi lock map local localdomain internal "
    b"service socket timer target mount slice scope dylib".split()
)
# Top-level domains that end files, too; there a file is what has a scale, a version or a branch before it.
_FILES_OR_LANDS = frozenset(b"md py sh zip mov rs so".split())
_BRANCHES = re.compile(rb"(?i)(?:\d.*|v\d.*|main|master|latest|next|stable|head|dev|beta|alpha|canary)")


def email(text: bytes, begin: int, end: int) -> bool:
    """Not the user of a git remote, not a file name with a scale in it, no dots where none may be."""
    local, _, domain = text[begin:end].partition(b"@")
    if local == b"git" and text[end : end + 1] in b":/" and end < len(text):
        return False
    name, _, last = domain.lower().rpartition(b".")
    if last in _FILES or (last in _FILES_OR_LANDS and _BRANCHES.fullmatch(name.rpartition(b".")[2]) is not None):
        return False
    return local.strip(b".!#$%&'*/=^`{|}~?+-") != b""


def ipv4(text: bytes, begin: int, end: int) -> bool:
    """Four octets that are no version, no loopback and no mask."""
    if goes_on(text, end) or any(part != b"0" and part.startswith(b"0") for part in text[begin:end].split(b".")):
        return False
    octets = [int(part) for part in text[begin:end].split(b".")]
    if max(octets) > 255 or octets[0] in (0, 127, 255) or (len(set(octets)) == 1 and octets[0] < 8):
        return False
    before = text[max(0, begin - 24) : begin]
    if _CURVE.search(before) is not None:
        return False
    if _PRODUCT.search(before) is not None and not ipaddress.IPv4Address(bytes(octets)).is_private:
        return False
    return _VERSION.search(before) is None or _TAG_END.search(before) is not None


_VERSION = re.compile(
    rb"(?i)(?:(?:^|[^?&\w])v|version|versions|ver\.?|release|build|rev|firmware|driver|fileversion|[<>=~^!]=|[<>~^]|\boid|section|sec\.|"
    rb"chapter|clause|[a-z]/)[\"'`]?\s*[:=]*\s*[\"'`(]?$"
)

# Of a drawing's path: `2.83-2.12 3.51.98.32`.
_CURVE = re.compile(rb"\d\.\d+-\d?\.\d+[ ]$")
# What has versions; private addresses are those of their machines.
_PRODUCT = re.compile(
    rb"(?i)\b(?:python|pypy|java|jdk|jre|node|nodejs|ruby|perl|php|golang|rust|mobile|ios|android|windows|macos|linux|kernel|"
    rb"chrome|chromium|firefox|safari|edge|opera|electron|openssl|sdk|(?:up|down)graded?(?: to| from)?)[ :=]{1,3}$"
)

# `<td>10.1.2.3`: the end of a tag is no comparison.
_TAG_END = re.compile(rb"<[^<>]{1,22}>\s*$|^[^<>]{22,24}>$")


def ipv6(text: bytes, begin: int, end: int) -> bool:
    """An address the standard library takes, that is no loopback, time, hardware address or name in code."""
    found = text[begin:end].rstrip(b":") if not text[begin:end].endswith(b"::") else text[begin:end]
    rest = text[end : end + 1]
    if rest and (rest[0] in _WORD or rest in (b"_", b":")):
        return False
    try:
        address = ipaddress.IPv6Address(found.decode())
    except ValueError:
        return False
    groups = [group for group in found.split(b":") if group]
    if address.is_loopback or address.is_unspecified or not _has_digit(found):
        return False
    return len(groups) >= 3 or (len(groups) >= 2 and len(groups[0]) == 4)


# Numbers of people

_DATE = re.compile(
    rb"(?:19|20)\d\d[ .?/-](?:0[1-9]|1[0-2])[ .?/-](?:0[1-9]|[12]\d|3[01])"
    rb"|(?:^|\D)[0-3]?\d[ .?/-][0-3]?\d[ .?/-](?:19|20)\d\d(?:\D|$)"
)
_ROW_BEFORE = re.compile(rb"\d[ ]$|(?:^|[ ])[0-9A-Fa-f]{2}[ ][0-9A-Fa-f]{2}[ ]$")
_ROW_AFTER = re.compile(rb"[ ]\d|[ ][0-9A-Fa-f]{2}[ ][0-9A-Fa-f]{2}\b")


def dated(text: bytes) -> bool:
    """Whether a date is in it."""
    return _DATE.search(text) is not None


def in_row(text: bytes, begin: int, end: int) -> bool:
    """Whether what is grouped by spaces stands among more groups: a row of a table, a dump of bytes."""
    if b" " not in text[begin:end]:
        return False
    before, after = text[max(0, begin - 6) : begin], text[end : end + 7]
    return _ROW_BEFORE.search(before) is not None or _ROW_AFTER.match(after) is not None


_EXTENSION = re.compile(rb"[ex]")
_IBAN_BEFORE = re.compile(rb"(?:^|[^0-9A-Za-z])[A-Za-z]{2}\d{2}(?:[ .?-]?[A-Za-z0-9]{4}){1,7}[ .?-]?$")


def in_iban(text: bytes, begin: int) -> bool:
    """Whether groups of what has an IBAN's form, if not its check digits, stand before."""
    return _IBAN_BEFORE.search(text[max(0, begin - 42) : begin]) is not None


def phone(text: bytes, begin: int, end: int) -> bool:
    """E.164: 8 to 15 digits after the plus, not all alike, not a sum."""
    found = text[begin:end]
    number = digits(_EXTENSION.split(found)[0]).removeprefix(b"00")
    if not 8 <= len(number) <= 15 or len(set(number)) < 3 or goes_on(text, end):
        return False
    # 00 alone opens numbers of all sorts; the plus says what it is.
    if found.startswith(b"+"):
        return True
    return len(number) >= 9 and re.search(rb"[ ?/()-]", found) is not None and not in_iban(text, begin)


# Areas that were never given, and what answers of HTTP look like: `200 404 5000`.
_NO_AREA = re.compile(rb"[2-7]00|[2-9]11")
_SPACED = re.compile(rb"\d{3} \d{3} \d{4}")


def phone_us(text: bytes, begin: int, end: int) -> bool:
    """Ten digits of the North American plan, not all alike; where spaces alone group them, not three round counts."""
    found = text[begin:end]
    number = digits(found)
    number = number[1:] if number.startswith(b"1") else number
    if goes_on(text, end) or len(set(number[:10])) <= 2 or in_row(text, begin, end):
        return False
    if b"/" in found and b"-" not in found:
        return False
    rows = _SPACED.fullmatch(found) is not None or b" - " in found
    return not (rows and (_NO_AREA.fullmatch(number[:3]) or (number[4:6] == b"00" and number[7:10] == b"000")))


# Words that name other things, too: a cell of a table, a call of a function.
_UNSURE = re.compile(rb"(?i)\b(?:cell|call)[^0-9A-Za-z]{0,6}$")
_DOTTED = re.compile(rb"(?i)\.[a-z]+\.$")


def phone_named(text: bytes, begin: int, end: int) -> bool:
    """Something that calls itself a phone number has 7 to 15 digits."""
    found = text[begin:end]
    if not 7 <= len(digits(found)) <= 15 or len(set(found)) <= 2 or goes_on(text, end) or dated(found):
        return False
    if _DOTTED.search(text[max(0, begin - 12) : begin]):  # 10.1016/j.cell.2017.10.551
        return False
    return not (found.isdigit() and len(found) < 10 and _UNSURE.search(text[max(0, begin - 12) : begin]))


def phone_national(text: bytes, begin: int, end: int) -> bool:
    """Trunk 0 and 9 to 11 digits after it, grouped, and neither a date nor a time."""
    found = text[begin:end]
    groups = re.split(rb"[^0-9]+", found)
    size = len(digits(found))
    if (
        not 9 <= size <= 12
        or goes_on(text, end)
        or dated(text[max(0, begin - 5) : end])
        or len(groups) < 2
        or in_row(text, begin, end)
        or in_iban(text, begin)
    ):
        return False
    return all(len(group) == 2 for group in groups) if len(groups[0]) == 2 and len(groups) > 3 else len(groups[0]) >= 3


def ssn(text: bytes, begin: int, end: int) -> bool:
    """One that was given, and not a part of a row."""
    return ssn_named(text, begin, end) and not in_row(text, begin, end)


def ssn_named(text: bytes, begin: int, end: int) -> bool:
    """Areas 000, 666 and 900 up, group 00 and serial 0000 were never given."""
    number = digits(text[begin:end])
    if goes_on(text, end) or len(number) != 9:
        return False
    return number[:3] not in (b"000", b"666") and number[:1] != b"9" and number[3:5] != b"00" and number[5:] != b"0000"
