"""Where a name alone cannot decide, its value and its neighbours do.

`session_id`, `key`, `auth` and `pin` mostly name what anyone may see, and now and then a secret; `token` and `password`
are now and then words of a language or a rule about a field. Each decision here needs the value to look the part.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, cast

from belljar.tracing.masking import checks
from belljar.tracing.masking.keys import HEADERS

__all__ = ["PROBE", "SCHEMA", "accused", "excused", "word"]

PROBE = (
    r"(?i)[\"']_?auths?\\*[\"']\s?:|[\"'](?:kty|pin)\\*[\"']\s?:|[\"'](?:[a-z0-9_.]*sess[a-z]*[ _.-]?id|sid"
    r"|connect\.sid)\\*[\"']\s?:|key\\*[\"']\s?:\s?\\*[\"'][A-Za-z0-9+/_=-]{20}|[\"']columns\\*[\"']\s?:|parameterkey|parameter_key"
)
"""Names whose values are looked at."""

_SESSION = re.compile(r"(?i)[a-z_.]*sess(?:ion)?[ _.-]?id|sid|connect\.sid")
_KEY = re.compile(r"(?i)(?:.*[ _.-])?key|.*[a-z0-9]Key")
_NO_SECRET = re.compile(
    r"(?i)(?:primary|foreign|public|cache|partition|sort|range|hash|idempotency|object|s3|r2|blob|file|dedup|route|"
    r"query|lookup|unique|index|group|translation|i18n|issue|project|row|natural|composite|storage|image|react)"
    r"[ _.-]?key"
)
_RANDOM = re.compile(r"[A-Za-z0-9+/_.=-]{20,}")
_JWK = frozenset(("d", "p", "q", "dp", "dq", "qi", "k"))
_TOKENS = frozenset(("lemma", "pos", "upos", "xpos", "logprob", "dep", "start_offset", "end_offset", "ner", "deprel"))
_RULES = frozenset(
    "minlength maxlength pattern format required description title minimum maximum min max type optional length "
    "nullable readonly writeonly message messages rules validators label placeholder hidden sensitive".split()
)
SCHEMA = _RULES | frozenset(
    "$schema $id $ref $defs $comment definitions properties items prefixItems anyOf oneOf allOf not minLength "
    "maxLength minItems maxItems uniqueItems additionalProperties patternProperties propertyNames readOnly writeOnly "
    "deprecated dependentRequired contentEncoding contentMediaType multipleOf exclusiveMinimum exclusiveMaximum".split()
)
"""Words of JSON Schema that hold no value of what they describe."""
# A length, a number of tries; not a PIN of six digits.
_MOST = 100_000
_MODES = frozenset(("include", "omit", "same-origin"))
_PATH = re.compile(r"[A-Za-z]:\\[\w .\\-]*|~?(?:/[\w.-]{1,32})+/?")
# {"cookie": "^0.7.1"}: what a package depends on.
_RELEASE = re.compile(r"[~^]?\d{1,4}\.\d{1,4}\.\d{1,6}(?:-[\w.]{1,20})?")
_PERSON = re.compile(r"[A-Z][a-z]+(?: [A-Z][a-z]+)*")
_SAID = re.compile(
    r"(?i)(?:(?:is|are|was|has|must|should|may|can|cannot|can't|does|not|too|field|needs?) [a-z ',]{2,80}[.!]?"
    r"|required|missing|invalid|incorrect|wrong|expired|optional|unknown|empty|forbidden|unset|null|none|string|text)"
)


def accused(name: str, value: Any, beside: Mapping[str, Any]) -> bool:
    """Whether a name that is none of a secret's stands over one."""
    if name in _JWK and "kty" in beside:
        return isinstance(value, str)
    if name.lower() == "pin":
        return type(value) in (int, str) and re.fullmatch(r"[0-9]{4,8}", str(value)) is not None
    if name == "auth" and isinstance(value, list):
        return _is_login(cast("list[Any]", value))
    if not isinstance(value, str):
        return False
    if name in ("auth", "_auth"):
        return _is_basic(value)
    if _SESSION.fullmatch(name) is not None:
        return len(value) >= 16 and " " not in value and checks.mixed(value.encode("ascii", "replace"), 0, len(value))
    return _KEY.fullmatch(name) is not None and _NO_SECRET.search(name) is None and _drawn(value)


def excused(name: str, value: Any, beside: Mapping[str, Any]) -> bool:
    """Whether a secret's name stands over none."""
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return bool(items) and all(key.lower() in _RULES and _is_rule(key.lower(), items[key]) for key in items)
    if not isinstance(value, str):
        return False
    if _RELEASE.fullmatch(value) is not None:
        return True
    match name.lower():
        case "token":
            return not _TOKENS.isdisjoint(beside) and len(value) <= 32 and not any(map(str.isdigit, value))
        case "credentials":
            return value in _MODES
        case "pat":
            return _PERSON.fullmatch(value) is not None
        case "pwd" | "oldpwd":
            return _PATH.fullmatch(value) is not None
        case _:
            return False


def word(name: str, value: str) -> bool:
    """Of two texts side by side: what is said about the first, or one more word like it."""
    if HEADERS.fullmatch(name) is not None or name.startswith("-"):
        return False
    return _SAID.fullmatch(value) is not None or (
        name.lower() == "token" and re.fullmatch("[a-z]{1,6}", value) is not None
    )


def _is_rule(name: str, value: Any) -> bool:
    """Whether what stands under `label` or `minLength` of a field is that, and no value of the field."""
    if isinstance(value, dict):
        return all(_is_rule(key.lower(), item) for key, item in cast("dict[str, Any]", value).items())
    if isinstance(value, list | tuple):
        return all(_is_rule(name, item) for item in cast("list[Any]", value))
    if not isinstance(value, str):
        return value is None or abs(value) < _MOST
    if name in ("pattern", "format", "type"):
        return len(value) < 16 or not checks.mixed(value.encode("ascii", "replace"), 0, len(value))
    words = value.split()
    plain = all(word.isdecimal() or not any(map(str.isdigit, word)) for word in words)
    return plain and (len(words) != 1 or value.istitle() or (value.islower() and len(value) < 12))


def _is_login(value: list[Any]) -> bool:
    """["user", "password"], as clients for HTTP take it."""
    return len(value) == 2 and all(isinstance(item, str) and item and " " not in item for item in value)


def _is_basic(value: str) -> bool:
    """`user:password` in base64, as package managers and container registries keep it."""
    try:
        plain = base64.b64decode(value, validate=True)
    except ValueError:
        return False
    return len(value) >= 8 and b":" in plain and plain.isascii()


def _drawn(value: str) -> bool:
    if len(value) > 512 or _RANDOM.fullmatch(value) is None or "." in value or value.count("/") > 2:
        return False
    kinds = (any(map(str.islower, value)), any(map(str.isupper, value)), any(map(str.isdigit, value)))
    return all(kinds) and checks.entropy(value.encode()) >= 4.0
