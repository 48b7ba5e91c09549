"""The rules as data: each is complete, compiles, names its source; its probe misses nothing its pattern finds."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.tracing.masking import checks, keys
from belljar.tracing.masking.ruleset import Compiled, Rule, Scan, key_rules, load, options
from tests.tracing.corpus.generate import PEOPLE, TOKENS, Draw

RULES = load()
PROBES = Scan([rule.probe for rule in RULES])
CONFIRM = {
    place: options()[0].compile(rule.confirm.encode(), options()[1]) for place, rule in enumerate(RULES) if rule.confirm
}
VENDORS = [
    "aws",
    "gcp",
    "azure",
    "github",
    "gitlab",
    "slack",
    "stripe",
    "openai",
    "anthropic",
    "huggingface",
    "npm",
    "pypi",
    "docker",
    "twilio",
    "sendgrid",
    "mailgun",
    "discord",
    "telegram",
    "shopify",
    "square",
    "digitalocean",
    "heroku",
    "cloudflare",
    "datadog",
    "newrelic",
    "sentry",
    "grafana",
    "linear",
    "notion",
    "figma",
    "databricks",
    "vault",
    "terraform",
    "jwt",
    "private-key",
    "age",
    "email",
    "phone",
    "ssn",
    "card",
    "iban",
    "ipv4",
    "ipv6",
]


def test_every_rule_is_complete() -> None:
    """Ids are unique, checks exist, each rule names where its format is documented."""
    assert max(Counter(rule.id for rule in RULES).values()) == 1
    for rule in RULES:
        assert rule.source, rule.id
        assert not rule.check or hasattr(checks, rule.check), rule.id
        assert list(Compiled(rule).spans(b"plain words")) == [], rule.id


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_promised_format_has_a_rule(vendor: str) -> None:
    """F24, F25."""
    assert any(rule.id.startswith(vendor) for rule in RULES)


def _finds(rule: Rule, text: bytes) -> bool:
    return any(True for _ in Compiled(rule).spans(text))


def test_a_probe_misses_nothing_its_pattern_finds() -> None:
    """The scan is a necessary condition: whatever a rule finds, its probe has announced."""
    drawn = Draw(11)
    texts = [make(drawn).encode() for make in {**TOKENS, **PEOPLE}.values() for _ in range(5)]
    scan = Scan([rule.probe for rule in RULES], {i: rule.confirm for i, rule in enumerate(RULES) if rule.confirm})
    for text in texts:
        hits = set(scan(text))
        for i, rule in enumerate(RULES):
            # A secret beside its id is announced by the id; one of the rules finds it all the same.
            assert i in hits or not _finds(rule, text) or rule.id == "aws-secret-beside-id", (rule.id, text)


@given(st.text("0123456789123456789 -./?_,;|+:\n\tab()", min_size=8, max_size=60))
def test_a_probe_misses_nothing_that_is_confirmed(text: str) -> None:
    """What is asked for where a probe hits is only asked there: it must hold nowhere else."""
    for form in (text.encode(), json.dumps(text).encode()):
        hits = PROBES(form)
        for place, pattern in CONFIRM.items():
            assert place in hits or pattern.search(form) is None, RULES[place].id


def test_rows_of_digits_are_scanned_in_time() -> None:
    """No row of digits makes the scan build its automaton anew with every byte."""
    draw = random.Random(5)
    rows = " ".join(str(draw.randrange(10 ** draw.randrange(1, 6))) for _ in range(20_000)).encode()
    began = time.process_time()
    Scan([rule.probe for rule in RULES])(rows)
    digits = time.process_time() - began
    began = time.process_time()
    Scan([*(rule.probe for rule in RULES if not rule.confirm), *(rule.confirm for rule in RULES if rule.confirm)])(rows)
    assert digits < (time.process_time() - began) / 3


def test_the_scan_announces_every_secret_name() -> None:
    """A dictionary's key with a secret's verdict is seen in the serialized text, in every style."""
    scan = Scan([keys.probe()])
    rules = key_rules()
    names = {
        *rules.last,
        *(name.replace(" ", sep) for name in rules.pairs for sep in "_- ."),
        *(name.title().replace(" ", "") for name in rules.pairs),
    }
    for name in names:
        if keys.verdict(name) is not None:
            assert scan(f'{{"{name}":"x"}}'.encode()), name
            assert scan(f'{{"my_{name}_value":1}}'.encode()), name


@pytest.mark.parametrize(
    ("number", "good"),
    [
        ("4111111111111111", True),
        ("4111111111111112", False),
        ("378282246310005", True),
        ("5555555555554444", True),
        ("1700000000000000", False),
    ],
)
def test_a_card_has_its_check_digit_and_issuer(number: str, good: bool) -> None:
    """F25: ISO 7812; a clock in microseconds has neither."""
    text = number.encode()
    assert bool(checks.card(text, 0, len(text))) is good


@pytest.mark.parametrize(
    ("number", "good"),
    [("DE89370400440532013000", True), ("DE88370400440532013000", False), ("GB82WEST12345698765432", True)],
)
def test_an_iban_has_remainder_one(number: str, good: bool) -> None:
    """F25: ISO 13616."""
    text = number.encode()
    assert bool(checks.iban(text, 0, len(text))) is good


@pytest.mark.parametrize("area", ["000", "666", "900"])
def test_an_area_never_given_is_no_ssn(area: str) -> None:
    """F25."""
    text = f"{area}-12-3456".encode()
    assert not checks.ssn(text, 0, len(text))


def test_no_source_is_a_machine() -> None:
    """Sources are documents: a site or a project, no path and no port."""
    assert not [rule.id for rule in RULES if re.search(r"localhost|^/|:[0-9]{2,5}/", rule.source)]
