"""Texts that the generator of `generate.py` did not make: Faker's people of many countries, and what only looks alike.

Nothing here was drawn with the seeds that rules were tried on, so what tests measure with it is what users will see.
"""

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from faker import Faker

__all__ = ["Labelled", "lookalikes", "people", "settings"]

LOCALES = (
    "en_US", "en_GB", "en_AU", "en_IN", "de_DE", "de_CH", "fr_FR", "fr_CA", "es_ES", "es_MX", "it_IT", "nl_NL", "pt_BR",
    "pl_PL", "sv_SE", "da_DK", "cs_CZ", "tr_TR", "ja_JP", "ko_KR",
)  # fmt: skip
LABELS = {"phone": "Tel.", "email": "E-Mail", "ssn": "SSN", "card": "Card number", "iban": "IBAN", "ip": "IP"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A value, and what in it must not leave (nothing, for what only looks alike)."""

    kind: str
    value: Any
    secret: str = ""


AROUND: tuple[Callable[[str, str], Any], ...] = (
    lambda kind, s: f"Please note {s}, thanks for your order.",
    lambda kind, s: json.dumps({"id": 7, "data": {"v": s}}),
    lambda kind, s: {"user": {kind: s, "id": 3}},
    lambda kind, s: f"2026-01-02T03:04:05Z INFO req=9f8a7c contact {s} status=200",
    lambda kind, s: f"id,name,{kind}\n17,Ann,{s}\n18,Bob,-\n",
    lambda kind, s: f"<tr><td>Ann</td><td>{s}</td></tr>",
    lambda kind, s: f"{LABELS[kind]}: {s}",
    lambda kind, s: f'File "x.py", line 3, in f\nValueError: bad value {s!r}',
    lambda kind, s: f"https://example.test/p?x=1&{kind}={quote(s)}&y=2",
)


def people(seed: int, each: int = 9) -> Iterator[Labelled]:
    """E-mail and telephone of every country, and numbers that have a check digit, in every surrounding."""
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(seed)
        makers = {"email": fake.email, "phone": fake.phone_number, "card": fake.credit_card_number, "ip": fake.ipv6}
        makers |= {"iban": fake.iban} if locale in ("en_GB", "de_DE", "fr_FR", "es_ES", "nl_NL", "pl_PL") else {}
        makers |= {"ssn": fake.ssn} if locale == "en_US" else {}
        for kind, make in makers.items():
            for i in range(each):
                secret = str(make())
                yield Labelled(f"{kind} {locale}", AROUND[i % len(AROUND)](kind, secret), secret)


# Secrets by their names, as languages and files assign them

FORMS = (
    '{i}Token = "{s}"', "{i}_token: '{s}'", '{{"{i}_token": "{s}"}}', '{{\\"{i}_token\\": \\"{s}\\"}}',
    "<{i}Token>\n    {s}\n</{i}Token>", "{i}_token: |\n  {s}", "{i}_token: >-\n  {s}", 'string {i}Token = "{s}";',
    'var {i}Token string = "{s}"', '{i}Token := "{s}"', 'let {i}Token: string = "{s}"', '${i}Token .= "{s}";',
    '{i}_TOKEN ::= "{s}"', '{i}_TOKEN ?= "{s}"', "export {i}_API_KEY={s}", '"{i}_token" => "{s}"',
    ':{i}_token => "{s}"', 'config.put("{i}Token", "{s}")', "{i}.api.key={s}", "X-{i}-Api-Key: {s}",
    "--{i}-token {s}", "--{i}-api-key={s}",
    '{i}ClientSecret = @"{s}"', 'define("{i}_SECRET", "{s}");', "ENV {i}_TOKEN {s}", "-D{i}.token={s}",
    '<add key="{i}Token" value="{s}" />', '<property name="{i}.password" value="{s}"/>', 'password "{s}";',
    "user,{i}_password\nann,{s}\nbob,-\n",
)  # fmt: skip
VENDORS = ("acme", "adafruit", "algolia", "coinbase", "confluent", "okta", "sendbird", "travisci", "zendesk")


def settings(seed: int, each: int = 10) -> Iterator[Labelled]:
    """A drawn value under a name, in every form."""
    draw = random.Random(seed)
    for form in FORMS:
        for _ in range(each):
            secret = "".join(draw.choices(string.ascii_lowercase + string.digits, k=draw.randint(20, 64)))
            yield Labelled(form, form.format(i=draw.choice(VENDORS), s=secret), secret)


# What only looks alike


class _Draw:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def n(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def of(self, alphabet: str, size: int) -> str:
        return "".join(self.random.choices(alphabet, k=size))

    def digits(self, size: int) -> str:
        return self.of("123456789", 1) + self.of(string.digits, size - 1)

    def hex(self, size: int) -> str:
        return self.of("0123456789abcdef", size)

    def upper(self, size: int) -> str:
        return self.of(string.ascii_uppercase, size)

    def time(self, form: str) -> str:
        return datetime.fromtimestamp(self.n(0, 1_900_000_000), UTC).strftime(form)

    def ean(self, start: str = "") -> str:
        body = start + self.of(string.digits, 12 - len(start))
        return body + str(-sum((3 if i % 2 else 1) * int(digit) for i, digit in enumerate(body)) % 10)

    def isbn(self) -> str:
        body = self.of(string.digits, 9)
        return body + "0123456789X"[-sum((10 - i) * int(digit) for i, digit in enumerate(body)) % 11]

    def rows(self, cell: Callable[[], str], between: str = " ", width: int = 8, height: int = 4) -> str:
        return "\n".join(between.join(cell() for _ in range(width)) for _ in range(height))


LOOKALIKES: dict[str, Callable[[_Draw], Any]] = {
    "uuid": lambda d: {"id": str(uuid.UUID(int=d.random.getrandbits(128)))},
    "commit": lambda d: f"commit {d.hex(40)} ({d.hex(7)})",
    "docker digest": lambda d: f"ghcr.io/acme/web:{d.n(1, 9)}.{d.n(0, 9)}@sha256:{d.hex(64)}",
    "etag": lambda d: f'ETag: W/"{d.hex(32)}-{d.n(1, 20)}"',
    "mac": lambda d: f"{':'.join(d.hex(2) for _ in range(6))} {'.'.join(d.hex(4) for _ in range(3))}",
    "epoch": lambda d: {"s": d.n(10**9, 2 * 10**9), "ms": str(d.n(10**12, 2 * 10**12)), "us": d.n(10**15, 2 * 10**15)},
    "epoch in text": lambda d: (
        f"at {d.n(10**9, 2 * 10**9)}.{d.n(0, 999)}, {d.n(10**12, 2 * 10**12)} and {d.n(10**18, 2 * 10**18)}"
    ),
    "version": lambda d: f"v{d.n(0, 30)}.{d.n(0, 99)}.{d.n(0, 99)}-rc.{d.n(1, 9)}+build.{d.n(1, 9999)}",
    "version of four": lambda d: (
        f"Chrome/{d.n(1, 150)}.{d.n(0, 9)}.{d.n(1, 9999)}.{d.n(0, 250)}, version: 4.{d.n(0, 9)}.{d.n(0, 9)}.{d.n(0, 9)}"
    ),
    "price": lambda d: (
        f"${d.n(1, 999)},{d.n(100, 999)}.{d.n(0, 99):02d} or {d.n(1, 999)} {d.n(100, 999)} {d.n(100, 999)},00 €"
    ),
    "isbn": lambda d: f"ISBN {d.isbn()}, {d.ean('978')}",
    "isbn bare": lambda d: {"isbn": d.isbn(), "isbn13": d.ean("979")},
    "isbn grouped": lambda d: f"978-{d.n(0, 9)}-{d.n(100, 999)}-{d.n(10000, 99999)}-{d.n(0, 9)}",
    "ean": lambda d: {"barcode": d.ean(), "text": f"EAN {d.ean('4')}"},
    "order": lambda d: (
        f"Order #{d.digits(9)}, {d.n(100, 999)}-{d.digits(7)}-{d.digits(7)}, INV-2026-{d.n(1, 99999):05d}"
    ),
    "id like a phone": lambda d: {
        "ticket": f"ticket {d.n(2 * 10**9, 10**10 - 1)} closed",
        "user_id": d.n(10**6, 10**11),
    },
    "coordinates": lambda d: f"{d.random.uniform(-90, 90):.6f}, {d.random.uniform(-180, 180):.6f}",
    "date": lambda d: d.time("%Y-%m-%dT%H:%M:%S+05:30"),
    "date by day": lambda d: f"{d.time('%d.%m.%Y %H:%M')} {d.time('%d-%m-%Y')} {d.time('%d %m %Y')}",
    "date by month": lambda d: d.time("%m/%d/%Y %I:%M %p"),
    "date of a log": lambda d: d.time("[%d/%b/%Y:%H:%M:%S +0200]"),
    "date of mail": lambda d: d.time("%a, %d %b %Y %H:%M:%S +0000"),
    "date alone": lambda d: d.time("%Y%m%d%H%M%S and %Y%m%d-%H%M%S"),
    "floats": lambda d: d.rows(lambda: f"{d.random.uniform(-1, 1):.4f}"),
    "integers": lambda d: d.rows(lambda: str(d.n(0, 10 ** d.n(1, 6)))),
    "csv of integers": lambda d: "id,a,b\n" + d.rows(lambda: str(d.n(0, 10 ** d.n(1, 9))), ",", 3),
    "hex dump": lambda d: d.rows(lambda: d.hex(2), width=16),
    "picture": lambda d: "data:image/png;base64,iVBORw0KGgo" + base64.b64encode(d.random.randbytes(600)).decode(),
    "script": lambda d: (
        f"!function(e,t){{var n={d.n(0, 999)};for(;n<t.length;n++)e.{d.of('abcdef', 2)}(t[n],0x{d.hex(6)})}}(this)"
    ),
    "licence": lambda d: "-".join(d.of(string.ascii_uppercase + string.digits, 5) for _ in range(5)),
    "colour": lambda d: f"#{d.hex(6)} rgb({d.n(0, 255)}, {d.n(0, 255)}, {d.n(0, 255)})",
    "cron": lambda d: f"*/{d.n(1, 59)} {d.n(0, 23)} {d.n(1, 28)} * {d.n(0, 6)} /usr/bin/job --n {d.n(1, 9999)}",
    "tracking": lambda d: (
        f"1Z{d.of(string.ascii_uppercase + string.digits, 16)}, {d.upper(2)}{d.digits(9)}DE, DHL {d.digits(10)}"
    ),
    "oid": lambda d: f"OID 1.3.6.1.4.1.{d.n(1, 99999)}.{d.n(1, 9)}",
    "doi": lambda d: (
        f"doi:10.{d.n(1000, 9999)}/j.abc.{d.n(1990, 2026)}.01.{d.n(1, 999):03d}, arXiv:2{d.n(100, 912)}.{d.digits(5)}"
    ),
    "arn": lambda d: f"arn:aws:iam::{d.digits(12)}:role/deploy",
    "listing": lambda d: f"-rw-r--r-- 1 root root {d.n(100, 10**9)} {d.time('%b %d %H:%M')} file{d.n(1, 99)}.txt",
    "process": lambda d: (
        f"root {d.n(1, 65535)} 0.0 0.1 {d.n(10**4, 10**7)} {d.n(10**3, 10**6)} ? Ss 18:00 0:00 /sbin/init"
    ),
    "range": lambda d: f"bytes {d.n(0, 9999)}-{d.n(10000, 99999)}/{d.n(100000, 9999999)}",
    "address": lambda d: f"{d.n(1, 9999)} Main St, Springfield {d.n(10000, 99999)}-{d.n(1000, 9999)}",
    "remote": lambda d: (
        f"git@github.com:acme/{d.of('abcdef', 5)}.git @acme/ui@{d.n(1, 9)}.{d.n(0, 9)}.{d.n(0, 9)} logo@2x.png"
    ),
    "traceparent": lambda d: f"00-{d.hex(32)}-{d.hex(16)}-01",
    "loopback": lambda d: f"0.0.0.0:{d.n(1, 65535)}->80/tcp 127.0.0.1 255.255.255.{d.n(0, 255)} ::1",
    "code": lambda d: f"std::vector<a::b>::iterator it{d.n(1, 9)}; y = a @ b.T; x[{d.n(1, 9)}:{d.n(10, 99)}]",
    "word that is no label": lambda d: (
        f"mobile app build {d.digits(8)}; phone model SM-{d.n(100, 999)}; card layout {d.n(1000, 99999)}"
    ),
    "name of a secret": lambda d: d.random.choice(NAMES),
}
NAMES = (
    "token = get_token(user)", "password: str", "secret: ${{ secrets.DEPLOY_KEY }}", "token?: string;", "token expired",
    "password = os.environ['DB_PASSWORD']", "const token = req.headers.authorization", "max_tokens: 4096",
    "passwordHash VARCHAR(255) NOT NULL", "secretKeyRef:\n  name: db\n  key: password", "secret = input('secret: ')",
    "func Token(ctx context.Context) (string, error)", "private String password;", "let token: string | undefined;",
    '@Value("${db.password}") String password', "x['password'] = y['password']", "getattr(obj, 'token', None)",
    '["password", "token", "secret"]', 'map(token => "x")', "ENV TOKEN_FILE /run/secrets", "token,count\nrelease,12\n",
    '<input type="password" name="password" placeholder="Password">', "apiKey: process.env.API_KEY",
)  # fmt: skip


def lookalikes(seed: int, each: int = 45) -> Iterator[Labelled]:
    """Over 45 kinds: alone, in a list, in a sentence."""
    draw = _Draw(seed)
    for kind, make in LOOKALIKES.items():
        for i in range(each):
            value = make(draw)
            shown = f"see {value} here" if isinstance(value, str) and "\n" not in value else {"v": value}
            yield Labelled(kind, (value, {"result": [value]}, shown)[i % 3])
