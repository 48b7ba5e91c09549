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

__all__ = [
    "always", "aws_secret", "card", "dated", "email", "entropy", "goes_on", "iban", "in_row", "ipv4", "ipv6", "isbn",
    "jwt", "luhn", "mixed", "next_start", "phone", "phone_named", "phone_national", "phone_us", "ssn", "ssn_named",
]  # fmt: skip

_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
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


def digits(text: bytes) -> bytes:
    """The digits alone."""
    return text.translate(None, _NOT_DIGITS)


def entropy(text: bytes) -> float:
    """Shannon entropy in bits per byte."""
    size = len(text)
    return -sum(n / size * math.log2(n / size) for n in Counter(text).values()) if size else 0.0


def mixed(text: bytes, begin: int, end: int) -> bool:
    """Looks drawn at random: letters and digits, and no byte too often."""
    found = text[begin:end]
    return _has_digit(found) and entropy(found) >= 3.0 and re.search(rb"[A-Za-z]", found) is not None


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


# Cards


def luhn(number: bytes) -> bool:
    """The check digit of ISO/IEC 7812."""
    odd = sum(number[-1::-2]) - 48 * len(number[-1::-2])
    even = sum(sum(divmod(2 * (digit - 48), 10)) for digit in number[-2::-2])
    return (odd + even) % 10 == 0


# Issuer ranges in use and the lengths they have. 1 (UATP) is left out: clocks count milliseconds and seconds there.
_ISSUERS = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    rb"|3(?:0[0-5]|[68]\d|9\d)\d{11}|3(?:0[0-5]|[68]\d)\d{13}|35\d{14}|35(?:2[89]|[3-8]\d)\d{13,15}"
    rb"|6(?:011|5\d\d|4[4-9]\d|22\d)\d{12,15}|62\d{14,17}|(?:2131|1800)\d{11}|220[0-4]\d{12,15}"
    rb"|(?:5018|5019|5020|5038|5[678]\d\d|6304|639\d|67\d\d)\d{8,15}|60\d{14}|8[12]\d{14}"
)
_GROUPED = re.compile(rb"\d+(?:[ .?/_-]+\d+)*")


def card(text: bytes, begin: int, end: int) -> bool:
    """A number of a known issuer with its check digit, not part of a longer one, grouped as people group cards."""
    if goes_on(text, end):
        return False
    found = text[begin:end]
    number = digits(found)
    if _ISSUERS.fullmatch(number) is None or len(set(number)) < 2 or not luhn(number):
        return False
    # Cards of 13 digits are of the past, article numbers of 13 digits are not.
    if len(number) == 13 and _ean(number):
        return False
    sizes = [len(group) for group in re.split(rb"[^0-9]+", found)]
    # Pairs are also how bytes are shown.
    return _card_groups(sizes) and not (max(sizes) == 2 and in_row(text, begin, end))


def _card_groups(sizes: list[int]) -> bool:
    """Fours, or as on two brands' cards; digits one by one. Order numbers and columns of a table are grouped, too."""
    fours = all(size % 4 == 0 for size in sizes[:-1]) and (sizes[-1] <= 4 or sizes[-1] % 4 == 0)
    return len(sizes) == 1 or fours or sizes in ([4, 6, 5], [4, 6, 4], [6, 13]) or max(sizes) <= 2


def _ean(number: bytes) -> bool:
    return sum((3 if i % 2 else 1) * (digit - 48) for i, digit in enumerate(number)) % 10 == 0


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
        15: "NO", 16: "BE", 18: "DK FO FI GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN",
        21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL SO",
        24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "FR GR IT MC MR SM BI DJ",
        28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC",
        33: "RU",
    }.items()
    for name in names.split()
}  # fmt: skip


def iban(text: bytes, begin: int, end: int) -> int:
    """The length of its country and remainder 1 by 97; what the pattern took beyond is not part of it."""
    found = re.sub(rb"[ ?-]", b"", text[begin:end]).upper().decode()
    length = _IBAN_LENGTHS.get(found[:2])
    if length is None or len(found) < length:
        return 0
    found = found[:length]
    if int("".join(str(int(c, 36)) for c in found[4:] + found[:4])) % 97 != 1:
        return 0
    return _after(text, begin, length)


def _after(text: bytes, begin: int, count: int) -> int:
    """Where `count` letters and digits from `begin` end; 0 if the word goes on."""
    end = begin
    while count:
        count -= text[end] in _WORD
        end += 1
    return 0 if text[end : end + 1].isalnum() else end


# Addresses

# What stands after the last dot of a file name, and yet is no top-level domain (or one nobody writes letters to).
_FILES = frozenset(
    b"png jpg jpeg gif svg webp ico bmp tiff css scss less js jsx mjs cjs ts tsx vue json yaml yml toml xml html htm "
    b"md txt log py pyc rb go java kt swift c h cpp hpp cs php sh bat ps1 sql csv tsv zip tar gz tgz bz2 xz whl jar "
    b"war exe dll so dylib wasm pdf doc docx xls xlsx ppt pptx mp3 mp4 mov avi lock map local localdomain internal "
    b"service socket timer target mount slice scope".split()
)


def email(text: bytes, begin: int, end: int) -> bool:
    """Not the user of a git remote, not a file name with a scale in it, no dots where none may be."""
    local, _, domain = text[begin:end].partition(b"@")
    if local == b"git" and text[end : end + 1] in b":/" and end < len(text):
        return False
    if domain.rpartition(b".")[2].lower() in _FILES:
        return False
    return local.strip(b".!#$%&'*/=^`{|}~?+-") != b""


def ipv4(text: bytes, begin: int, end: int) -> bool:
    """Four octets that are no version, no loopback and no mask."""
    if goes_on(text, end) or any(part != b"0" and part.startswith(b"0") for part in text[begin:end].split(b".")):
        return False
    octets = [int(part) for part in text[begin:end].split(b".")]
    if max(octets) > 255 or octets[0] in (0, 127, 255) or octets[0] == octets[1] == octets[2] == octets[3]:
        return False
    before = text[max(0, begin - 24) : begin]
    return _VERSION.search(before) is None or _TAG_END.search(before) is not None


_VERSION = re.compile(
    rb"(?i)(?:(?:^|[^?&\w])v|version|versions|ver\.?|release|build|rev|firmware|driver|fileversion|[<>=~^!]=|[<>~^]|\boid|section|sec\.|"
    rb"chapter|clause|[a-z]/)[\"'`]?\s*[:=]*\s*[\"'`(]?$"
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


def phone(text: bytes, begin: int, end: int) -> bool:
    """E.164: 8 to 15 digits after the plus, not all alike, not a sum."""
    found = text[begin:end]
    number = digits(_EXTENSION.split(found)[0]).removeprefix(b"00")
    if not 8 <= len(number) <= 15 or len(set(number)) < 3 or goes_on(text, end):
        return False
    # 00 alone opens numbers of all sorts; the plus says what it is.
    return found.startswith(b"+") or (len(number) >= 9 and re.search(rb"[ ?/()-]", found) is not None)


def phone_us(text: bytes, begin: int, end: int) -> bool:
    """Ten digits of the North American plan, not all alike."""
    number = digits(text[begin:end])
    number = number[1:] if number.startswith(b"1") else number
    return not goes_on(text, end) and len(set(number[:10])) > 2 and not in_row(text, begin, end)


def phone_named(text: bytes, begin: int, end: int) -> bool:
    """Something that calls itself a phone number has 7 to 15 digits."""
    found = text[begin:end]
    return 7 <= len(digits(found)) <= 15 and len(set(found)) > 2 and not goes_on(text, end) and not dated(found)


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
    ):
        return False
    return all(len(group) == 2 for group in groups) if len(groups[0]) == 2 and len(groups) > 3 else len(groups[0]) >= 3


def ssn(text: bytes, begin: int, end: int) -> bool:
    """Areas 000, 666 and 900 up, group 00 and serial 0000 were never given."""
    number = digits(text[begin:end])
    if goes_on(text, end) or len(number) != 9 or in_row(text, begin, end):
        return False
    return number[:3] not in (b"000", b"666") and number[:1] != b"9" and number[3:5] != b"00" and number[5:] != b"0000"


ssn_named = ssn
