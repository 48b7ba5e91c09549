"""Secrets that only their surroundings give away: `password = x`, headers, URLs with a password, options of a command.

The name decides (`keys`), then the value is looked at, because code and prose have such names too: `token = get()`,
`password: str`, `the token: expired`. What is quoted is a value; what is not must look like one. Every pattern here
begins at a fixed sign or at the start of a word and is bounded, so that hostile text costs no more than other text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from belljar.tracing.masking import checks, hints
from belljar.tracing.masking.keys import HEADERS, verdict
from belljar.tracing.masking.ruleset import SECRET, Span
from belljar.tracing.masking.work import spend

__all__ = ["PROBES", "spans"]

PROBES = (
    r"://[^\s/\"<>?#@]{0,200}:[^\s/\"<>?#]{1,200}@|://[A-Za-z0-9_.-]{16,}@|://[^\s\"<>@/:]*:[^\s\"<>@]*[/?#][^\s\"<>@]*@",
    r"(?i)bearer(?:[ +]|%20)+[A-Za-z0-9_~/.-]|basic(?:[ +]|%20)+[A-Za-z0-9+/]{8}",
    r"(?i)--?[a-z-]*(?:pass|pwd|token|secret|key|auth|user|cookie)[a-z-]*[ \\\"',]",
    r"-u(?:[ =]|\\+n|\s)?(?:\\*[\"'],\s{0,3})?\\*[\"']?[^\s:\"'\\]{1,64}:[^\s\"'\\]|-u\\*[\"'],",
    (
        r"(?i)(?:password|passphrase|passcode|passwd|pwd|pw|_pass|secret|token|key|pin|credential)s?(?:\\*[\"'`])?"
        r"(?: is| was| to| by| for| of| (?:provided|given|supplied|received|used|found|rejected|specified)|>"
        r"|[ \t]+\\*[\"'])"
    ),
    r"(?i)identified by|machine [^ ]{1,80} login|_auth|sshpass|[;,][ ]*pw[ ]*[:=]",
    (
        r"(?i)(?:password|passphrase|passcode|passwd|pwd|secret|token|key|credential)s?"
        r"(?:\\*[\"'][ ]|[ ]*(?:[.?|+]|: ?(?:&(?:'\w{1,12} )?)?[\w.<>\[\]?]{1,40}|[ ][\w.*\[\]]{1,30})[ ]*="
        r"|[ ]+[A-Za-z0-9+/_-]{16})"
    ),
    r"(?i)(?:password|passphrase|passwd|pwd|secret|token|key|credential)s?\\*[\"']?(?:\s|\\+[nr])+value\\*[\"']?:",
    r"(?i)-p[^\s-]|sshpass|login [^\n]{0,80}-p|redis-cli|zip [^\n]{0,80}-P|password\(|type=\\*[\"']?password",
    r"(?:[ ]-b|--cookie)[ =]\\*[\"']?[A-Za-z_]",
    r"(?i)securestring|basicauth\(|digestauth\(|auth ?= ?\(|(?:seed|recovery) (?:phrase|words)|mnemonic",
    r"(?i)(?:password|passwd|secret|token|key|pin|contrase\?a|wort)\?[^\s=&?]{6}|contrase\?a",
    hints.PROBE,
)
"""Conditions for the scan, beside the names themselves."""

_PAIR = re.compile(
    rb"(?<![\w.-])(?:--?)?(?P<key>(?:[A-Za-z]{2,14} )?[A-Za-z_$@][\w.$-]{0,80})(?P<sep>\\{0,8}[\"'`]?\]?\s{0,3}"
    rb"(?:=>|:{1,3}=|[.?|+]{1,2}=|={1,3}|:(?:[ ]?[|>][+-]?(?:\r?\n|\\n))?|,(?=\s{0,3}\\{0,8}[\"'])|>(?!=))\s{0,12})"
)
# `var token string = "x"`, `let token: Secret<string> = "x"`: between a name and its value stands a type.
_TYPED = re.compile(
    rb"(?<![\w.-])(?P<key>[A-Za-z_$][\w$]{0,80})"
    rb"(?:[ ]?:[ ]?(?:&(?:'\w{1,12}[ ])?)?[\w.<>\[\]?|]{1,40}|[ ][\w.*\[\]]{1,30})\s?=\s?"
    rb"[@bruf]{0,2}\\{0,8}(?P<quote>[\"'`])(?P<value>[^\"'`\r\n]{1,4096}?)\\{0,8}(?P=quote)"
)
_ENV = re.compile(
    rb"(?<![\w.-])(?:ENV|ARG|setenv|setx|set)[ ]+(?P<key>[A-Za-z_]\w{0,80})[ ]+(?P<value>[^\s\"'=&|]{6,1024})"
)
_ATTRIBUTE = re.compile(
    rb"(?i)\b(?:key|name|id)\s?=\s?\\{0,8}(?P<quote>[\"'])(?P<key>[\w.:-]{1,80})\\{0,8}(?P=quote)[^<>]{0,80}?"
    rb"\bvalue\s?=\s?\\{0,8}(?P=quote)(?P<value>[^\"'<>\r\n\\]{1,4096})"
)
_QUOTED = re.compile(
    rb"[@$bruf]{0,2}(?P<quote>\\{0,8}(?:\"{3}|'{3}|[\"'`]))(?P<value>.{0,16384}?)(?P=quote)", re.DOTALL
)
_OPEN = re.compile(rb"[@$bruf]{0,2}\\{0,8}[\"'`](?P<value>[^\"'`\r\n\\),;\]}][^\"'`\r\n]{0,16384})")
_BARE = re.compile(rb"[^\s\"'`,;&<>)}\]]{1,16384}")
_LINE = re.compile(rb"[^\s\"'`&<]{1,16384}")
_AUTH = re.compile(
    rb"(?i)\\{0,8}[\"'`]?(?P<value>(?:digest|aws4-hmac-sha256|oauth|hawk|signature)[ ][^\r\n]{1,16384}"
    rb"|(?:[A-Za-z][\w-]{1,20}[ +]{1,2})?[^\s\"'`,;\\]{4,16384})"
)
_CHALLENGE = re.compile(rb"(?i)[a-z-]{4,12} realm=")
_COOKIE = re.compile(rb"\\{0,8}[\"'`]?(?P<value>[^\s=\"'`]{1,256}=[^\r\n\"'`]{0,16384})")
_NAMED_VALUE = re.compile(rb"\s{0,3}\\{0,8}[\"']value\\{0,8}[\"']\s{0,3}:\s{0,3}", re.IGNORECASE)
_URL = re.compile(rb"://(?P<value>[^\s/\"'<>?#]{1,512})@")
_URL_SLASHED = re.compile(
    rb"://(?P<value>[^\s\"'<>@/:]{0,128}:(?!\d{1,5}/)[^\s\"'<>@]{1,256})@(?=[A-Za-z0-9.-]+(?:[:/]|$))"
)
_BEARER = re.compile(rb"(?i)\b(?:bearer|token)[ +]{1,3}(?P<value>[A-Za-z0-9._~+/=-]{8,})")
_BASIC = re.compile(rb"(?i)\bbasic[ +]{1,3}(?P<value>[A-Za-z0-9+/]{8,}={0,2})")
_OPTION = re.compile(
    rb"(?<![\w-])--?(?P<key>[A-Za-z][\w-]{1,40})[ ]{1,3}(?P<rest>\\{0,8}[\"']?)(?P<value>[^\s\"'\\-][^\s\"'\\]{0,1024})"
)
_USER = re.compile(
    rb"(?<![\w-])(?:-u|--user|--proxy-user)(?:\\{0,8}[\"'],\s{0,3}|[ =]|\s{1,3})?"
    rb"\\{0,8}[\"']?(?P<value>[^\s:\"'\\]{1,128}:[^\s\"'\\]{1,256})"
)
_PROSE = re.compile(
    rb"(?i)(?P<key>password|passphrase|passcode|passwd|secret|token|(?:api|private|access|secret)[ _-]?key"
    rb"|\b(?:key|pwd|pw|pin)|_(?:key|pwd|pin|pass))"
    rb"(?: code)?(?: (?:for|of) [\w.@-]{1,40})?(?: (?:provided|given|supplied|received|used|found|rejected|specified))?"
    rb"(?: (?:is|was)(?: set)?(?: to)?(?: now)?:?| to:?|:(?=[ ])|[ \t])[ ]?"
    rb"\\{0,8}(?P<quote>[\"'`]?)(?P<value>[^\s\"'`\\]{4,256})"
)
_SQL = re.compile(rb"(?i)\b(?:identified by|password|with password)[ ]+\\{0,8}'(?P<value>[^'\r\n]{1,256})'")
_YAML = re.compile(
    rb"\bname\\{0,8}[\"']?[ ]?:[ ]{0,3}\\{0,8}[\"']?(?P<key>[\w.-]{1,80})\\{0,8}[\"']?,?\s{1,40}(?:\\{0,8}[\"'])?value"
    rb"\\{0,8}[\"']?[ ]?:[ ]{0,3}\\{0,8}[\"']?(?P<value>[^\s\"'\\]{3,4096})"
)
_TOOL = re.compile(
    rb"\b(?:(?:mysql|mariadb)[a-z-]{0,12}[ ](?:[^\n|;&]{0,200}?[ ])?-p|7z[ ][^\n|;&]{0,80}?[ ]-p"
    rb"|(?:sshpass|(?:docker|podman|nerdctl)[ ]login)[ ](?:[^\n|;&]{0,200}?[ ])?-p[ ]?"
    rb"|redis-cli[ ](?:[^\n|;&]{0,200}?[ ])?-a[ ]|(?:un)?zip[ ](?:[^\n|;&]{0,200}?[ ])?-P[ ])"
    rb"\\{0,8}[\"']?(?P<value>[^\s\"'\\-][^\s\"'\\]{2,256})"
)
# npm's `_auth`: user and password in base64.
_NPM = re.compile(rb"\b_auth\s?=\s?\\{0,8}[\"']?(?P<value>[A-Za-z0-9+/=]{8,})")
_CURL_COOKIE = re.compile(
    rb"(?:\bcurl(?:[ ][^\n|;&]{0,200}?)?[ ]-b|--cookie)[ =]\\{0,8}[\"']?(?P<value>[\w.-]{1,80}=[^\s\"'\\]{6,4096})"
)
_CALL = re.compile(
    rb"(?i)(?:\bpassword\(|securestring(?: -string)? +|(?:basic|digest)auth\([^,()\n]{1,100},\s?"
    rb"|\bauth ?= ?\(\s?\\{0,8}[\"'][^\"'\n]{1,100}[\"'],\s?)"
    rb"\\{0,8}(?P<quote>[\"'])(?P<value>[^\"'\r\n]{1,256}?)\\{0,8}(?P=quote)"
)
_INPUT = re.compile(
    rb"(?i)type=\\{0,8}[\"']?password\\{0,8}[\"']?[^<>]{0,200}?\bvalue=\\{0,8}(?P<quote>[\"'])(?P<value>[^\"'<>\\]{1,256})"
)
_SEED = re.compile(
    rb"(?i)\b(?:(?:seed|recovery) (?:phrase|words)|mnemonic(?: phrase)?)\\{0,8}[\"']?(?: is|\s?[:=])\s{0,3}"
    rb"\\{0,8}[\"']?(?P<value>[a-z]{3,8}(?:[ ,]{1,2}[a-z]{3,8}){11,23})"
)
# A colon of another script is a question mark here.
_WIDE = re.compile(
    rb"(?i)\b(?:password|passwd|passwort|kennwort|secret|token|(?:api[ _-]?)?key|pin|contrase\?a)(?:\?|\s?[:=]\s?)"
    rb"(?P<value>[^\s=&?\"'\\,;<>]{6,256}+)"
    rb"(?![^\s\"',;\\])"
)
_ATTRIBUTED = re.compile(rb"(?i)\b(?:name|key|id|class|type)\s?=\s?\\{0,8}[\"']$")
_TAG = re.compile(rb">\s{0,40}(?P<value>[^<>\s][^<>\r\n]{0,16384}?)\s{0,40}</")
_PLACEHOLDER = re.compile(rb"\[(?:REDACTED|EMAIL|PHONE|SSN|CARD|IBAN|IP|PERSON|LOCATION)(?::[0-9a-f]{12})?\]")
_REFERENCE = re.compile(
    rb"\$\{?[A-Za-z_][\w.:-]*\}?|\$\(.*|%[A-Z_]+%|%[sdr]|\{\{?[\w\s.$|()'/:,\[\]-]*\}{0,2}|[*x.X#_-]+"
    rb"|(?:<|&lt;?)[\w -]+(?:(?:>|&gt;?)(?::<[\w -]+>)?)?\]*|[:@][a-z_]{1,24}|\$\d{1,2}"
    rb"|[\^~]?\d{1,4}(?:\.\d{1,6}){2}(?:-[\w.]{1,20})?|(?:\$\{[^{}]*\}[^${}]{0,3})+"
    rb"|\[[\w\s.,:'-]*\]?"
    rb"|(?:process\.env|os\.environ|os\.getenv|env|ENV|config|settings|self|this|args|options|opts|params|secrets|vars?|ctx|request|req)[.\[(].*"
)
# `password = decode(raw)`, `password: Annotated[str]`: code.
_CALLED = re.compile(rb"[A-Za-z_][\w.]*[(\[]")
# What follows a quote that closed: `"token=" + repr(x)`, `getpass("Password: "),`.
_CLOSED = re.compile(rb"\s*(?:[)\]},;]+(?:\s|$)|[+%&|][ ]|\.\w+\()")
_IDENTIFIER = re.compile(rb"[A-Za-z_$][A-Za-z_$]*(?:(?:\.|->|::)[A-Za-z_$][\w$]*)*[?!]?[.:]?")
_WORDS = re.compile(rb"_?(?:[A-Z]{0,4}[a-z]{2,}|[A-Z]{2,6}(?=[A-Z_]|$)|[_.-])+")
# `PWD=/home/bob` is where a shell stands.
_FOLDER = re.compile(rb"~?(?:/[\w.-]{1,32}){1,16}/?")
_STRONG = re.compile(r"(?i)(?:pass(?:word|wd|phrase|code)?|pwd|pin|cvv2?|cvc|otp|mnemonic)s?[\W_0-9]*$")
# Units: a match of some sign; and how far a value is read.
_SIGN = 50
_MAX_VALUE = 16384
_STOP = frozenset(
    (
        b"none null nil true false undefined empty unknown missing required optional invalid incorrect wrong "
        b"expired revoked valid changed reset hidden masked redacted disabled enabled yes no str string int "
        b"integer number bool boolean bytes any object array list dict function text varchar char secretstr "
        b"password passwd pwd token secret key username user must should cannot can is was are the a an and or "
        b"not for of in to too your my our their with from this that it protected manager policy field input "
        b"prompt hash length based here required. field. const let var async await new return default example "
        b"changeme-not"
    ).split()
)
_SCHEMES = frozenset(
    b"bearer basic token apikey api-key digest aws4-hmac-sha256 oauth hawk signature negotiate ntlm ssws".split()
)
# Of the words a name stands before in prose, these introduce no value.
_HASHED = re.compile(rb"[0-9.]{1,5}")


def spans(text: bytes) -> Iterator[Span]:
    """Every secret that its surroundings name."""
    spend(5 * len(text))
    covered = 0
    for match in _PAIR.finditer(text):
        # A value that begins within the last one ends with it; only a header's may go on.
        if match.end() < covered and HEADERS.fullmatch(match["key"].decode()) is None:
            continue
        found = _pair(text, match)
        if found is not None:
            covered = max(covered, found[1])
            yield (*found, SECRET)
    for pattern, fits in _SIGNS:
        for match in pattern.finditer(text):
            spend(_SIGN)
            if fits(match):
                yield (*match.span("value"), SECRET)


def _pair(text: bytes, match: re.Match[bytes]) -> tuple[int, int] | None:
    key, sep = match["key"].decode(), match["sep"]
    if verdict(key) != SECRET:
        return None
    # `.../pg1R2e977pw== ok`: a comparison has a space on both sides or on none; this is the end of base64.
    if sep.startswith(b"==") and (begins := text[match.start() - 1 : match.start()]) and begins in b"+/":
        return None
    found = _value(text, match.end(), key, sep, match.start())
    # What follows may have been read to its far end, whether it was taken or not.
    spend(_SIGN + min(len(text) - match.end(), _MAX_VALUE) // 8)
    return found if found is not None and found[1] > found[0] else None


def _value(text: bytes, at: int, key: str, sep: bytes, begin: int) -> tuple[int, int] | None:
    if b"," in sep or (b">" in sep and b"=>" not in sep and b":" not in sep):
        return _listed(text, at, key, sep, begin)
    short = key.rpartition(" ")[2]
    if HEADERS.fullmatch(short):
        found = _header(text, at, short)
        if found is not None:
            return found
    quoted = _QUOTED.match(text, at) or _OPEN.match(text, at)
    if quoted is not None:
        value = quoted["value"]
        # `token => "x"` can be a function of a token.
        arrow = sep.strip() == b"=>" and not checks.mixed(value, 0, len(value))
        if b"\n" in sep and b"=" not in sep and text[quoted.start("value") - 3 : quoted.start("value")] == b'"""':
            return None  # a docstring below `-> PrivateKey:`
        if b"==" in sep and _WORDS.fullmatch(value) is not None:
            return None
        fits = _is_value(value) and value.lower() not in _STOP and not arrow and not _is_named(value, key)
        return quoted.span("value") if fits and _CLOSED.match(value) is None else None
    return _bare(text, at, key, sep, begin)


def _is_named(value: bytes, key: str) -> bool:
    """`jwt: "JWT"`, `accesskey="p"`: one more name of it, and a key on the keyboard."""
    if _STRONG.search(key) is not None:
        return False
    if len(value) < 2 or (b"." in value and _WORDS.fullmatch(value) is not None):
        return True
    bare = value.translate(None, b"_.-").lower()
    return len(bare) >= 3 and bare.isalpha() and bare.decode() in re.sub(r"[^a-z]", "", key.lower())


def _listed(text: bytes, at: int, key: str, sep: bytes, begin: int) -> tuple[int, int] | None:
    """After a comma only a header's value stands, or `"value":` and then it; after `>` the content of an element."""
    if b">" in sep and b"=" not in sep:
        if b'"' in sep or b"'" in sep:  # the end of an attribute, which may say what the element is
            named = _ATTRIBUTED.search(text[max(0, begin - 16) : begin]) is not None
        else:
            named = text[begin - 1 : begin] in (b"<", b":", b"&", b";")
        tag = _TAG.match(text, at - len(sep.lstrip()) + sep.lstrip().find(b">")) if named else None
        return tag.span("value") if tag is not None and _is_value(tag["value"]) else None
    named = _NAMED_VALUE.match(text, at)
    quoted = _QUOTED.match(text, named.end() if named is not None else at)
    if quoted is None or not _is_value(quoted["value"]):
        return None
    if named is None and text[begin : begin + 1] != b"-" and _WORDS.fullmatch(quoted["value"]) is not None:
        return None  # a list of words
    # put("token", "x"): a name and its value, or two names.
    sure = text[begin : begin + 1] == b"-" or HEADERS.fullmatch(key) is not None or named is not None
    return quoted.span("value") if sure or _random(quoted["value"]) else None


def _header(text: bytes, at: int, key: str) -> tuple[int, int] | None:
    match = (_COOKIE if "cookie" in key.lower() else _AUTH).match(text, at)
    if match is None or not _is_value(match["value"]):
        return None
    value = match["value"]
    if value.endswith(b"(") or _CHALLENGE.match(value) is not None:
        return None
    scheme, _, rest = value.replace(b"+", b" ").partition(b" ")
    if scheme.lower() in _SCHEMES and rest and rest.strip().lower() not in _STOP:
        return match.span("value")
    plain = _IDENTIFIER.fullmatch(value.replace(b" ", b"_")) is not None and len(value) < 20
    return None if plain or scheme.lower() in _STOP else match.span("value")


def _bare(text: bytes, at: int, key: str, sep: bytes, begin: int) -> tuple[int, int] | None:
    tight = sep == b"="
    if sep.rstrip(b" \t").endswith(b"n") or b"\n" in sep:
        tight = True  # a block of YAML holds nothing but the value
    start = text[begin - 1 : begin] if begin else b"\n"
    # A line of a .env file: its value may hold commas and brackets.
    lined = tight and (start in b"\n" or text[max(0, begin - 7) : begin] == b"export ")
    match = (_LINE if lined else _BARE).match(text, at)
    if match is None:
        return None
    value = match[0].rstrip(b".,;:\\") or match[0]
    if not tight and (value.startswith(b"(") or _CALLED.match(value) is not None):
        return None
    if (
        not _is_value(value)
        or not value.strip(b"?")
        or value.lower() in _STOP
        or text[match.end() : match.end() + 1] in (b"(", b"[")
    ):
        return None
    strong = _STRONG.search(key) is not None
    if not lined and (b"(" in value or b"[" in value) and not strong:
        return None
    if _plausible(value, strong, tight, lined):
        return at, at + len(value)
    return None


def _plausible(value: bytes, strong: bool, tight: bool, lined: bool) -> bool:
    if _IDENTIFIER.fullmatch(value) is not None:
        if verdict(value.decode().rstrip("?!.:")) == SECRET or (b"." in value and _WORDS.fullmatch(value)):
            return False
        return (
            (strong and len(value) >= 4)
            or (tight and len(value) >= (8 if lined else 16))
            or _drawn(value)
            or (len(value) >= 20 and checks.entropy(value) >= 3.5 and _WORDS.fullmatch(value) is None)
        )
    if strong and _FOLDER.fullmatch(value) is not None:
        return False
    if strong:
        return len(value) >= 3 and (b"(" not in value or not value.endswith(b"("))
    return len(value) >= 6 and len(set(value)) >= 4 and _HASHED.fullmatch(value) is None


def _drawn(value: bytes) -> bool:
    """Letters alone, but in no word's case: capitals change more often than camelCase changes them."""
    return (
        len(value) >= 8
        and _WORDS.fullmatch(value) is None
        and len(re.findall(rb"[a-z][A-Z]|[A-Z][a-z]", value)) >= 4
        and re.search(rb"[A-Z]{2}|[a-z][A-Z][a-z][A-Z]", value) is not None
    )


def _is_value(value: bytes) -> bool:
    value = value.strip()
    scheme, _, rest = value.partition(b" ")
    value = rest.strip() if rest and scheme.lower() in _SCHEMES else value
    return bool(value) and _PLACEHOLDER.fullmatch(value) is None and _REFERENCE.fullmatch(value) is None


def _random(value: bytes) -> bool:
    return len(value) >= 8 and b" " not in value and checks.mixed(value, 0, len(value))


# Signs other than a name and a separator


def _declared(match: re.Match[bytes]) -> bool:
    value, key = match["value"], match["key"].decode()
    return verdict(key) == SECRET and not _is_named(value, key) and _is_value(value) and value.lower() not in _STOP


def _set(match: re.Match[bytes]) -> bool:
    return _declared(match) and _random(match["value"])


def _userinfo(match: re.Match[bytes]) -> bool:
    value = match["value"]
    _, colon, password = value.partition(b":")
    if colon:
        return bool(password) and _is_value(value) and not value.startswith(b"[")
    return len(value) >= 16 and checks.mixed(value, 0, len(value))


def _bearer(match: re.Match[bytes]) -> bool:
    value = match["value"]
    return (re.search(rb"[0-9]", value) is not None and len(set(value)) > 4) or len(value) >= 24


def _basic(match: re.Match[bytes]) -> bool:
    value = match["value"].rstrip(b"=")
    try:
        plain = base64.b64decode(value + b"=" * (-len(value) % 4))
    except ValueError:
        return False
    return b":" in plain


def _option(match: re.Match[bytes]) -> bool:
    value = match["value"]
    return verdict(match["key"].decode()) == SECRET and _is_value(value) and value.lower() not in _STOP


def _prose(match: re.Match[bytes]) -> bool:
    value = match["value"].rstrip(b".,;:!)")
    if value.lower() in _STOP or not _is_value(value):
        return False
    if match["quote"] and match["key"].lower().lstrip(b"_") not in (b"key", b"token", b"pin"):
        return True
    if _drawn(value):
        return True
    # Said in a sentence, a secret has a digit among letters or signs.
    return len(value) >= 6 and re.search(rb"[0-9]", value) is not None and re.search(rb"[^0-9.:/-]", value) is not None


def _user(match: re.Match[bytes]) -> bool:
    # `-u 1000:1000` is who a container runs as.
    return _is_value(match["value"]) and re.fullmatch(rb"[0-9]+:[0-9]+", match["value"]) is None


def _quoted(match: re.Match[bytes]) -> bool:
    return _is_value(match["value"]) and match["value"].lower() not in _STOP


def _wide(match: re.Match[bytes]) -> bool:
    return _CALLED.match(match["value"]) is None and _random(match["value"]) and _is_value(match["value"])


def _any(match: re.Match[bytes]) -> bool:
    return _is_value(match["value"])


_SIGNS = (
    (_URL, _userinfo), (_URL_SLASHED, _userinfo), (_BEARER, _bearer), (_BASIC, _basic), (_OPTION, _option),
    (_USER, _user), (_PROSE, _prose), (_SQL, _any), (_TYPED, _declared), (_ATTRIBUTE, _declared), (_ENV, _set),
    (_YAML, _declared), (_TOOL, _any), (_CALL, _quoted), (_INPUT, _any), (_SEED, _any), (_WIDE, _wide), (_NPM, _any),
    (_CURL_COOKIE, _any),
)  # fmt: skip
