"""One text in, the same text with every find replaced. `Masker` holds what is costly to make, and nothing of a text."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from belljar.tracing.masking import checks, keys, pairs, ruleset, tables, views
from belljar.tracing.masking.known import Known
from belljar.tracing.masking.ruleset import SECRET, Span

__all__ = ["PLACEHOLDER", "REDACTED", "Masker", "Masks", "merged"]

REDACTED = "[REDACTED]"
PLACEHOLDER = re.compile(r"\[(?:REDACTED|(?:EMAIL|PHONE|SSN|CARD|IBAN|IP|PERSON|LOCATION)(?::[0-9a-f]{12})?)\]")
_MIN_TEXT = 4
# What a mask leaves beside it can be a find by itself, once; nothing we know of needs a third look.
_LOOKS = 3
_SECRET_KINDS = frozenset((SECRET, "KNOWN", "ERROR"))


class Masks:
    """What stands for a find; never any part of it."""

    def __init__(self, pseudonym_key: bytes | None) -> None:
        self._pseudonym_key = pseudonym_key

    def placeholder(self, kind: str, found: str) -> str:
        """With a key, equal values of a person have equal placeholders."""
        if kind in _SECRET_KINDS:
            return REDACTED
        if self._pseudonym_key is None:
            return f"[{kind}]"
        message = f"{kind}:{_normal(kind, found)}".encode("utf-8", "replace")
        return f"[{kind}:{hmac.new(self._pseudonym_key, message, hashlib.sha256).hexdigest()[:12]}]"

    def replaced(self, text: str, spans: list[Span], counts: Counter[str]) -> str:
        """The text with a placeholder for each span; they are in order and do not overlap."""
        pieces, last = list[str](), 0
        for begin, end, kind in spans:
            pieces += (text[last:begin], self.placeholder(kind, text[begin:end]))
            counts[kind] += 1
            last = end
        pieces.append(text[last:])
        return "".join(pieces)


class Masker(Masks):
    """Finds and replaces."""

    def __init__(self, known: Iterable[str], pseudonym_key: bytes | None) -> None:
        super().__init__(pseudonym_key)
        self._rules = ruleset.compiled()
        self._known = Known(known)
        rules = ruleset.load()
        probes = [rule.probe for rule in rules]
        self._pairs_from = len(probes)
        probes += [keys.probe(), *pairs.PROBES, tables.PROBE, views.PROBE]
        self._known_from = len(probes)
        confirm = {place: rule.confirm for place, rule in enumerate(rules) if rule.confirm}
        self._scan = ruleset.Scan(probes + self._known.probes, confirm)

    def suspects(self, serialized: str) -> bool:
        """Whether anything could be in it; if not, nothing is. `serialized` is JSON."""
        return bool(self._scan(views.shadow(serialized)))

    def text(self, text: str, counts: Counter[str]) -> str:
        """The text with every find replaced; `counts` grows by what was found."""
        if len(text) < _MIN_TEXT:
            return text
        for _ in range(_LOOKS):
            spans = self._found(text)
            if not spans:
                break
            text = self.replaced(text, spans, counts)
        return text

    def _found(self, text: str) -> list[Span]:
        shadow = views.shadow(text)
        spans = [_behind_question(span, text) for span in self._spans(shadow)]
        for view, places in views.views(shadow):
            spans += [(places[begin], places[end], kind) for begin, end, kind in self._spans(view)]
        if not spans:
            return []
        kept = [match.span() for match in PLACEHOLDER.finditer(text)] if "[" in text else []
        spans = [span for span in spans if not any(a <= span[0] and span[1] <= b for a, b in kept)]
        return merged([_around(span, kept) for span in spans if span[0] < span[1]])

    def _spans(self, shadow: bytes) -> Iterator[Span]:
        hits = self._scan(shadow)
        surroundings = known = False
        for hit in hits:
            if hit < self._pairs_from:
                yield from self._rules[hit].spans(shadow)
            elif hit < self._known_from:
                surroundings = True
            else:
                known = True
        if known:
            yield from self._known.spans(shadow)
        if surroundings:
            yield from pairs.spans(shadow)
            yield from tables.spans(shadow)


def _behind_question(span: Span, text: str) -> Span:
    """In the form that is matched, the sign of a query is what stands for a letter beyond ASCII."""
    begin, end, kind = span
    if kind != "EMAIL" or (at := text.find("@", begin, end)) < 0:
        return span
    return text.rfind("?", begin, at) + 1 or begin, end, kind


def _around(span: Span, kept: list[tuple[int, int]]) -> Span:
    """A find that cuts through a placeholder takes it whole: half of one would be found anew."""
    begin, end, kind = span
    for a, b in kept:
        if a < end and begin < b:
            begin, end = min(begin, a), max(end, b)
    return begin, end, kind


def merged(spans: list[Span]) -> list[Span]:
    """Without overlaps: a union is what its secret is, or its longest part."""
    merged = list[Span]()
    longest = 0
    for begin, end, kind in sorted(spans):
        if not merged or begin >= merged[-1][1]:
            merged.append((begin, end, kind))
            longest = end - begin
            continue
        first, last, present = merged[-1]
        wins = present not in _SECRET_KINDS and (kind in _SECRET_KINDS or end - begin > longest)
        longest = max(longest, end - begin)
        merged[-1] = (first, max(last, end), kind if wins else present)
    return merged


_MARKS = re.compile(r"[^0-9a-z]+")


def _normal(kind: str, found: str) -> str:
    """Equal values in different spelling are one: read as its readers would, in one form for each kind."""
    found = views.folded(found)
    if found.isascii():
        for view, _ in views.views(found.encode()):
            found = view.decode("latin-1")
    found = "".join(found.split()).lower()
    if kind in ("PHONE", "CARD"):
        return checks.digits(found.replace("(0)", "").encode("ascii", "replace")).decode().removeprefix("00")
    if kind in ("SSN", "IBAN"):
        return _MARKS.sub("", found)
    return _address(found) if kind == "IP" else found


def _address(found: str) -> str:
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        return found
