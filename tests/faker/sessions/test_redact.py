"""A session that may be shown to others: no secret in it, and it still answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from belljar.faker.calls import Tool
from belljar.faker.sessions import FILE, ServedTool, SessionStore, document, imports
from belljar.faker.sessions.document import Recorded
from belljar.faker.sessions.redact import Redactor
from belljar.faker.sessions.replayer import Replayer
from belljar.tracing.outbound import Outbound
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.second_pass import SecondPass
from tests.faker.sessions.making import READ, event, record

_KEY = b"k" * 32
_TOKEN = "ghp_" + "a1B2c3D4" * 4 + "Z9y8"
_KNOWN = "correct-horse-battery"


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor(Outbound(Sanitizer(known=[_KNOWN], pseudonym_key=_KEY), SecondPass(pseudonym_key=_KEY)))


def _recorded(path: Path, *events: Any, **more: Any) -> Recorded:
    session = record(path, *events, **more)
    with SessionStore(path) as store:
        return store.session(session), store.events(session), store.tools(session)


def test_no_secret_is_inside_and_it_still_answers(redactor: Redactor, tmp_path: Path) -> None:
    """F68: secrets and people are gone from every field, and a call made of an earlier answer still finds its own."""
    recorded = _recorded(
        tmp_path / FILE,
        event(READ, {"query": "who", "token": _TOKEN}, "ann.lee@corp.com, +41 44 668 18 00"),
        event(READ, {"path": "/mail/ann.lee@corp.com"}, f"key {_KNOWN}"),
        event(READ, {"path": "/mail/bob@corp.com"}, "other", error={"code": 1, "message": f"bad {_TOKEN}"}),
        instruction=f"act for ann.lee@corp.com with {_TOKEN}",
        command=["server", f"--key={_KNOWN}"],
    )
    written = document.write(*redactor.recorded(recorded))
    text = json.dumps(written)
    for secret in (_TOKEN, _KNOWN, "ann.lee@corp.com", "bob@corp.com", "668 18 00"):
        assert secret not in text
    assert written["redacted"] is True
    session, events, _ = imports.parse(text.encode())
    seen = events[0].response["content"][0]["text"].split(",")[0]
    assert seen.startswith("[EMAIL:")
    replayer = Replayer(events, mask=redactor.arguments)
    assert replayer.answer("fs", "read_file", {"path": f"/mail/{seen}"}).sequence == 2
    assert session.redacted


def test_the_raw_call_is_found_under_the_same_key(redactor: Redactor, tmp_path: Path) -> None:
    """F68: an agent that says the address itself gets its answer, because its arguments are masked in the same way."""
    recorded = _recorded(
        tmp_path / FILE,
        event(READ, {"path": "/mail/ann@corp.com"}, "a"),
        event(READ, {"path": "/mail/bob@corp.com"}, "b"),
    )
    _, events, _ = redactor.recorded(recorded)
    replayer = Replayer(events, strict=True, mask=redactor.arguments)
    assert replayer.answer("fs", "read_file", {"path": "/mail/ann@corp.com"}).response["content"][0]["text"] == "a"
    assert replayer.answer("fs", "read_file", {"path": "/mail/bob@corp.com"}).response["content"][0]["text"] == "b"


def test_redacting_twice_changes_nothing(redactor: Redactor, tmp_path: Path) -> None:
    """What was masked stays as it is."""
    once = redactor.recorded(_recorded(tmp_path / FILE, event(READ, {"to": "ann@corp.com"}, _TOKEN)))
    assert document.write(*redactor.recorded(once)) == document.write(*once)


def test_schemas_go_on_to_describe_their_arguments(redactor: Redactor, tmp_path: Path) -> None:
    """Names of properties stay, also such as `password` and `token`, in `properties` and in `required`; values go."""
    listed = {
        "name": "login",
        "description": "Ask ann@corp.com",
        "inputSchema": {
            "type": "object",
            "properties": {
                "password": {"type": "string", "default": "hunter2hunter2"},
                "token": {"type": "string", "examples": [_TOKEN]},
                "retries": {"type": "integer", "default": 3},
            },
            "required": ["password", "token"],
        },
    }
    session, events, _ = _recorded(tmp_path / FILE, event())
    _, _, (masked,) = redactor.recorded((session, events, [ServedTool("fs", Tool("login", listed))]))
    schema = masked.tool.input_schema
    assert schema["properties"].keys() == {"password", "token", "retries"}
    assert schema["required"] == ["password", "token"]
    assert schema["properties"]["retries"] == {"type": "integer", "default": 3}
    text = json.dumps(dict(masked.tool.listed))
    for secret in ("hunter2hunter2", _TOKEN, "ann@corp.com"):
        assert secret not in text
