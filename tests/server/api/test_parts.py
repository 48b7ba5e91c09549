"""The server's parts by themselves: bodies, settings, sockets, logs."""

from __future__ import annotations

import gzip
import io
import json
import logging
import socket
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belljar.errors import ConfigError
from belljar.rpc import jsontext
from belljar.server import bodies, logs
from belljar.server.bodies import Body
from belljar.server.problems import Problem
from belljar.server.run import Listening, listen
from belljar.server.settings import Settings
from tests.server.traces import wire

SETTINGS = Settings(database="sqlite:///x")

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(VALUES, st.booleans())
def test_every_form_means_the_same(value: Any, gzipped: bool) -> None:
    """A JSON value comes out of JSON and msgpack, gzipped or not, as it went in."""
    pack: Any = msgpack.packb
    for kind, data in (("json", json.dumps(value).encode()), ("msgpack", pack(value))):
        body = Body(gzip.compress(data) if gzipped else data, kind, gzipped)
        assert bodies.parse(body, SETTINGS) == (value, len(data))


_NUMBERS = ["1e999", "-0", "1E5", "NaN", "Infinity", "01", "1.", "9" * 4300, "9" * 4301, "1.0" + "0" * 4300]
_STRINGS = [r'"\\"', r'"\u005c"', r'"\""', r'"\u0022"', r'"\/"', r'"\ud800"', r'"\ud83d\ude00"', '"é[{"', '"Infinity"']
_SPELLED = st.sampled_from([*_NUMBERS, *_STRINGS, '"a\tb"', "[" * 79 + "]" * 79])
_TEXTS = st.recursive(
    _SPELLED,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: f"[{', '.join(some)}]")
        | st.lists(st.tuples(st.sampled_from(['"a"', r'"a\\"', r'"\u0061"', '"b"']), inner), max_size=3).map(
            lambda some: "{" + ",".join(f"{key} :{value}" for key, value in some) + "}"
        )
    ),
    max_leaves=6,
)


@given(_TEXTS | st.text(max_size=30))
@example("[1.0" + "0" * 4300 + "]")
def test_the_quick_parser_has_no_opinion_of_its_own(text: str) -> None:
    """F36: what it takes is what the thorough one takes, the same value to the last digit; twice the same key is
    refused however it is spelled."""
    data = text.encode()
    try:
        value = bodies._quickly(data, SETTINGS)
    except ValueError:
        return
    assert repr(value) == repr(jsontext.parse(data, max_bytes=1 << 20, max_depth=80))


@pytest.mark.parametrize("key", ['"a"', r'"\u0061"', r'"a\\"'])
@pytest.mark.parametrize("value", ["1", '"x"', r'"\\"', r'"\u005c"', r'"\""', r'"\u0022\u005c"'])
def test_a_key_twice_is_refused(key: str, value: str) -> None:
    """Two readers would see two documents; also where escapes blur the count of quotes."""
    other = key.replace("a", r"\u0061", 1) if "u0061" not in key else '"a"'
    body = f'[{{{key}: {value}, "b": {value}, {other}: {value}}}]'.encode()
    with pytest.raises(Problem, match="same key twice"):
        bodies.parse(Body(body, "json", False), SETTINGS)


def test_an_ordinary_body_takes_the_quick_way() -> None:
    """Or the quick way is none."""
    body = json.dumps({"traces": [wire(n, intent='say "caf\u00e9" \\ now') for n in range(30)]}, ensure_ascii=False)
    assert bodies._quickly(body.encode(), SETTINGS) == json.loads(body)


@given(st.binary(max_size=300), st.sampled_from(["json", "msgpack"]), st.booleans())
def test_any_bytes_are_a_value_or_a_problem(data: bytes, kind: str, gzipped: bool) -> None:
    """F36: nothing else can come of a body, and no message repeats it."""
    try:
        bodies.parse(Body(data, kind, gzipped), SETTINGS)
        return
    except Problem as exc:
        problem = exc
    assert problem.status == 400
    assert len(problem.detail) < 200


def test_the_socket_is_known_to_be_tcp() -> None:
    """A socket made with protocol 0 gets no NODELAY from asyncio: 45 ms a batch more."""
    with listen("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:1"),
        ("::1", "http://[::1]:1"),
        ("0.0.0.0", "http://127.0.0.1:1"),
        ("::", "http://[::1]:1"),
        ("localhost", "http://localhost:1"),
    ],
)
def test_the_url_can_be_opened(host: str, url: str) -> None:
    """Also that of a server that listens everywhere."""
    assert Listening(host, 1).url == url


def test_settings_show_no_database() -> None:
    """Its URL may hold a password."""
    assert "hunter2" not in repr(Settings(database="postgresql://ann:hunter2@h/d"))


@pytest.mark.parametrize(
    "changes", [{"port": -1}, {"threads": 0}, {"rate_burst": 0}, {"allowed_hosts": ("a b",)}, {"allowed_hosts": ("",)}]
)
def test_settings_that_cannot_be(changes: dict[str, Any]) -> None:
    """Refused when they are made."""
    with pytest.raises(ConfigError):
        Settings(database="", **changes)


@pytest.fixture
def lines() -> Any:
    """Logging as the server configures it, into memory; put back as it was."""
    # Whoever started a uvicorn in this process before may have made it quiet.
    names = (logs.EVENTS, "uvicorn", "uvicorn.error", "sqlalchemy", "alembic")
    before = {name: (logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names}
    logging.getLogger("uvicorn.error").setLevel(logging.NOTSET)
    stream = io.StringIO()
    logs.configure(stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for name, (level, propagate) in before.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(level)
        logger.propagate = propagate


def test_a_log_line_is_one_line(lines: Any) -> None:
    """F83: foreign text is shown, an error's own words - a database quotes values in them - are not there."""
    logs.event("request", route="\x1b[2J\n{}\u202e", status=200, ms=1.5, key=None)
    try:
        raise ValueError("hunter2\nsecond line")
    except ValueError as exc:
        logs.event("fault", level=logging.ERROR, exc=exc)
    logging.getLogger("uvicorn.error").warning("said \x1b[2J")
    first, second, third = lines()
    assert (first["event"], first["route"], first["status"]) == ("request", "\\x1b[2J\\n{}\\u202e", 200)
    assert "key" not in first
    assert (second["level"], second["error"]) == ("error", "ValueError")
    assert "hunter2" not in json.dumps(second)
    assert third["event"] == "uvicorn.error: said \\x1b[2J"
