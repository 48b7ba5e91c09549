"""What a name says about its value: nothing, a secret, or a person's number. Decided once per name.

A name is read as words, whatever its style, and judged by its end: `db_password`, `apiKey`, `X-Auth-Token` name
secrets, `token_count`, `next_page_token`, `primary_key`, `author` and `max_tokens` do not. Names come from strangers,
so the memory of verdicts is bounded.
"""

from __future__ import annotations

import re
from functools import lru_cache

from belljar.tracing.masking import views
from belljar.tracing.masking.ruleset import SECRET, key_rules

__all__ = ["HEADERS", "probe", "verdict"]

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# Long names hold text, not a name.
_MAX_NAME = 128
HEADERS = re.compile(
    r"(?i)(?:proxy-)?authorization|(?:set-)?cookie2?|x-[a-z-]*(?:key|token|secret|auth|signature|password)[a-z-]*|api-?key"
)
"""Names of HTTP headers that carry credentials."""


@lru_cache(maxsize=4096)
def verdict(name: str) -> str | None:
    """SECRET, a kind of PII, or None."""
    if len(name) > _MAX_NAME:
        return None
    name = views.named(name)
    rules = key_rules()
    words = [word.lower() for word in _WORDS.findall(name)]
    if not words:
        return None
    if _is_secret(words):
        return SECRET
    while len(words) > 1 and (words[-1] in rules.values or words[-1].isdigit()):
        words.pop()
        if _is_secret(words):
            return SECRET
    return (
        rules.people.get(" ".join(words[-2:])) or rules.people.get(" ".join(words[-3:])) or rules.people.get(words[-1])
    )


def _is_secret(words: list[str]) -> bool:
    rules = key_rules()
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if f"{before} {last}" in rules.pairs:
        return True
    if last == "token":
        return before not in rules.not_before
    if words[:2] == ["tf", "token"]:  # TF_TOKEN_app_terraform_io
        return True
    if last == "key" and before.endswith("api"):  # rapidapi_key
        return True
    if last in rules.last:
        return last != "pass" or before not in ("test", "tests", "first", "second", "boarding", "low", "high", "by")
    return last.endswith(rules.joined)


def probe() -> str:
    """A condition on serialized text that holds wherever a name with a secret's verdict stands before its value."""
    rules = key_rules()
    words = {name.replace(" ", r"[ _.-]?") for name in (*rules.last, *rules.joined, *rules.people, *rules.pairs)}
    values = "|".join(sorted(rules.values))
    return (
        rf"(?i)(?:tf_token_\w{{1,80}}|{'|'.join(sorted(words))})(?:[ _.-]?(?:{values}|[0-9]+))*"
        r"(?:\]|\\+\]|[\\\"'`]|%22|&quot;){0,6}\s{0,3}(?:[:=,]|=>|[.?|+]{1,2}=|%3[AaDd]|\\+u003[AaDd])"
    )
