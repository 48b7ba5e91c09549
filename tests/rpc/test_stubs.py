"""Stubs: always valid Python, whatever tools are called and say, and nothing of theirs runs."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.rpc.stubs import render
from belljar.rpc.world import ToolInfo

_SCHEMA = {
    "type": "object",
    "properties": {
        "repo_path": {"type": "string"},
        "max_count": {"type": "integer", "default": 10},
        "ratio": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
        "mode": {"enum": ["a", "b"], "default": "a"},
        "paths": {"type": "array", "items": {"type": "string"}},
        "extra": {"type": "object"},
        "odd-name": {"type": "boolean"},
        "class": {"type": "string"},
    },
    "required": ["repo_path"],
}


def tool(name: str, server: str = "git", **more: Any) -> ToolInfo:
    return ToolInfo(server, name, **{"input_schema": {"type": "object", "additionalProperties": False}, **more})


def test_tools_read_as_python() -> None:
    """One class a server, one method a tool, types and defaults from the schema, odd names by item."""
    text = render(
        [
            tool("git_log", description="Shows the log", input_schema=_SCHEMA),
            tool("do-it", description="Does it"),
            tool("broken", unavailable="its schema is refused"),
            tool("now", "my-time", input_schema={"properties": {"zone": {"type": "string"}}}),
        ]
    )
    assert text == (
        "from typing import Any, Literal\n"
        "\n"
        "\n"
        "class git:\n"
        "    # 'broken' cannot be called: 'its schema is refused'\n"
        "\n"
        "    # await mcp.git['do-it'](**{})\n"
        "    # 'Does it'\n"
        "\n"
        "    async def git_log(self, *, repo_path: str, max_count: int = 10, ratio: float | None = None, "
        "mode: Literal['a', 'b'] = 'a', paths: list[str] = ..., extra: dict[str, Any] = ..., "
        "**arguments: Any) -> Any:\n"
        "        'Shows the log'\n"
        "\n"
        "\n"
        "# await mcp['my-time']['now'](**{'zone': str})\n"
        "# ''\n"
        "\n"
    )
    compile(text, "stubs", "exec")


HOSTILE = [
    "x(self): pass\nimport os; os.system('touch pwned') #",
    '"""\nraise SystemExit\n"""',
    "'''",
    "\\",
    "a\\\nb",
    "class",
    "None",
    "__import__",
    "_private",
    "ﬁ",
    "\x1b[2J",
    "\u202egnp.exe",
    "\u2028import os",
    "\x0cimport os",
    "\ud800",
    "\u034f",
    "# -*- coding: rot13 -*-",
    "self",
    "",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    """Wherever it stands - name, description, parameter, enum, default, reason - it is a literal or a comment."""
    schema = {"properties": {text: {"enum": [text], "default": text}, "p": {"enum": [text], "default": text}}}
    more = {"description": text, "input_schema": schema}
    tools = [tool(text, text, **more), tool(text, **more), tool("ok", text, **more), tool("ok", **more)]
    tools += [tool("bad", unavailable=text), tool(text, text, unavailable=text)]
    check(render(tools))


@given(st.lists(st.tuples(*[st.text(max_size=12)] * 5), max_size=4))
def test_any_text_stays_text(parts: list[tuple[str, str, str, str, str]]) -> None:
    """The same for whatever hypothesis thinks of."""
    tools = [
        tool(name, server, description=words, input_schema={"properties": {key: {"default": default}}})
        for server, name, words, key, default in parts
    ]
    check(render(tools))


_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
_KEYWORDS = st.sampled_from(["type", "enum", "anyOf", "items", "default", "properties", "required"])
_NONSENSE = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYWORDS, inner, max_size=4), max_leaves=15
)


@given(_NONSENSE, st.dictionaries(_KEYWORDS, _NONSENSE))
def test_any_schema_gives_valid_python(inner: Any, outer: dict[str, Any]) -> None:
    """Schemas that are nonsense cost nothing but detail."""
    check(render([tool("t", input_schema={"properties": {"a": inner}}), tool("u", input_schema=outer)]))


def check(text: str) -> None:
    """Valid Python of imports, classes, methods and literals: nothing that could act, nothing unseen."""
    module = ast.parse(text)
    compile(text, "stubs", "exec")
    allowed = (ast.ClassDef, ast.ImportFrom)
    for statement in module.body:
        assert isinstance(statement, allowed)
        for inner in getattr(statement, "body", ()):
            assert isinstance(inner, ast.AsyncFunctionDef | ast.Pass)
            for each in getattr(inner, "body", ()):
                assert isinstance(each, ast.Expr)
                assert isinstance(each.value, ast.Constant)
    assert not any(isinstance(node, ast.Call | ast.Await | ast.Import) for node in ast.walk(module))
    assert text.replace("\n", "").isprintable()
    assert text.isascii() or not set(text) & set("\u202e\u2028\u034f\x1b\x0c")


def test_ten_thousand_tools_compile() -> None:
    """As many as a server may list."""
    compile(render(tool(f"t{n}", input_schema=_SCHEMA) for n in range(10_000)), "stubs", "exec")
