"""Columns of a table in a text: what the first line names, the lines below hold.

`user,password` and then `ann,hunter2`: no name stands beside the value. So a text whose first line names a column that
is a secret's or a person's is read as lines of cells; a cell counts if its line has as many cells as the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from belljar.tracing.masking import checks
from belljar.tracing.masking.keys import verdict
from belljar.tracing.masking.ruleset import SECRET, Span
from belljar.tracing.masking.work import spend

__all__ = ["PROBE", "spans"]

PROBE = (
    r"(?i)(?:pass(?:word|wd|phrase|code)?|pwd|secret|token|(?:api|access|[a-z])[ _-]?key|pin|phone(?:[ _-]?number)?"
    r"|mobile|fax|tel|ssn|security(?: number)?|card(?:[ _-]?number)?)s?\\*[\"']?\s{0,3}"
    r"(?:(?:[,;|\t]|\\+t)(?:[^\r\n\\]|\\+[\"t])*)?(?:[\r\n]|\\+[nr])|insert\s+into\s"
)
"""A column's name in the first of several lines; in serialized text, too."""

_HEAD = 2048
_LINES = 2000
_DELIMITERS = b",;\t|"
# A column is named by a word or three.
_NAME = re.compile(rb"[\w.-]+(?: [\w.-]+){0,2}")
_STRONG = re.compile(rb"(?i)(?:pass(?:word|wd|phrase|code)?|pwd|pin)\W*$")
_INSERT = re.compile(
    rb"(?i)\binsert\s{1,9}into\s{1,9}[^\s()]{1,200}\s{0,9}\((?P<names>[^()]{1,2000})\)\s{0,9}values\s{0,9}"
)
_SQL_CELL = re.compile(rb"'(?:[^'\\]|''|\\.)*'|[^,()' \r\n][^,()']*")
_ROW = re.compile(rb"[\s,]{0,9}\((?P<cells>(?:'(?:[^'\\]|''|\\.)*'|[^()'])*)\)")
_PASSWORD = "PASSWORD"  # noqa: S105 - what a column says
_LEAST = {"PHONE": 7, "SSN": 9, "CARD": 12}


def spans(text: bytes) -> Iterator[Span]:
    """Each cell below such a name, each value of an INSERT in such a column."""
    for match in _INSERT.finditer(text):
        yield from _inserted(text, match)
    head = text[:_HEAD].partition(b"\n")[0]
    if len(head) in (len(text), _HEAD):
        return
    for delimiter in _DELIMITERS:
        cells = head.rstrip(b"\r").split(bytes((delimiter,)))
        columns = {i: says for i, cell in enumerate(cells) if (says := _says(cell)) is not None}
        if len(cells) > 1 and columns:
            yield from _cells(text, len(head) + 1, bytes((delimiter,)), len(cells), columns)


def _inserted(text: bytes, match: re.Match[bytes]) -> Iterator[Span]:
    columns = [_says(cell.strip(b"`[]\\\r\n\t ")) for cell in match["names"].split(b",")]
    at = match.end()
    for _ in range(_LINES if any(columns) else 0):
        row = _ROW.match(text, at)
        if row is None:
            return
        spend(100)
        cells = list(_SQL_CELL.finditer(text, row.start("cells"), row.end("cells")))
        if len(cells) == len(columns):
            for says, cell in zip(columns, cells, strict=True):
                span = _cell(text, *cell.span(), says) if says is not None else None
                if span is not None:
                    yield span
        at = row.end()


def _says(cell: bytes) -> str | None:
    name = cell.strip(b" \"'")
    says = verdict(name.decode()) if _NAME.fullmatch(name) is not None else None
    return _PASSWORD if says == SECRET and _STRONG.search(name) is not None else says


def _cells(text: bytes, at: int, delimiter: bytes, count: int, columns: dict[int, str]) -> Iterator[Span]:
    quoted = rb"[ ]?\"[^\"\n]*\"[ ]?|[^\n" + re.escape(delimiter) + rb"]*"
    cell = re.compile(quoted)
    for _ in range(_LINES):
        below = text.find(b"\n", at) + 1 or len(text) + 1
        end = below - 1 - (text[below - 2 : below - 1] == b"\r")
        places = list[tuple[int, int]]()
        while (match := cell.match(text, at, end)) is not None:
            places.append(match.span())
            if match.end() >= end or len(places) > count:
                break
            at = match.end() + 1
        if len(places) == count:
            yield from (span for i, says in columns.items() if (span := _cell(text, *places[i], says)) is not None)
        at = below
        if at >= len(text):
            return


def _cell(text: bytes, begin: int, end: int, says: str) -> Span | None:
    """The cell without its quotes, if it can be what its column says; lists of words have a column `token`, too."""
    found = text[begin:end]
    inner = found.strip(b" \"'\r")
    begin += found.find(inner)
    if says in (SECRET, _PASSWORD):
        drawn = says == _PASSWORD or checks.mixed(inner, 0, len(inner))
        fits = len(inner) >= 4 and b" " not in inner and drawn and re.search(rb"\w", inner) is not None
        says = SECRET
    else:
        fits = len(checks.digits(inner)) >= _LEAST.get(says, 99) and re.search(rb"[A-Za-z]{4}", inner) is None
    return (begin, begin + len(inner), says) if fits else None
