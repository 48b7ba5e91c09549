"""Tools as Python stubs: what a capability may write to call them, fit to be read, completed and compiled.

All of it comes from strangers, and the result may be pasted into a file and run. So only three things of theirs are
ever written: identifiers (ASCII, no keyword, no leading underscores), `repr`s, and comments built from `repr`s on one
line. A name that is no identifier has no method; a comment shows how it is called by item. The text is always valid
Python.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, cast

from belljar import show
from belljar.rpc.world import JsonValue, ToolInfo

__all__ = ["render"]

_DESCRIPTION_CHARS = 1000
_VALUE_CHARS = 80
_MAX_PARAMETERS = 100
_MAX_UNION = 4
_TYPES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
    "array": "list[Any]",
    "object": "dict[str, Any]",
}


def render(tools: Iterable[ToolInfo]) -> str:
    """One class per server, one method per tool, in their order of names."""
    ordered = sorted(tools, key=lambda tool: (tool.server, tool.name))
    lines = ["from typing import Any, Literal", ""]
    for server, group in groupby(ordered, key=lambda tool: tool.server):
        lines += ["", *_server(server, list(group))]
    return "\n".join(lines) + "\n"


def _server(server: str, tools: list[ToolInfo]) -> Iterator[str]:
    if not _is_identifier(server):
        for tool in tools:
            yield from (line.strip() for line in _by_item(tool, f"mcp[{_quoted(server)}]"))
        return
    yield f"class {server}:"
    body = [line for tool in tools for line in _tool(tool)]
    yield from body
    if not any(line.lstrip().startswith("async def") for line in body):
        yield "    pass"


def _tool(tool: ToolInfo) -> Iterator[str]:
    if tool.unavailable:
        yield f"    # {_quoted(tool.name)} cannot be called: {_quoted(tool.unavailable)}"
        yield ""
    elif _is_identifier(tool.name):
        yield f"    async def {tool.name}({_parameters(tool.input_schema)}) -> Any:"
        yield f"        {_quoted(tool.description or tool.name)}"
        yield ""
    else:
        yield from _by_item(tool, f"mcp.{tool.server}")


def _by_item(tool: ToolInfo, server: str) -> Iterator[str]:
    if tool.unavailable:
        yield f"    # {server}[{_quoted(tool.name)}] cannot be called: {_quoted(tool.unavailable)}"
    else:
        names = ", ".join(f"{_quoted(name)}: {hint}" for name, hint in _hints(tool.input_schema))
        yield f"    # await {server}[{_quoted(tool.name)}](**{{{names}}})"
        yield f"    # {_quoted(tool.description)}"
    yield ""


def _parameters(schema: Mapping[str, JsonValue]) -> str:
    """The signature after `(`. A parameter that Python cannot name goes by `**arguments`."""
    named = [(name, hint) for name, hint in _hints(schema) if _is_identifier(name) and name != "self"]
    every = _properties(schema)
    required = schema.get("required")
    needed = cast("list[Any]", required) if isinstance(required, list) else []
    parts = ["self"]
    if named:
        parts += ["*", *(f"{name}: {hint}{'' if name in needed else _default(every[name])}" for name, hint in named)]
    if len(named) < len(every) or (not every and schema.get("additionalProperties") is not False):
        parts.append("**arguments: Any")
    return ", ".join(parts)


def _properties(schema: Mapping[str, JsonValue]) -> dict[str, Any]:
    properties = schema.get("properties")
    return cast("dict[str, Any]", properties) if isinstance(properties, dict) else {}


def _hints(schema: Mapping[str, JsonValue]) -> list[tuple[str, str]]:
    return [(name, _hint(each)) for name, each in list(_properties(schema).items())[:_MAX_PARAMETERS]]


def _default(schema: Any) -> str:
    if isinstance(schema, dict) and "default" in schema:
        value = cast("dict[str, Any]", schema)["default"]
        if value is None or isinstance(value, bool | int | float | str):
            shown = _quoted(value) if isinstance(value, str) else repr(value)
            return f" = {shown}" if len(shown) <= _VALUE_CHARS else " = ..."
    return " = ..."


def _hint(schema: Any) -> str:
    """The annotation for a schema, from our own words and `repr`s."""
    if not isinstance(schema, dict):
        return "Any"
    content = cast("dict[str, Any]", schema)
    members = content.get("enum")
    if isinstance(members, list) and _are_literals(cast("list[Any]", members)):
        return f"Literal[{', '.join(_quoted(member) for member in cast('list[str]', members))}]"
    kinds = _kinds(content)
    if kinds == ["array"] and isinstance(content.get("items"), dict):
        kind = content["items"].get("type")
        return f"list[{_TYPES.get(kind, 'Any') if isinstance(kind, str) else 'Any'}]"
    if not kinds or len(kinds) > _MAX_UNION:
        return "Any"
    return " | ".join(dict.fromkeys(_TYPES[kind] for kind in kinds))


def _kinds(schema: dict[str, Any]) -> list[str]:
    """Names of the types a schema allows; empty if it does not say so plainly."""
    found: Any = schema.get("type")
    if found is None and isinstance(schema.get("anyOf"), list):
        forms = cast("list[Any]", schema["anyOf"])
        found = [cast("dict[str, Any]", form).get("type") if isinstance(form, dict) else None for form in forms]
    names = cast("list[Any]", found if isinstance(found, list) else [found])
    return cast("list[str]", names) if all(isinstance(name, str) and name in _TYPES for name in names) else []


def _are_literals(members: list[Any]) -> bool:
    return 0 < len(members) <= 10 and all(isinstance(each, str) and len(each) <= _VALUE_CHARS for each in members)


def _is_identifier(name: str) -> bool:
    """ASCII alone: other letters are normalized by Python, and two names could become one."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")


def _quoted(text: str) -> str:
    """A string literal on one line. What `repr` takes for printable and nobody can see is escaped as well."""
    if len(text) > _DESCRIPTION_CHARS:
        text = text[:_DESCRIPTION_CHARS] + "…"
    literal = repr(text)
    return show.text(literal, max_chars=12 * len(literal) + 24)
