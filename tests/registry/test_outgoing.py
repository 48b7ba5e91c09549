"""Code on its way out: what the sanitizer would mask is found by line, and code that holds nothing is let pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from belljar.registry.outgoing import finds
from belljar.tracing.outbound import Outbound
from belljar.tracing.sanitizer import Sanitizer

ROOT = Path(__file__).parents[2]
TOKEN = "ghp_" + "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5"
PEM = ["-----BEGIN RSA PRIVATE KEY-----", *["MIIEpAIBAAKCAQEA7bq" + "kZ9" * 15] * 25, "-----END RSA PRIVATE KEY-----"]


def found(code: str, *known: str) -> list[str]:
    return list(map(str, finds(code, Outbound(Sanitizer(known=known)))))


@pytest.mark.parametrize("path", [*(ROOT / "examples").glob("*.py")], ids=lambda path: path.name)
def test_honest_code_passes(path: Path) -> None:
    """Code without secrets is not refused."""
    assert found(path.read_text()) == []


def test_a_secret_is_named_by_its_line() -> None:
    """Each line that holds one, in order, with the kind; never the text itself."""
    code = f"a = 1\nkey = '{TOKEN}'\n\nmail = 'ann.smith@corp.com'\r\nb = 2"
    assert found(code) == ["line 2 (SECRET)", "line 4 (EMAIL)"]


def test_what_this_process_knows_is_found(tmp_path: Path) -> None:
    """A server's secret that looks like nothing, plain or encoded."""
    assert found("x = 'sesame-open-up'\ny = 'c2VzYW1lLW9wZW4tdXA='", "sesame-open-up") == [
        "line 1 (KNOWN)",
        "line 2 (KNOWN)",
    ]


@pytest.mark.parametrize("before", [0, 3, 500])
def test_a_secret_of_many_lines_is_found_wherever_it_stands(before: int) -> None:
    """A private key, also where one window would end in the middle of it."""
    lines = ["# nothing to see here, move along please"] * before + PEM + ["b = 2"] * 300
    (only,) = finds("\n".join(lines), Outbound(Sanitizer()))
    assert before < only.first <= before + 3
    assert only.last <= before + len(PEM)


@pytest.mark.parametrize("before", [0, 1, 100, 220, 222, 224, 225, 226, 230, 500, 4000])
def test_a_secret_that_no_line_shows_is_found(before: int) -> None:
    """What is one only together with the line before it, wherever the windows end."""
    padding = ["# nothing to see here, move along please"] * before
    lines = [*padding, 'a = {"password":', '    "hunter2-Xk9q-z81"}', "", *padding]
    assert found("\n".join(lines)) == [f"line {before + 2} (SECRET)"]
    known = [*padding, "a = 'two words", "of a secret'", *padding]
    assert found("\n".join(known), "two words\nof a secret") == [f"lines {before + 1}-{before + 2} (KNOWN)"]


@pytest.mark.parametrize("before", [0, 1000, 2040, 2047, 5000, 100_000])
def test_a_long_line_is_looked_at_whole(before: int) -> None:
    """No place in a line is too far to the right, and a long line alone is no find."""
    assert found(f"a = '{'x ' * (before // 2)} {TOKEN} {'y ' * 3000}'") == ["line 1 (SECRET)"]
    assert found(f"a = '{'x ' * 50_000}'") == []


def test_the_largest_code_is_looked_at_in_time() -> None:
    """Code at its limit of size, in one line, in many, and all of it finds: seconds, and it ends."""
    import time

    began = time.monotonic()
    assert found("x = 1\n" * 40_000) == []
    assert len(found(f"k = '{TOKEN}'\n" * 5000)) == 5000
    assert time.monotonic() - began < 30
