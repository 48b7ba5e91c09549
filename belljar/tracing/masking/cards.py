"""Numbers of payment cards: the issuer, the check digit, and how people group them; also with an expiry behind.

A tenth of all numbers pass Luhn and half of them begin like a card. So the grouping has to be a card's, and what stands
before and behind must not make it a part of something else: a longer number, a row of a table, a dump of bytes.
"""

from __future__ import annotations

import re
from itertools import accumulate

__all__ = ["card", "digits", "luhn"]

_NOT_DIGITS = bytes(set(range(256)) - set(b"0123456789"))
# Issuer ranges in use and the lengths they have. 1 (UATP) is left out: clocks count milliseconds and seconds there.
_ISSUERS = re.compile(
    rb"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    rb"|3(?:0[0-5]|[68]\d|9\d)\d{11}|3(?:0[0-5]|[68]\d)\d{13}|35\d{14}|35(?:2[89]|[3-8]\d)\d{13,15}"
    rb"|6(?:011|5\d\d|4[4-9]\d|22\d)\d{12,15}|62\d{14,17}|(?:2131|1800)\d{11}|220[0-4]\d{12,15}"
    rb"|(?:5018|5019|5020|5038|5[678]\d\d|6304|639\d|67\d\d)\d{8,15}|60\d{14}|8[12]\d{14}"
)
_LEAST, _MOST = 12, 19
_WORDS = re.compile(rb"(?i)card|visa|amex|credit|debit|\bpan\b")
# Of these, columns and lists are made, too.
_LISTING = re.compile(rb"[\t\r\n,:;|+<]")
_USUAL = ([4, 4, 4, 4], [4, 6, 5], [4, 6, 4], [4, 4, 4, 4, 3])
_GROUPS = ([4, 6, 5], [4, 6, 4], [6, 13], [6, 10], [6, 9])
_FOUR_AFTER = re.compile(rb"[ .?/_-]{1,3}(\d{4})(?!\d)")
_FOUR_BEFORE = re.compile(rb"(?<!\d)\d{4}[ .?/_-]{1,3}$")
_CARD_AFTER = re.compile(rb"[ .?/_-]{1,3}(\d{4}(?:[ .?/_-]{1,3}\d{4}){3})(?!\d)")
_CARD_BEFORE = re.compile(rb"(?<!\d)(\d{4}(?:[ .?/_-]{1,3}\d{4}){3})[ .?/_-]{1,3}$")
_EXPIRY = re.compile(rb"20[2-4]\d|(?:0[1-9]|1[0-2])[2-4]\d")
_MORE = re.compile(rb"[ .?/_-]{1,3}\d")
_ZEROS = re.compile(rb"\.0{1,2}(?!\d)")
_CODE = re.compile(rb"-\d{1,4}(?![\w-])")


def digits(text: bytes) -> bytes:
    """The digits alone."""
    return text.translate(None, _NOT_DIGITS)


def luhn(number: bytes) -> bool:
    """The check digit of ISO/IEC 7812."""
    odd = sum(number[-1::-2]) - 48 * len(number[-1::-2])
    even = sum(sum(divmod(2 * (digit - 48), 10)) for digit in number[-2::-2])
    return (odd + even) % 10 == 0


def card(text: bytes, begin: int, end: int) -> int:
    """Where a card's number ends: as many of the groups as are one, whatever numbers follow; 0 if none are."""
    groups = [(begin + match.start(), begin + match.end()) for match in re.finditer(rb"\d+", text[begin:end])]
    if text[end : end + 1].isdigit():
        groups.pop()  # cut in two
    sizes = [b - a for a, b in groups]
    so_far = [*accumulate(sizes)]
    for count in range(len(groups), 0, -1):
        if not _LEAST <= so_far[count - 1] <= _MOST:
            continue
        stop = groups[count - 1][1]
        part = _MORE.match(text, stop) is not None
        if _is_number(digits(text[begin:stop]), part) and _stands_alone(text, begin, stop, sizes[:count], part):
            return stop
    return 0


def _is_number(number: bytes, part: bool) -> bool:
    if _ISSUERS.fullmatch(number) is None or len(set(number)) < 2 or not luhn(number):
        return False
    # Cards of 13 digits are of the past, article numbers of 13 digits are not.
    return not (part and len(number) < 14) and not (len(number) == 13 and _ean(number))


def _ean(number: bytes) -> bool:
    return sum((3 if i % 2 else 1) * (digit - 48) for i, digit in enumerate(number)) % 10 == 0


def _stands_alone(text: bytes, begin: int, stop: int, sizes: list[int], part: bool) -> bool:
    if not _begins(text, begin, sum(sizes)) or not _ends(text, stop, sizes):
        return False
    gaps = set(re.split(rb"\d+", text[begin:stop])[1:-1])
    if any(_LISTING.search(gap) for gap in gaps):
        return len(gaps) == 1 and sizes in _USUAL and not _listed(text, begin, stop, gaps.pop().strip(b" ") or b" ")
    if len(sizes) > 1 and max(sizes) <= 2:
        # Digit by digit; pairs are how bytes are shown.
        named = max(sizes) == 1 or _WORDS.search(text[max(0, begin - 32) : begin]) is not None
        return named and not part and not _listed(text, begin, stop, b" ")
    if len(sizes) == 1:
        return True
    if part or b"." in gaps:  # a row of numbers; a decimal point
        return sizes in _USUAL and not _in_fours(text, begin, stop)
    fours = all(size % 4 == 0 for size in sizes[:-1]) and (sizes[-1] <= 4 or sizes[-1] % 4 == 0)
    return (fours or sizes in _GROUPS) and not _in_fours(text, begin, stop)


def _begins(text: bytes, begin: int, size: int) -> bool:
    """A letter or a sign may stand before a number of the usual length: `id_`, `x`, `%B`, `#`; not a decimal point."""
    before = text[begin - 1 : begin] if begin else b""
    if not before or not (before.isalnum() or before in b"._-+$#"):
        return True
    if size not in (15, 16):
        return False
    if before == b".":
        return text[max(0, begin - 2) : begin - 1].isalpha()
    if before.isalnum():
        run = re.search(rb"[A-Za-z0-9]*$", text[max(0, begin - 13) : begin])
        return run is not None and run[0].isalpha() and len(run[0]) <= 12
    return re.search(rb"(?<![A-Za-z0-9])\d+.$", text[max(0, begin - 20) : begin]) is None


def _ends(text: bytes, stop: int, sizes: list[int]) -> bool:
    """Nothing of a word or a longer number behind it; a float's zeros, and a code where the grouping is a card's."""
    rest = text[stop : stop + 8]
    if rest[:1].isalnum() or (rest[:1] == b"_" and rest[1:2].isdigit()):
        return False
    if rest[:1] not in (b".", b"-", b"+") or not rest[1:2].isalnum():
        return True
    return _ZEROS.match(rest) is not None or (sizes in _USUAL and _CODE.match(rest) is not None)


def _listed(text: bytes, begin: int, stop: int, sign: bytes) -> bool:
    """Whether there is more of the list, or its bracket."""
    before, after = text[max(0, begin - 8) : begin], text[stop : stop + 8]
    sign = re.escape(sign)
    if re.match(rb"[ ]?%b[ ]?\d" % sign, after) is not None:
        return True
    return re.search(rb"(?:\d[ ]?%b[ ]?|\[\s?)$" % sign, before) is not None


def _in_fours(text: bytes, begin: int, stop: int) -> bool:
    """Whether it stands in a row of fours that are not cards and no expiry: one may be an expiry, two are a row."""
    after, expiry = 0, False
    if not _is_card(_CARD_AFTER.match(text, stop)):
        while after < 2 and (four := _FOUR_AFTER.match(text, stop)) is not None:
            expiry = expiry or (after == 0 and _EXPIRY.fullmatch(four[1]) is not None)
            after, stop = after + 1, four.end()
    near = text[max(0, begin - 32) : begin]
    before = 0
    if not _is_card(_CARD_BEFORE.search(near)):
        while before < 2 and (four := _FOUR_BEFORE.search(near)) is not None:
            before, near = before + 1, near[: four.start()]
    return before + after - expiry >= 2


def _is_card(found: re.Match[bytes] | None) -> bool:
    return found is not None and _is_number(digits(found[1]), part=False)
