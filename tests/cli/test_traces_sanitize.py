"""`belljar traces sanitize`: any JSON value in, what may leave of it out, counts on stderr."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.cli.conftest import Belljar

VALUE = {"author": "ann@corp.com", "note": ["ruf an: (030) 12345678", "Steuer-ID 86095742719"], "n": 7}


def sanitize(belljar: Belljar, value: Any, *options: str) -> tuple[int, str, str]:
    done = subprocess.run(
        belljar.command("traces", "sanitize", *options),
        cwd=belljar.folder,
        env=belljar.environment,
        input=json.dumps(value).encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_both_passes_mask(belljar: Belljar) -> None:
    """F25: a number that only Presidio knows is masked, and counted like the rest; again, nothing changes."""
    status, out, err = sanitize(belljar, VALUE)
    assert status == 0, err
    masked = {"author": "[EMAIL]", "note": ["ruf an: [PHONE]", "Steuer-ID [SSN]"], "n": 7}
    assert json.loads(out) == masked
    assert err == "belljar: masked 1 EMAIL, 1 PHONE, 1 SSN\n"
    assert sanitize(belljar, masked) == (0, out, "belljar: masked nothing\n")


def test_pass_1_alone(belljar: Belljar) -> None:
    """What is written down before it is sent; Presidio is not even imported."""
    status, out, err = sanitize(belljar, VALUE, "--pass1")
    assert (status, err) == (0, "belljar: masked 1 EMAIL\n")
    assert json.loads(out)["note"] == VALUE["note"]
    command = belljar.command("traces", "sanitize", "--pass1")
    command.insert(1, "-Ximporttime")
    done = subprocess.run(
        command, cwd=belljar.folder, env=belljar.environment, input=b"1", capture_output=True, check=True
    )
    assert b"presidio" not in done.stderr


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--spacy-model", "no_such_model"], "CONFIG_ERROR", "python -m spacy download no_such_model"),
        (["--spacy-model", "x", "--pass1"], "VALIDATION_ERROR", "--spacy-model"),
    ],
)
def test_a_model_that_is_not_there(belljar: Belljar, options: list[str], code: str, says: str) -> None:
    """One line that says what to do, nothing on stdout, nothing downloaded."""
    status, out, err = sanitize(belljar, VALUE, *options)
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith(f"belljar: {code}: ")
    assert says in err
