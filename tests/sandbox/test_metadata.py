from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import ValidationError
from belljar.limits import KIB
from belljar.rpc.policy import Declared
from belljar.sandbox import metadata
from belljar.sandbox.metadata import Metadata

# Verbatim from the specification.
PEP_723 = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"
LINES = st.sampled_from(
    ["# /// script", "# /// x", "# ///", "#", "# a = 1", "#b", "", "x = 1", "# /// script ", " # ///"]
)


def block(toml: str) -> str:
    lines = "".join(f"# {line}\n" if line else "#\n" for line in toml.split("\n"))
    return f"# /// script\n{lines}# ///\n1 + 1\n"


def belljar(toml: str) -> str:
    return block(f"[tool.belljar]\n{toml}")


@given(st.lists(LINES, max_size=14).map("\n".join))
def test_blocks_are_those_of_the_pep(source: str) -> None:
    """The one-pass scanner finds what the specification's regular expression finds, with the same content."""
    expected = [
        (match["type"], [line[2:] if line.startswith("# ") else line[1:] for line in match["content"].split("\n")[:-1]])
        for match in re.finditer(PEP_723, source)
    ]
    assert metadata._blocks(source) == expected


def test_the_documented_block() -> None:
    """Name, description, servers and permissions come out as they stand."""
    source = block(
        'dependencies = ["httpx<1"]\nrequires-python = ">=3.12"\n\n[tool.uv]\nx = 1\n[tool.belljar]\n'
        'name = "git:release_notes"  # namespace:action\ndescription = "What changed"\n'
        'servers = ["git"]\npermissions = ["git:git_log"]\n[tool.belljar.args]\ntype = "object"'
    )
    assert metadata.read(source) == Metadata(
        name="git:release_notes",
        description="What changed",
        declared=Declared(("git",), ("git:git_log",)),
        args={"type": "object"},
        dependencies=("httpx<1",),
    )
    assert metadata.read(source.replace("\n", "\r\n")) == metadata.read(source)


@pytest.mark.parametrize(
    "source", ["1 + 1", "# /// other\n# x = [\n# ///\n", "# /// script\n# ///\n", "# /// script\n# x"]
)
def test_without_a_block_nothing_is_said(source: str) -> None:
    """No block, somebody else's block, and what is no block."""
    assert metadata.read(source) is None


@pytest.mark.parametrize(
    ("toml", "covers", "denies"),
    [
        ('servers = ["git"]', [("git", "git_log")], [("time", "now")]),
        ('permissions = ["git:git_*"]', [("git", "git_log")], [("git", "x"), ("time", "now")]),
        ('servers = ["git"]\npermissions = ["git:git_log"]', [("git", "git_log")], [("git", "git_push")]),
        ('servers = ["git"]\npermissions = ["*"]', [("git", "git_log")], [("time", "now")]),
        ('servers = ["git"]\npermissions = []', [], [("git", "git_log")]),
        ('name = "a:b"', [], [("git", "git_log")]),
    ],
)
def test_a_declaration_is_exactly_what_it_lists(
    toml: str, covers: list[tuple[str, str]], denies: list[tuple[str, str]]
) -> None:
    """F12: what is not listed is not declared; an empty list means no call."""
    said = metadata.read(belljar(toml))
    assert said is not None
    assert said.declared is not None
    assert all(said.declared.covers(*call) for call in covers)
    assert not any(said.declared.covers(*call) for call in denies)


def test_a_block_without_our_table_declares_nothing_either_way() -> None:
    """Dependencies alone leave the policy to decide."""
    said = metadata.read(block("dependencies = []"))
    assert said is not None
    assert said.declared is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (belljar("servers = []") + "\n" + belljar("servers = []"), "2 '# /// script' blocks"),
        (belljar('permision = ["git:*"]'), "no key permision; it knows: name, description, servers, permissions, args"),
        (belljar("x\u202e = 1"), "no valid TOML"),
        (belljar("'x\u202e' = 1"), r"no key x\u202e"),
        (belljar("name ="), "no valid TOML"),
        (belljar('name = "Git:log"'), "bad namespace Git"),
        (belljar('name = "git"'), "write namespace:action"),
        (belljar('name = "acme.tools.git.log"'), "write namespace:action"),
        (belljar("name = 3"), "name in the metadata block must be a string"),
        (belljar('servers = "git"'), "servers in the metadata block must be a list"),
        (belljar("servers = [1]"), "servers in the metadata block must be a list"),
        (belljar('permissions = ["git"]'), "permissions in the metadata block"),
        (belljar('servers = ["git"]\npermissions = ["time:now"]'), "time:now is for a server"),
        (belljar("args = 1"), "args in the metadata block must be a JSON Schema"),
        (belljar("args = {a = 2020-01-01}"), "without dates"),
        (belljar("args = {a = inf}"), "without dates"),
        (belljar("args = {a = 0x" + "f" * 1500 + "}"), "without dates"),
        (block("tool.belljar = 1"), "write [tool.belljar]"),
        (block('permissions = ["git:*"]'), "outside [tool.belljar]"),
        (block('dependencies = "httpx"'), "dependencies in the metadata block must be a list"),
        (block("a = 1979-13-01"), "no valid TOML"),
        (block("a = " + "[" * 1900), "nested too deeply"),
        (block("a = '" + "x" * 3000 + "'"), "longer than 2048"),
        (block("\n".join(f"a{i} = '{'x' * 90}'" for i in range(200))), "16384 is the most"),
    ],
)
def test_a_wrong_block_is_refused_in_one_line(source: str, words: str) -> None:
    """Each mistake says what it is and what to do, bounded and without control characters."""
    with pytest.raises(ValidationError) as caught:
        metadata.read(source)
    assert words in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    "line",
    ["# /// script\n", "# /// script\n# ///\n", "#\n", "\n", "# /// script\n#\n# ///\n\n", "# a" + ".a" * 1000 + "\n"],
)
def test_hostile_sources_take_linear_time(line: str) -> None:
    """Twice the source takes about twice the time, counted in lines looked at, not in seconds."""

    def steps(count: int) -> int:
        looked_at = 0

        class Line(str):
            __slots__ = ()

            def __eq__(self, other: object) -> bool:
                nonlocal looked_at
                looked_at += 1
                return str.__eq__(self, other)

            __hash__ = str.__hash__

            def removesuffix(self, suffix: str, /) -> Line:
                return Line(str.removesuffix(self, suffix))

        class Source(str):
            __slots__ = ()

            def split(self, *args: object) -> list[str]:
                return [Line(part) for part in str.split(self, "\n")]

        metadata._blocks(Source(line * count))
        return looked_at

    assert steps(2000) <= 2.2 * steps(1000) + 10


def test_a_long_dotted_key_does_not_hold_the_parser() -> None:
    """The standard library's parser is quadratic in a key's parts: 8000 of them took 1.5 s, and are refused."""
    with pytest.raises(ValidationError, match="longer than 2048"):
        metadata.read(block("a" + ".a" * (4 * KIB) + " = 1"))
