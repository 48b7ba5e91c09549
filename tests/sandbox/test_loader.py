from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from belljar.errors import Code, ValidationError
from belljar.limits import Limits
from belljar.rpc.policy import Declared
from belljar.sandbox.loader import Capability, check_args, load_code, load_file, parse_args

LIMITS = Limits()
NOTES = """# /// script
# [tool.belljar]
# name = "git:release_notes"
# description = "What changed"
# servers = ["git"]
# ///
async def main(repo_path: str, max_count: int = 50):
    return await mcp.git.git_log(repo_path=repo_path, max_count=max_count)
"""


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        call(*args)
    message = caught.value.message
    assert caught.value.code is Code.VALIDATION_ERROR
    assert message.isprintable()
    assert len(message) < 500
    return message


def test_a_file_becomes_a_capability(tmp_path: Path) -> None:
    """What the block and the signature say, under the hash of the bytes on disk."""
    path = tmp_path / "notes.py"
    path.write_text(NOTES)
    loaded = load_file(path, LIMITS)
    sha256 = hashlib.sha256(NOTES.encode()).hexdigest()
    assert str(loaded.fqdn) == f"local.default.git.release_notes.{sha256[:4]}"
    assert (loaded.sha256, loaded.fqdn.sha256, loaded.source, loaded.name) == (sha256, sha256, NOTES, "notes.py")
    assert (loaded.description, loaded.declared) == ("What changed", Declared(("git",), ()))
    assert loaded.args_schema is not None
    assert loaded.args_schema["required"] == ["repo_path"]


def test_code_without_a_name_gets_one(tmp_path: Path) -> None:
    """Unnamed code is known by its file's stem or as a snippet, and everything configured counts as declared."""
    path = tmp_path / "My Notes.py"
    path.write_text("1 + 1")
    assert str(load_file(path, LIMITS).fqdn).startswith("local.default.adhoc.my_notes.")
    snippet = load_code("1 + 1", LIMITS)
    assert str(snippet.fqdn).startswith("local.default.adhoc.snippet.")
    assert snippet.declared is None
    assert snippet.args_schema is None
    assert snippet.sha256 == load_file(path, LIMITS).sha256


def test_a_byte_order_mark_is_not_code(tmp_path: Path) -> None:
    """Editors that write one do no harm; the hash is still that of the file."""
    path = tmp_path / "bom.py"
    path.write_bytes(b"\xef\xbb\xbf1 + 1")
    loaded = load_file(path, LIMITS)
    assert loaded.source == "1 + 1"
    assert loaded.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_300_kb_of_code_are_refused_early(tmp_path: Path) -> None:
    """F9: over the limit, by file and by text, counted in bytes of UTF-8."""
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * 50_000)
    assert refused(load_file, path, LIMITS).endswith(
        "has 300000 bytes, 262144 is the limit: make it shorter, or --limit code=N"
    )
    assert "300000 bytes" in refused(load_code, "#" * 300_000, LIMITS)
    assert "300001 bytes" in refused(load_code, "#" + "é" * 150_000, LIMITS)
    load_code("#" * LIMITS.code, LIMITS)
    load_file(path, LIMITS.with_(code="1MiB"))


def test_a_file_over_the_limit_is_not_read_whole(tmp_path: Path) -> None:
    """F9: a sparse file of a terabyte is refused by its size, at once."""
    path = tmp_path / "huge.py"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert f"has {1 << 40} bytes" in refused(load_file, path, LIMITS)


def test_a_path_that_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, directory, FIFO, device, socket: each at once and by name; a terminal sees nothing but text."""
    monkeypatch.chdir(tmp_path)  # a socket's path has 107 bytes at most, and temporary folders lie deep
    fifo, listening = tmp_path / "fifo", tmp_path / "socket"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert r"no file no\x1b[2Jsuch.py: check the path" in refused(load_file, "no\x1b[2Jsuch.py", LIMITS)
        assert "is a directory" in refused(load_file, tmp_path, LIMITS)
        assert "is no regular file" in refused(load_file, fifo, LIMITS)
        assert "is no regular file" in refused(load_file, "/dev/zero", LIMITS)
        assert "cannot read" in refused(load_file, listening, LIMITS)
        assert "cannot read" in refused(load_file, "a\0b", LIMITS)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"x = 1\ny = '\xff'", "is not UTF-8 (line 2)"),
        ("x = 1".encode("utf-16"), "is not UTF-8"),
        (b"1\n\n2\0", "has a NUL character (line 3)"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    """The message names the line where there is one."""
    path = tmp_path / "code.py"
    path.write_bytes(data)
    assert words in refused(load_file, path, LIMITS)
    assert words in refused(load_code, data.decode("utf-8", "surrogateescape"), LIMITS)


def test_loading_leaves_no_descriptor(tmp_path: Path) -> None:
    """Neither a good file nor a bad one stays open."""
    path = tmp_path / "code.py"
    path.write_text("1")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        load_file(path, LIMITS)
        refused(load_file, tmp_path, LIMITS)
        refused(load_file, "/dev/null", LIMITS)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def notes() -> Capability:
    return load_code(NOTES, LIMITS)


def test_arguments_that_fit_come_back_as_json(notes: Capability) -> None:
    """The text is what the guest will see."""
    assert check_args(notes, {"repo_path": "ü", "max_count": 3}, LIMITS) == '{"repo_path":"ü","max_count":3}'
    assert check_args(load_code("args", LIMITS), {"anything": (1, 2)}, LIMITS) == '{"anything":[1,2]}'


def test_a_missing_field_is_named(notes: Capability) -> None:
    """F17: missing, wrong and unknown fields are errors that name the field."""
    assert "args.repo_path: is required" in refused(check_args, notes, {}, LIMITS)
    assert "args.max_count" in refused(check_args, notes, {"repo_path": ".", "max_count": "3"}, LIMITS)
    assert "args.max_count" in refused(check_args, notes, {"repo_path": ".", "max_count": True}, LIMITS)
    assert "args.depth" in refused(check_args, notes, {"repo_path": ".", "depth": 1}, LIMITS)


def test_a_declared_schema_stands_before_the_signature() -> None:
    """F17: what the block says about arguments counts; a schema that cannot be used is refused at once."""
    block = "# /// script\n# [tool.belljar.args]\n# {}\n# ///\ndef main(a): ...\n"
    declared = load_code(block.format('required = ["b"]'), LIMITS)
    assert "args.b: is required" in refused(check_args, declared, {"a": 1}, LIMITS)
    assert check_args(declared, {"b": 1}, LIMITS) == '{"b":1}'
    assert "cannot be used" in refused(load_code, block.format('"$ref" = "http://127.0.0.1:9/x"'), LIMITS)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([1], "are a list: give one JSON object"),
        (None, "are null"),
        ("x", "are a string"),
        (3, "are a number"),
        ({1, 2}, "are a Python set"),
        ({"a": float("nan")}, "a number that JSON cannot hold"),
        ({"a": {1}}, "not a JSON value"),
        ({"a": "\ud800"}, "lone surrogate"),
        ({1: 1, "1": 2}, "the same key twice"),
    ],
)
def test_arguments_that_are_no_json_object_are_refused(args: object, words: str) -> None:
    """Each in one line; keys that would collide as JSON are no exception."""
    assert words in refused(check_args, load_code("args", LIMITS), args, LIMITS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON we take"),
        ("[1]", "are a list"),
        ('{"a": NaN}', "NaN and Infinity"),
        ('{"a": 1, "a": 2}', "same key twice"),
        ("[" * 100_000, "nested deeper"),
        ("{'a': 1}", "not JSON we take"),
    ],
)
def test_argument_text_is_strict_json(text: str, words: str) -> None:
    """What two readers could read differently is refused."""
    assert words in refused(parse_args, text, LIMITS)


def test_arguments_over_the_limit_are_refused() -> None:
    """Counted in bytes of JSON, before a box exists."""
    limits = LIMITS.with_(args=100)
    assert "longer than 100 bytes" in refused(parse_args, '{"a": "' + "é" * 50 + '"}', limits)
    assert "longer than 100 bytes" in refused(check_args, load_code("args", limits), {"a": "x" * 100}, limits)
    cycle: dict[str, Any] = {}
    cycle["cycle"] = cycle
    assert "contains itself" in refused(check_args, load_code("args", limits), cycle, limits)


def test_a_snippet_loads_without_anything_heavy() -> None:
    """Validators, parsers and patterns are imported by those who need them."""
    script = (
        "import sys; from belljar.limits import Limits; from belljar.sandbox.loader import *;"
        "c = load_code('1 + 1', Limits()); check_args(c, {}, Limits());"
        "print({'jsonschema', 'pydantic', 're2', 'tomllib', 'mcp', 'belljar.sandbox.signature'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
