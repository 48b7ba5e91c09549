"""Secrets as strangers write them: in the forms vendors document, and in the surroundings programs put them in.

Drawn apart from `generate.py`, which the rules were tuned on, and from `unseen.py`, which has people and lookalikes:
the formats are those of gitleaks' and detect-secrets' own samples, the surroundings those of shells, clients for HTTP,
configuration files, exceptions and encodings.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

from tests.tracing.corpus.unseen import Labelled

__all__ = ["hidden", "named", "whole"]

HEX = "0123456789abcdef"
ALNUM = string.ascii_letters + string.digits
WORD = ALNUM + "-_"
BASE = ALNUM + "+/"
UPPER = string.ascii_uppercase + string.digits


class _Draw:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def of(self, alphabet: str, count: int) -> str:
        return "".join(self.random.choices(alphabet, k=count))

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def any(self, *forms: Callable[[], str]) -> str:
        return self.random.choice(forms)()


def _jwt(d: _Draw) -> str:
    head, body = ({"alg": "HS256", "typ": "JWT"}, {"sub": d.of(string.digits, 9), "iat": d.random.getrandbits(31)})
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, body))
    return f"{'.'.join(parts)}.{d.of(WORD, 43)}"


def _discord(d: _Draw) -> str:
    head = base64.urlsafe_b64encode(d.of("123456789", 18).encode()).decode().rstrip("=")
    return f"{head}.{d.of(WORD, 6)}.{d.of(WORD, 38)}"


# What needs no name beside it.
FORMATS: dict[str, Callable[[_Draw], str]] = {
    "aws": lambda d: d.random.choice(("AKIA", "ASIA")) + d.of("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
    "gcp": lambda d: d.any(lambda: "AIza" + d.of(WORD, 35), lambda: "GOCSPX-" + d.of(WORD, 28)),
    "gcp session": lambda d: "ya29.a0" + d.of(WORD, 150),
    "azure": lambda d: d.any(
        lambda: f"{d.of(ALNUM, 3)}8Q~{d.of(WORD, 34)}", lambda: f"{d.of(ALNUM, 76)}AZDO{d.of(ALNUM, 4)}"
    ),
    "github": lambda d: f"gh{d.random.choice('pousr')}_{d.of(ALNUM, 36)}",
    "github fine": lambda d: f"github_pat_{d.of(ALNUM, 22)}_{d.of(ALNUM, 59)}",
    "gitlab": lambda d: d.random.choice(("glpat-", "gldt-", "glrt-", "glft-", "glptt-", "gloas-")) + d.of(WORD, 26),
    "gitlab routable": lambda d: f"glpat-{d.of(WORD, 27)}.01.{d.of(HEX, 9)}",
    "slack": lambda d: f"xox{d.of('bp', 1)}-{d.of(string.digits, 12)}-{d.of(string.digits, 13)}-{d.of(ALNUM, 24)}",
    "slack cookie": lambda d: f"xoxd-{quote(d.of(BASE, 100), safe='')}",
    "slack app": lambda d: f"xapp-1-A{d.of(UPPER, 10)}-{d.of(string.digits, 13)}-{d.of(HEX, 64)}",
    "stripe": lambda d: d.random.choice(("sk_live_51", "rk_live_", "sk_test_51")) + d.of(ALNUM, 97),
    "stripe webhook": lambda d: "whsec_" + d.of(ALNUM, 32),
    "openai": lambda d: f"sk-{d.random.choice(('proj', 'svcacct', 'admin'))}-{d.of(WORD, 58)}T3BlbkFJ{d.of(WORD, 58)}",
    "openai old": lambda d: f"sk-{d.of(ALNUM, 20)}T3BlbkFJ{d.of(ALNUM, 20)}",
    "anthropic": lambda d: f"sk-ant-{d.random.choice(('api03', 'admin01', 'oat01'))}-{d.of(WORD, 93)}AA",
    "hugging face": lambda d: "hf_" + d.of(string.ascii_letters, 34),
    "npm": lambda d: "npm_" + d.of(ALNUM, 36),
    "pypi": lambda d: "pypi-AgEIcHlwaS5vcmc" + d.of(WORD, 120),
    "docker": lambda d: d.random.choice(("dckr_pat_", "dckr_oat_")) + d.of(WORD, 27),
    "twilio": lambda d: "SK" + d.of(HEX, 32),
    "sendgrid": lambda d: f"SG.{d.of(WORD, 22)}.{d.of(WORD, 43)}",
    "mailgun": lambda d: d.any(
        lambda: "key-" + d.of(HEX, 32), lambda: f"{d.of(HEX, 32)}-{d.of(HEX, 8)}-{d.of(HEX, 8)}"
    ),
    "discord": _discord,
    "telegram": lambda d: f"{d.random.randint(10**8, 10**10)}:AA{d.of(WORD, 33)}",
    "shopify": lambda d: d.random.choice(("shpat_", "shpca_", "shppa_", "shpss_")) + d.of(HEX, 32),
    "square": lambda d: d.any(lambda: "sq0csp-" + d.of(WORD, 43), lambda: "EAAA" + d.of(WORD, 60)),
    "digitalocean": lambda d: d.random.choice(("dop_v1_", "doo_v1_", "dor_v1_")) + d.of(HEX, 64),
    "heroku": lambda d: "HRKU-" + d.uuid(),
    "cloudflare": lambda d: d.any(lambda: f"v1.0-{d.of(HEX, 24)}-{d.of(HEX, 146)}", lambda: "cfut_" + d.of(ALNUM, 48)),
    "datadog": lambda d: f"ddpat_{d.of(ALNUM, 22)}_{d.of(ALNUM, 40)}",
    "new relic": lambda d: d.any(lambda: "NRAK-" + d.of(UPPER, 27), lambda: d.of(HEX, 32) + "FFFFNRAL"),
    "sentry": lambda d: d.any(
        lambda: "sntryu_" + d.of(HEX, 64), lambda: f"sntrys_eyJp{d.of(BASE, 90)}=_{d.of(BASE, 43)}"
    ),
    "grafana": lambda d: d.any(lambda: f"glsa_{d.of(ALNUM, 32)}_{d.of(HEX, 8)}", lambda: "glc_eyJ" + d.of(ALNUM, 90)),
    "linear": lambda d: "lin_api_" + d.of(ALNUM, 40),
    "notion": lambda d: d.any(
        lambda: f"ntn_{d.of(string.digits, 11)}{d.of(ALNUM, 35)}", lambda: "secret_" + d.of(ALNUM, 43)
    ),
    "figma": lambda d: "figd_" + d.of(WORD, 40),
    "databricks": lambda d: "dapi" + d.of(HEX, 32) + d.random.choice(("", "-2")),
    "vault": lambda d: d.random.choice(("hvs.", "hvb.")) + d.of(WORD, 95),
    "terraform": lambda d: f"{d.of(ALNUM, 14)}.atlasv1.{d.of(WORD, 67)}",
    "jwt": _jwt,
    "age": lambda d: "AGE-SECRET-KEY-1" + d.of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
}  # fmt: skip
_JSON = json.dumps
HIDDEN: dict[str, Callable[[str], Any]] = {
    "alone": lambda s: s,
    "sentence": lambda s: f"I used {s} to deploy.",
    "log": lambda s: f"2026-01-02T04:11:22.123Z INFO [job] using {s} attempt=2",
    "json in json": lambda s: _JSON({"body": _JSON({"inner": _JSON({"v": s})})}),
    "deep": lambda s: {"a": [{"b": {"c": [s, "word"]}}]},
    "key": lambda s: {s: "word"},
    "query": lambda s: f"https://api.example.com/v1/a?x={quote(s, safe='')}&page=2",
    "percent": lambda s: quote(f"v={s}&z=1", safe=""),
    "unicode escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "hex escapes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "bytes": lambda s: repr(f"got {s}".encode()),
    "traceback": lambda s: f'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: bad {s!r}',
    "yaml": lambda s: f"job:\n  other: {s}\n  n: 1",
    "table": lambda s: f"id,other,n\n1,{s},3\n",
    "colour": lambda s: f"\x1b[32m{s}\x1b[0m ok",
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(f'{{"v":"{s}"}}'.encode()).decode().rstrip("="),
    "base64 twice": lambda s: base64.b64encode(base64.b64encode(s.encode())).decode(),
}
# What only its name gives away.
NAMES: dict[str, tuple[tuple[str, ...], Callable[[_Draw], str]]] = {
    "aws secret": (("AWS_SECRET_ACCESS_KEY", "secretAccessKey"), lambda d: d.of(BASE, 40)),
    "datadog": (("DD_API_KEY", "DD-APPLICATION-KEY", "datadog_app_key"), lambda d: d.of(HEX, 40)),
    "heroku": (("HEROKU_API_KEY", "heroku_api_token"), _Draw.uuid),
    "cloudflare": (("CLOUDFLARE_API_TOKEN", "X-Auth-Key"), lambda d: d.of(WORD, 40)),
    "twilio": (("TWILIO_AUTH_TOKEN", "authToken"), lambda d: d.of(HEX, 32)),
    "azure": (("AZURE_CLIENT_SECRET", "Ocp-Apim-Subscription-Key"), lambda d: d.of(ALNUM, 40)),
    "new relic": (("NEW_RELIC_LICENSE_KEY", "license_key"), lambda d: d.of(HEX, 40)),
    "api key": (("api_key", "apiKey", "X-API-Key", "rapidapi_key"), lambda d: d.of(ALNUM, 32)),
    "token": (("access_token", "refresh_token", "bot_token", "id_token"), lambda d: d.of(WORD, 40)),
    "password": (("password", "DB_PASSWORD", "smtp_pass", "userPassword"), lambda d: d.of(ALNUM + "!@^*-_", 12)),
    "secret": (("SECRET_KEY", "client_secret", "webhook_secret"), lambda d: d.of(ALNUM, 24)),
    "key": (("private_key", "ENCRYPTION_KEY", "master_key"), lambda d: d.of(HEX, 64)),
}
NAMED: dict[str, Callable[[str, str], Any]] = {
    "env": lambda k, s: f"export {k}={s}",
    "json": lambda k, s: _JSON({"body": _JSON({k: s})}),
    "yaml": lambda k, s: f"svc:\n  {k}: {s}\n  port: 80",
    "toml": lambda k, s: f'[svc]\n{k} = "{s}"\nport = 1',
    "rust": lambda k, s: f'let {k.replace("-", "_")}: &str = "{s}";',
    "repr": lambda k, s: repr({k: s, "n": 2}),
    "header": lambda k, s: f"{k}: {s}\r\nHost: example.com",
    "query": lambda k, s: f"https://example.com/p?{k}={quote(s, safe='')}&b=2",
    "form": lambda k, s: f"a=1&{k}={quote_plus(s)}&b=2",
    "percent": lambda k, s: quote(_JSON({k: s}), safe=""),
    "pairs": lambda k, s: [["Host", "example.com"], [k, s]],
    "name and value": lambda k, s: [{"name": k, "value": s}],
    "below": lambda k, s: {k: [{"current": {"v": s}}, 1]},
    "label below": lambda k, s: {k: {"label": s}},
    "schema's default": lambda k, s: {"properties": {k: {"type": "string", "default": s}}},
    "option": lambda k, s: ["tool", f"--{k.replace('_', '-').lower()}", s],
    "sentence": lambda k, s: f"the {k} is {s + '9x'}",
    "error": lambda k, s: f"KeyError: config {{'{k}': '{s}'}} rejected",
    "escaped": lambda k, s: _JSON(_JSON(_JSON({k: s}))),
    "android": lambda k, s: f'<string name="{k}">{s}</string>',
    "base64": lambda k, s: base64.b64encode(f"{k}={s}\n".encode()).decode(),
}
WHOLE: dict[str, Callable[[str], Any]] = {
    "postgres": lambda s: f"postgresql+psycopg://app:{s}@db.example.com:5432/x?ssl=true",
    "mongodb": lambda s: f"mongodb+srv://u:{s}@c0.example.net/?w=majority",
    "redis": lambda s: f"rediss://:{s}@cache:6380/0",
    "ado": lambda s: f"Data Source=db;Initial Catalog=c;uid=sa;pwd={s}",
    "oracle": lambda s: f"jdbc:oracle:thin:scott/{s}@//db.example.com:1521/ORCL",
    "sqlplus": lambda s: f"sqlplus -s scott/{s}@ORCL @q.sql",
    "curl header": lambda s: f"curl -sS -H 'Authorization: Bearer {s}' https://x.example.com",
    "curl user": lambda s: f"curl -uadmin:{s} https://x.example.com",
    "curl cookie": lambda s: f"curl -b 'session={s}' https://x.example.com",
    "curl cookie option": lambda s: f"curl --cookie session={s} https://x.example.com",
    "cookie": lambda s: f"Cookie: theme=dark; session={s}",
    "header pairs": lambda s: [("authorization", f"Bearer {s}"), ("a", "b")],
    "headers flat": lambda s: ["Host", "a", "Authorization", f"Bearer {s}"],
    "headers bytes": lambda s: repr([(b"authorization", f"Bearer {s}".encode())]),
    "netrc": lambda s: f"machine example.com login u password {s}",
    "fragment": lambda s: f"https://x.example.com/cb#access_token={s}&token_type=bearer",
    "helm": lambda s: f"helm install x --set auth.password={s}",
    "complaint": lambda s: f"Incorrect API key provided: {s}. You can find yours in the settings.",
    "complaint in French": lambda s: f"mot de passe : {s}",
}


def hidden(seed: int, each: int = 1) -> Iterator[Labelled]:
    """Every format in every surrounding."""
    draw = _Draw(seed)
    for kind, make in FORMATS.items():
        for around, put in HIDDEN.items():
            for _ in range(each):
                secret = make(draw)
                yield Labelled(f"{kind} / {around}", put(secret), secret)


def named(seed: int, each: int = 2) -> Iterator[Labelled]:
    """Every kind of name over a secret, in every surrounding."""
    draw = _Draw(seed)
    for kind, (names, make) in NAMES.items():
        for around, put in NAMED.items():
            for _ in range(each):
                secret = make(draw)
                yield Labelled(f"{kind} / {around}", put(draw.random.choice(names), secret), secret)


def whole(seed: int, each: int = 8) -> Iterator[Labelled]:
    """Commands, headers and connection strings."""
    draw = _Draw(seed)
    for kind, put in WHOLE.items():
        for _ in range(each):
            secret = draw.of(ALNUM, draw.random.randint(12, 40)) + "7"
            yield Labelled(kind, put(secret), secret)
