"""Labelled texts: secrets and personal data in the places they turn up, and things that only look like them.

Formats are the vendors' own, as their documents give them, written here a second time and not read from the rules. The
contexts are what tools answer: logs, JSON, code, command lines, mail, tables. Every text comes from one seed.
"""

# ruff: noqa: E501 - tables, one kind a line

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

__all__ = ["Negative", "Positive", "negatives", "positives"]

ALNUM = string.ascii_letters + string.digits
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = "0123456789abcdef"
B64 = ALNUM + "+/"
URL64 = ALNUM + "-_"


@dataclass(frozen=True)
class Positive:
    kind: str
    value: Any
    """What is given to the sanitizer."""
    secret: str
    """What must not be in what comes out, nor any half of it."""


@dataclass(frozen=True)
class Negative:
    kind: str
    value: Any


class Draw:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def of(self, alphabet: str, n: int) -> str:
        return "".join(self.random.choices(alphabet, k=n))

    def any(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def number(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def jwt(self) -> str:
        head = {"alg": self.any("HS256", "RS256", "ES256"), "typ": "JWT"}
        body = {"sub": self.of(LOWER, 10), "iat": self.number(1_600_000_000, 1_800_000_000)}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (head, body)]
        return ".".join([*parts, self.of(URL64, 43)])

    def pem(self, name: str) -> str:
        lines = "\n".join(self.of(B64, 64) for _ in range(self.number(4, 12)))
        return f"-----BEGIN {name}PRIVATE KEY-----\n{lines}\n-----END {name}PRIVATE KEY-----"

    def card(self) -> str:
        prefix, size = self.any(
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2221", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("3530", 16),
            ("36", 14),
        )
        body = prefix + self.of(string.digits, size - len(prefix) - 1)
        total = sum(sum(divmod(int(d) * 2, 10)) if i % 2 == 0 else int(d) for i, d in enumerate(reversed(body)))
        number = body + str(-total % 10)
        sep = self.any("", " ", "-")
        if size == 15:
            return sep.join((number[:4], number[4:10], number[10:]))
        return sep.join(number[i : i + 4] for i in range(0, size, 4))

    def iban(self) -> str:
        land, form = self.any(
            ("DE", "9" * 18),
            ("GB", "AAAA" + "9" * 14),
            ("FR", "9" * 23),
            ("NL", "AAAA" + "9" * 10),
            ("ES", "9" * 20),
            ("CH", "9" * 17),
            ("NO", "9" * 11),
            ("PL", "9" * 24),
        )
        body = "".join(self.of(string.digits if c == "9" else string.ascii_uppercase, 1) for c in form)
        check = 98 - int("".join(str(int(c, 36)) for c in body + land + "00")) % 97
        number = f"{land}{check:02d}{body}"
        return " ".join(number[i : i + 4] for i in range(0, len(number), 4)) if self.any(True, False) else number

    def email(self) -> str:
        local = self.any(
            self.of(LOWER, 6),
            f"{self.of(string.ascii_lowercase, 5)}.{self.of(string.ascii_lowercase, 7)}",
            f"{self.of(LOWER, 5)}+{self.of(LOWER, 3)}",
            f"{self.of(string.ascii_lowercase, 4)}_{self.number(1, 99)}",
        )
        return f"{local}@{self.of(LOWER, 7)}.{self.any('com', 'org', 'co.uk', 'io', 'museum', 'de')}"

    def phone(self) -> str:
        a, b, c = self.number(200, 989), self.number(212, 899), self.number(1000, 9999)
        a += a % 100 == 11
        b += b % 100 == 11
        return self.any(
            f"+1 {a} {b} {c}", f"+1-{a}-{b}-{c}", f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"{a}.{b}.{c}", f"+1{a}{b}{c}",
            f"+44 20 {c} {self.number(1000, 9999)}", f"+49 30 {self.number(1000000, 9999999)}", f"+33 6 {self.number(10, 99)} {self.number(10, 99)} {self.number(10, 99)} {self.number(10, 99)}",
            f"+91 {self.number(60000, 99999)} {self.number(10000, 99999)}", f"+81-90-{c}-{self.number(1000, 9999)}", f"+55 11 9{c}-{self.number(1000, 9999)}", f"+44 (0) 7911 {self.number(100000, 999999)}",
        )  # fmt: skip

    def ssn(self) -> str:
        area = self.number(1, 899)
        return f"{665 if area == 666 else area:03d}-{self.number(1, 99):02d}-{self.number(1, 9999):04d}"

    def ipv4(self) -> str:
        first = self.any(10, 172, 192, 203, 8, 54, 100)
        return f"{first}.{self.number(0, 255)}.{self.number(0, 255)}.{self.number(0, 254)}"

    def ipv6(self) -> str:
        if self.any(True, False):
            return ":".join(f"{self.number(4096, 65535):x}" for _ in range(8))
        return f"2001:db8:{self.number(1, 65535):x}::{self.number(1, 65535):x}"


Make = Callable[[Draw], str]

TOKENS: dict[str, Make] = {
    "aws-key-id": lambda d: d.any("AKIA", "ASIA") + d.of(string.ascii_uppercase + "234567", 16),
    "gcp-api-key": lambda d: "AIza" + d.of(URL64, 35),
    "gcp-oauth": lambda d: "ya29." + d.of(URL64, 120),
    "gcp-client-secret": lambda d: "GOCSPX-" + d.of(URL64, 28),
    "azure-storage": lambda d: (
        f"DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={d.of(B64, 86)}==;EndpointSuffix=core.windows.net"
    ),
    "azure-ad": lambda d: d.of(ALNUM, 3) + d.of(string.digits, 1) + "Q~" + d.of(ALNUM + "_.~-", 33) + "x",
    "github-pat": lambda d: d.any("ghp_", "gho_", "ghu_", "ghs_", "ghr_") + d.of(ALNUM, 36),
    "github-fine": lambda d: f"github_pat_{d.of(ALNUM, 22)}_{d.of(ALNUM, 59)}",
    "gitlab-pat": lambda d: d.any("glpat-", "glptt-", "gldt-", "glrt-") + d.of(URL64, 20),
    "slack-bot": lambda d: f"xoxb-{d.of(string.digits, 12)}-{d.of(string.digits, 12)}-{d.of(ALNUM, 24)}",
    "slack-user": lambda d: (
        f"xoxp-{d.of(string.digits, 12)}-{d.of(string.digits, 12)}-{d.of(string.digits, 12)}-{d.of(HEX, 32)}"
    ),
    "slack-app": lambda d: f"xapp-1-A{d.of(UPPER, 10)}-{d.of(string.digits, 13)}-{d.of(HEX, 64)}",
    "slack-webhook": lambda d: (
        f"https://hooks.slack.com/services/T{d.of(UPPER, 8)}/B{d.of(UPPER, 10)}/{d.of(ALNUM, 24)}"
    ),
    "stripe": lambda d: d.any("sk_live_", "sk_test_", "rk_live_") + d.of(ALNUM, d.any(24, 99)),
    "stripe-webhook": lambda d: "whsec_" + d.of(ALNUM, 32),
    "openai-legacy": lambda d: f"sk-{d.of(ALNUM, 20)}T3BlbkFJ{d.of(ALNUM, 20)}",
    "openai-project": lambda d: f"sk-proj-{d.of(URL64, 74)}T3BlbkFJ{d.of(URL64, 74)}",
    "anthropic": lambda d: f"sk-ant-api03-{d.of(URL64, 93)}AA",
    "huggingface": lambda d: "hf_" + d.of(string.ascii_letters, 34),
    "npm": lambda d: "npm_" + d.of(ALNUM, 36),
    "pypi": lambda d: "pypi-AgEIcHlwaS5vcmc" + d.of(URL64, 150),
    "docker": lambda d: "dckr_pat_" + d.of(URL64, 27),
    "twilio": lambda d: "SK" + d.of(HEX, 32),
    "sendgrid": lambda d: f"SG.{d.of(URL64, 22)}.{d.of(URL64, 43)}",
    "mailgun": lambda d: "key-" + d.of(HEX, 32),
    "mailgun-new": lambda d: f"{d.of(HEX, 32)}-{d.of(HEX, 8)}-{d.of(HEX, 8)}",
    "discord-bot": lambda d: f"{d.any('M', 'N', 'O')}{d.of(ALNUM, 23)}.{d.of(URL64, 6)}.{d.of(ALNUM, 38)}",
    "discord-webhook": lambda d: f"https://discord.com/api/webhooks/{d.of(string.digits[1:], 18)}/{d.of(URL64, 68)}",
    "telegram": lambda d: f"{d.number(10**8, 10**10)}:AA{d.of(URL64, 32)}" + d.of(ALNUM, 1),
    "shopify": lambda d: d.any("shpat_", "shpca_", "shppa_", "shpss_") + d.of(HEX, 32),
    "square": lambda d: "sq0atp-" + d.of(URL64, 22),
    "square-production": lambda d: "EAAA" + d.of(URL64, 60),
    "digitalocean": lambda d: d.any("dop_v1_", "doo_v1_", "dor_v1_") + d.of(HEX, 64),
    "heroku": lambda d: "HRKU-AA" + d.of(URL64, 58),
    "cloudflare-origin": lambda d: f"v1.0-{d.of(HEX, 24)}-{d.of(HEX, 146)}",
    "newrelic": lambda d: "NRAK-" + d.of(UPPER, 27),
    "newrelic-license": lambda d: d.of(HEX, 36) + "NRAL",
    "sentry-user": lambda d: "sntryu_" + d.of(HEX, 64),
    "sentry-dsn": lambda d: f"https://{d.of(HEX, 32)}@o{d.number(1, 99999)}.ingest.sentry.io/{d.number(1, 999999)}",
    "grafana-sa": lambda d: f"glsa_{d.of(ALNUM, 32)}_{d.of(HEX, 8)}",
    "grafana-cloud": lambda d: "glc_" + d.of(B64, 100),
    "linear": lambda d: "lin_api_" + d.of(ALNUM, 40),
    "notion": lambda d: f"ntn_{d.of(string.digits, 11)}{d.of(ALNUM, 35)}",
    "notion-old": lambda d: "secret_" + d.of(ALNUM, 43),
    "figma": lambda d: "figd_" + d.of(URL64, 40),
    "databricks": lambda d: "dapi" + d.of(HEX, 32),
    "vault": lambda d: "hvs." + d.of(URL64, 95),
    "vault-old": lambda d: "s." + d.of(ALNUM, 24),
    "terraform": lambda d: f"{d.of(ALNUM, 14)}.atlasv1.{d.of(URL64, 67)}",
    "jwt": lambda d: d.jwt(),
    "pem": lambda d: d.pem(d.any("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED ")),
    "age": lambda d: "AGE-SECRET-KEY-1" + d.of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
    "groq": lambda d: "gsk_" + d.of(ALNUM, 52),
    "xai": lambda d: "xai-" + d.of(ALNUM, 80),
    "atlassian": lambda d: "ATATT3" + d.of(URL64, 186),
    "airtable": lambda d: f"pat{d.of(ALNUM, 14)}.{d.of(HEX, 64)}",
    "postman": lambda d: f"PMAK-{d.of(HEX, 24)}-{d.of(HEX, 34)}",
    "pulumi": lambda d: "pul-" + d.of(HEX, 40),
    "rubygems": lambda d: "rubygems_" + d.of(HEX, 48),
    "tailscale": lambda d: f"tskey-auth-{d.of(ALNUM, 12)}-{d.of(ALNUM, 32)}",
    "doppler": lambda d: "dp.pt." + d.of(ALNUM, 43),
    "hubspot": lambda d: f"pat-na1-{uuid.UUID(int=d.random.getrandbits(128))}",
    "planetscale": lambda d: "pscale_tkn_" + d.of(URL64, 43),
    "dynatrace": lambda d: f"dt0c01.{d.of(UPPER, 24)}.{d.of(UPPER, 64)}",
    "facebook": lambda d: "EAAC" + d.of(ALNUM, 160),
    "replicate": lambda d: "r8_" + d.of(ALNUM, 37),
    "supabase": lambda d: "sbp_" + d.of(HEX, 40),
}
PEOPLE: dict[str, Make] = {
    "email": Draw.email, "phone": Draw.phone, "ssn": Draw.ssn, "card": Draw.card, "iban": Draw.iban, "ipv4": Draw.ipv4, "ipv6": Draw.ipv6,
}  # fmt: skip


def _password(d: Draw) -> str:
    return d.any(
        d.of(ALNUM, 12), d.of(ALNUM + "!#%*-_", 14) + "9a", d.of(string.ascii_lowercase, 8) + str(d.number(1, 999))
    )


SURROUNDED: dict[str, Callable[[Draw, str], Any]] = {
    "key in an object": lambda d, s: {
        d.any(
            "password",
            "apiKey",
            "api_key",
            "client_secret",
            "X-Api-Key",
            "accessToken",
            "DB_PASSWORD",
            "privateKey",
            "secret",
            "auth_token",
        ): s,
        "id": 7,
    },
    "environment file": lambda d, s: (
        f"DEBUG=1\n{d.any('DB_PASSWORD', 'SECRET_KEY', 'API_TOKEN', 'MY_APP_API_KEY')}={s}\nPORT=8080"
    ),
    "code": lambda d, s: (
        f"{d.any('password', 'api_key', 'secret', 'auth_token')} = {d.any(chr(34), chr(39)).join(('', s, ''))}\nconnect()"
    ),
    "yaml": lambda d, s: (
        f"db:\n  user: app\n  {d.any('password', 'passwd', 'secret_key', 'apiToken')}: {s}\n  port: 5432"
    ),
    "url user": lambda d, s: (
        f"connecting to {d.any('postgres', 'mysql', 'mongodb+srv', 'redis', 'https', 'amqp')}://app:{quote(s, safe='')}@db.example.net/main"
    ),
    "connection string": lambda d, s: f"Server=db;Database=x;User Id=sa;{d.any('Password', 'Pwd')}={s};Encrypt=true",
    "query": lambda d, s: (
        f"GET /v1/items?{d.any('access_token', 'api_key', 'client_secret', 'token')}={s}&page=2 HTTP/1.1"
    ),
    "bearer header": lambda d, s: (
        f"{d.any('Authorization', 'authorization')}: {d.any('Bearer', 'Token', 'ApiKey')} {s}"
    ),
    "header list": lambda d, s: [["Accept", "*/*"], [d.any("Authorization", "Cookie", "X-Api-Key"), s]],
    "named header": lambda d, s: {
        "headers": [{"name": d.any("Authorization", "x-auth-token"), "value": f"Bearer {s}"}]
    },
    "cookie": lambda d, s: f"Cookie: session={s}; theme=dark",
    "curl": lambda d, s: (
        f"curl -u admin:{s} https://example.net/" if d.any(0, 1) else f'curl -H "X-API-Key: {s}" https://example.net/'
    ),
    "json in text": lambda d, s: json.dumps({"config": json.dumps({"user": "x", d.any("password", "token"): s})}),
    "error": lambda d, s: f"ConnectionError: login failed (user='app', password='{s}')",
    "option": lambda d, s: ["mysql", "--user=x", "--password", s] if d.any(0, 1) else f"deploy --token {s} --yes",
    "basic": lambda d, s: "Authorization: Basic " + base64.b64encode(f"app:{s}".encode()).decode(),
    "aws pair": lambda d, s: (
        f"aws_access_key_id = AKIA{d.of(string.ascii_uppercase, 16)}\naws_secret_access_key = {s}{d.of(B64, 40 - len(s))}"
    ),
}

CONTEXTS: tuple[Callable[[Draw, str], Any], ...] = (
    lambda d, s: s,
    lambda d, s: f"the value is {s}, as of today",
    lambda d, s: {"rows": [{"id": d.number(1, 999), "note": s}]},
    lambda d, s: f"line one\n{s}\nline three",
    lambda d, s: ["a", ["b", f"({s})"]],
    lambda d, s: json.dumps({"data": {"v": s}}),
    lambda d, s: {"text": json.dumps(json.dumps([s]))},
    lambda d, s: f'<p title="{s}">x</p>',
    lambda d, s: f"id\tvalue\n1\t{s}\n",
    lambda d, s: "https://example.net/cb?state=1&v=" + quote(s, safe=""),
    lambda d, s: "".join(f"\\u{ord(c):04x}" for c in s) if len(s) < 300 else s,
    lambda d, s: f"ValueError: cannot parse '{s}'",
    lambda d, s: s.encode(),
    lambda d, s: {s: 1},
    lambda d, s: f"2026-01-02T03:04:05Z INFO worker-3 got {s}",
)  # fmt: skip


def positives(seed: int = 1, each: int = 40) -> Iterator[Positive]:
    """Over 60 kinds, `each` of every kind."""
    d = Draw(seed)
    for kind, make in {**TOKENS, **PEOPLE}.items():
        for i in range(each):
            secret = make(d)
            context = CONTEXTS[i % len(CONTEXTS)]
            yield Positive(kind, context(d, secret), _core(kind, secret))
    for kind, around in SURROUNDED.items():
        for _ in range(each):
            secret = _password(d)
            yield Positive(kind, around(d, secret), secret)


def _core(kind: str, secret: str) -> str:
    """The part that is secret, where the rest is an address."""
    if kind == "azure-storage":
        return secret.split("AccountKey=")[1].split(";")[0]
    if kind in ("slack-webhook", "discord-webhook"):
        return secret.rpartition("/")[2]
    if kind == "sentry-dsn":
        return secret[8:40]
    return secret.split("\n")[1] if kind == "pem" else secret


CODE = (
    "def login(user: str, password: str) -> Token:\n    token = get_token(user, password)\n    return token",
    "const token = await fetchToken(config.apiKey);", "if (password === confirmPassword) { submit(); }",
    "api_key = os.environ['API_KEY']", "SELECT id, token_count FROM usage WHERE author = 'kim'", "for key, value in items.items():",
    "max_tokens=4096, temperature=0.7", "git@github.com:acme/widget.git", "pip install requests==2.31.0 numpy>=1.26", "std::vector<int>::iterator it = a::b::c();",
    "@app.route('/login', methods=['POST'])", "uses: actions/checkout@v4.1.1", "image: nginx:1.25.3-alpine", "x = a[1:2]; y = b[3::4]", "--color-primary: #ff8800; margin: 0 auto",
    "token: ${{ secrets.GITHUB_TOKEN }}", "password: {{ vault_password }}", "The password is required. Token expired.", "Invalid password or username", "key: value", "import { Button } from '@scope/ui'",
    "logo@2x.png", "sort by author, keyboard layout, monkey patch", "primary_key=True, foreign_key='user.id'", "Enter your password: ", "class TokenBucket: pass", "secretary: Jane", "lodash@4.17.21",
)  # fmt: skip
LOOKALIKES: dict[str, Callable[[Draw], Any]] = {
    "uuid": lambda d: str(uuid.UUID(int=d.random.getrandbits(128))),
    "uuid in a path": lambda d: f"/v1/items/{uuid.UUID(int=d.random.getrandbits(128))}/parts",
    "sha1": lambda d: d.of(HEX, 40),
    "sha256": lambda d: {"digest": "sha256:" + d.of(HEX, 64)},
    "md5": lambda d: d.of(HEX, 32),
    "commit": lambda d: f"commit {d.of(HEX, 40)}\nMerge {d.of(HEX, 7)} into main",
    "epoch": lambda d: {"at": d.number(1_500_000_000, 1_900_000_000), "ms": d.number(15 * 10**11, 19 * 10**11)},
    "epoch ns": lambda d: {
        "ns": d.number(15 * 10**17, 19 * 10**17),
        "text": f"took {d.number(15 * 10**17, 19 * 10**17)}",
    },
    "date": lambda d: (
        f"20{d.number(10, 29)}-{d.number(1, 12):02d}-{d.number(1, 28):02d} {d.number(0, 23):02d}:{d.number(0, 59):02d}:{d.number(0, 59):02d}.{d.number(0, 999):03d}"
    ),
    "version": lambda d: f"v{d.number(0, 20)}.{d.number(0, 99)}.{d.number(0, 99)}-rc.{d.number(1, 9)}",
    "version of four": lambda d: (
        f"version {d.number(1, 120)}.{d.number(0, 9)}.{d.number(300, 9999)}.{d.number(0, 250)}"
    ),
    "price": lambda d: f"${d.number(1, 9999):,}.{d.number(0, 99):02d} or {d.number(1, 999)},{d.number(0, 99):02d} €",
    "isbn13": lambda d: f"ISBN 978-{d.number(0, 9)}-{d.number(100, 999)}-{d.number(10000, 99999)}-{d.number(0, 9)}",
    "isbn": lambda d: {"isbn": f"978{d.of(string.digits, 10)}"},
    "picture": lambda d: (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA"
        + base64.b64encode(d.random.randbytes(d.number(200, 3000))).decode()
    ),
    "code": lambda d: d.any(*CODE),
    "object id": lambda d: {"_id": d.of(HEX, 24), "etag": f'W/"{d.of(HEX, 32)}"'},
    "snowflake": lambda d: {"id": str(d.number(10**17, 2 * 10**18))},
    "coordinates": lambda d: {"lat": d.random.uniform(-90, 90), "lon": d.random.uniform(-180, 180)},
    "counts": lambda d: {
        "max_tokens": d.number(1, 9999),
        "token_count": d.number(1, 9999),
        "author": "kim lee",
        "next_page_token": d.of(ALNUM, 16),
        "primary_key": "user_id",
        "keyboard": "qwerty",
    },
    "mac": lambda d: ":".join(d.of(HEX, 2) for _ in range(6)),
    "ratio": lambda d: (
        f"{d.number(1, 99)}/{d.number(100, 999)} passed, {d.random.random():.4f} ({d.number(1, 99)}%), {d.number(1, 59)}:{d.number(10, 59)}"
    ),
    "loopback": lambda d: f"listening on 127.0.0.1:{d.number(1024, 65535)} and [::1]:80",
    "path": lambda d: (
        f"/usr/lib/python3.11/site-packages/{d.of(string.ascii_lowercase, 8)}/__init__.py:{d.number(1, 999)}"
    ),
    "text": lambda d: " ".join(
        d.any(
            "the",
            "release",
            "adds",
            "a",
            "token",
            "bucket",
            "and",
            "fixes",
            "password",
            "reset",
            "for",
            "secret",
            "santa",
            "keys",
            "1.2",
            "in",
            "2024",
        )
        for _ in range(20)
    ),
    "ulid": lambda d: "01" + d.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24),
    "arn": lambda d: f"arn:aws:s3:::bucket-{d.of(LOWER, 12)}/key/{d.of(LOWER, 20)}",
    "integrity": lambda d: f"sha512-{d.of(B64, 86)}==",
    "tracking": lambda d: f"order #{d.number(10**6, 10**8)}, invoice INV-{d.number(2020, 2026)}-{d.number(1000, 9999)}",
    "hex colour": lambda d: f"#{d.of(HEX, 6)} rgba({d.number(0, 255)}, {d.number(0, 255)}, {d.number(0, 255)}, 0.5)",
    "row of fours": lambda d: d.any(" ", ",", "\n", "\t").join(
        d.of(string.digits[1:], 4) for _ in range(d.number(7, 12))
    ),
    "dump": lambda d: f"{d.number(1, 99)} bytes: {' '.join(d.of(HEX, 2) for _ in range(d.any(8, 16)))}",
    "bytes": lambda d: f"8 bytes: {' '.join(d.of(string.digits, 2) for _ in range(8))}",
    "coloured": lambda d: (
        f"\x1b[3{d.number(1, 7)}m{d.any('PASSED', 'FAILED')}\x1b[0m tests/test_{d.of(LOWER, 6)}.py in {d.number(1, 999)} ms"
    ),
    "statuses": lambda d: f"{d.any(200, 300, 400, 500)} {d.number(200, 504)} {d.number(1, 9) * 1000}",
    "model": lambda d: f"{d.any('phone model', 'cell', 'mobile build', 'call')} {d.number(10**6, 10**8)}",
    "runtime": lambda d: (
        f"{d.any('python', 'java', 'chrome', 'mobile', 'Python version')} {d.number(3, 21)}.{d.number(0, 20)}.{d.number(0, 9)}.{d.number(0, 9)}"
    ),
    "float": lambda d: repr(d.random.random() * 10 ** d.number(-2, 4)),
    "long id": lambda d: f"{d.any('id_', 'x', 'run-', '#')}{d.number(15 * 10**17, 19 * 10**17)}",
    "scaled file": lambda d: f"{d.of(string.ascii_lowercase, 5)}@{d.number(1, 4)}x.{d.any('png', 'zip', 'mov', 'py')}",
    "near iban": lambda d: f"DE{d.of(string.digits, 2)} 3704 0044 0532 0130 {d.any('0O', '0', '000')}",
}


def negatives(seed: int = 2, each: int = 60) -> Iterator[Negative]:
    """Over 25 kinds, `each` of every kind."""
    d = Draw(seed)
    for kind, make in LOOKALIKES.items():
        for i in range(each):
            value = make(d)
            yield Negative(
                kind,
                value if i % 3 else {"result": [value]} if i % 2 else f"{value}" if isinstance(value, str) else [value],
            )
