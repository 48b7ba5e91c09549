"""What a capability says about itself: the `# /// script` block of PEP 723 and `[tool.belljar]` in it.

The PEP defines the block by a regular expression, which takes quadratic time on a source full of openings without an
end; `_blocks` gives the same answer in one pass over the lines. The block's text is bounded before a TOML parser sees
it, and what comes out becomes a frozen value or a one-line error.

A declaration only ever narrows: a call is granted if the policy allows it *and* the capability declares it. With
`[tool.belljar]` the capability declares exactly what the table lists, so a table without `servers` and `permissions`
declares no call at all; `servers` alone declares every tool of each. Without the table nothing is said, and everything
configured counts as declared. Other tools' tables, `dependencies` and `requires-python` are theirs; the first is kept,
because a box may need it.

Source: https://packaging.python.org/en/latest/specifications/inline-script-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from belljar import fqdn, show
from belljar.errors import ConfigError, ValidationError
from belljar.limits import KIB, MAX_JSON_DEPTH
from belljar.rpc.policy import Declared

__all__ = ["MAX_METADATA_BYTES", "Metadata", "read", "tables"]

# 16 KiB: a hundred times what a block has; TOML parsers are not linear in everything.
MAX_METADATA_BYTES = 16 * KIB
_MAX_DESCRIPTION = 2000
_MAX_LISTED = 256
# What every JSON reader can hold, and no infinity.
_MAX_NUMBER = 2.0**64
# A dotted key costs the standard library's parser quadratic time, and a key ends with its line.
_MAX_LINE = 2048

_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_CLOSING = "# ///"


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the block says."""

    name: str | None = None
    """`namespace:action`, if the capability has a name of its own."""
    description: str = ""
    declared: Declared | None = None
    """The calls it may make; None if the block has no `[tool.belljar]`."""
    args: Mapping[str, Any] | None = None
    """JSON Schema of its arguments, if declared."""
    dependencies: tuple[str, ...] = ()
    """Requirements, as PEP 723 has them."""


def read(source: str) -> Metadata | None:
    """The metadata of a source text, or None if it has no block.

    Raises:
        ValidationError: two blocks, broken TOML, an unknown key, or a value that is not what its key asks for.
    """
    blocks = [content for kind, content in _blocks(source) if kind == "script"]
    if not blocks:
        return None
    if len(blocks) > 1:
        raise ValidationError(f"the code has {len(blocks)} '# /// script' blocks: keep one")
    return _metadata(_toml(blocks[0]))


def tables(source: str) -> tuple[str, ...]:
    """Whose `[tool.NAME]` tables the block of a source has; `read` has found it to be in order.

    Raises:
        ValidationError: it is not.
    """
    blocks = [content for kind, content in _blocks(source) if kind == "script"]
    tool: object = _toml(blocks[0]).get("tool") if blocks else None
    return tuple(cast("dict[str, object]", tool)) if isinstance(tool, dict) else ()


def _blocks(source: str) -> list[tuple[str, list[str]]]:
    """Every metadata block as (type, lines of its content), by the PEP's rules.

    A block lies within one run of comment lines, ends at the *last* `# ///` of the run, and has a line or more between.
    So a run holds at most one: the first opening with room before that end. After it no end remains.
    """
    found = list[tuple[str, list[str]]]()
    for run in _comment_runs(source):
        end = max((i for i, line in enumerate(run) if line == _CLOSING), default=0)
        for start, line in enumerate(run[: max(end - 1, 0)]):
            if opening := _OPENING.fullmatch(line):
                found.append((opening[1], [content[2:] for content in run[start + 1 : end]]))
                break
    return found


def _comment_runs(source: str) -> list[list[str]]:
    runs: list[list[str]] = [[]]
    for line in source.split("\n"):
        bare = line.removesuffix("\r")
        if bare == "#" or bare.startswith("# "):
            runs[-1].append(bare)
        elif runs[-1]:
            runs.append([])
    return runs


def _toml(lines: list[str]) -> dict[str, Any]:
    import tomllib  # only a capability with a block needs it

    text = "\n".join(lines)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_METADATA_BYTES:
        raise ValidationError(f"the metadata block has {size} bytes: {MAX_METADATA_BYTES} is the most")
    if any(len(line) > _MAX_LINE for line in lines):
        raise ValidationError(f"a line of the metadata block is longer than {_MAX_LINE} characters: break it")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValidationError("the metadata block is nested too deeply: flatten it") from None
    except ValueError as exc:  # TOMLDecodeError, and what int() and datetime() raise inside the parser
        raise ValidationError(f"the metadata block is no valid TOML: {show.text(str(exc), max_chars=200)}") from None


def _metadata(document: Mapping[str, Any]) -> Metadata:
    dependencies = _strings("dependencies", document.get("dependencies", []))
    tool: object = document.get("tool")
    table = cast("dict[str, object]", tool).get("belljar") if isinstance(tool, dict) else None
    if table is None:
        if misplaced := sorted(document.keys() & _KEYS.keys()):
            raise ValidationError(
                f"the metadata block has {misplaced[0]!r} outside [tool.belljar]: put that line above it"
            )
        return Metadata(dependencies=dependencies)
    if not isinstance(table, dict):
        raise ValidationError("tool.belljar in the metadata block is no table: write [tool.belljar]")
    return _declared(cast("dict[str, Any]", table), dependencies)


def _declared(table: dict[str, Any], dependencies: tuple[str, ...]) -> Metadata:
    for key in table:
        if key not in _KEYS:
            raise ValidationError(f"[tool.belljar] has no key {show.name(key)}; it knows: {', '.join(_KEYS)}")
    values: dict[str, Any] = {key: _KEYS[key](key, value) for key, value in table.items()}
    declared = _calls(values.pop("servers", ()), values.pop("permissions", None))
    return Metadata(**values, declared=declared, dependencies=dependencies)


def _calls(servers: tuple[str, ...], permissions: tuple[str, ...] | None) -> Declared:
    if permissions == ():  # written out: no call at all, whatever servers are listed
        return Declared()
    for pattern in permissions or ():
        server = pattern.partition(":")[0]
        if servers and "*" not in server and server not in servers:
            raise ValidationError(
                f"permission {show.name(pattern)} is for a server that `servers` does not list: add it"
            )
    try:
        return Declared(servers, permissions or ())
    except ConfigError as exc:
        raise ValidationError(f"permissions in the metadata block: {exc.message}") from None


def _name(key: str, value: Any) -> str:
    # `parse` also takes the long forms, but org and project are not the source's to say.
    text = _string(key, value)
    if text.count(":") != 1:
        raise ValidationError(f"{key} = {show.name(text)} in the metadata block: write namespace:action")
    fqdn.parse(text)
    return text


def _string(key: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _MAX_DESCRIPTION:
        raise ValidationError(f"{key} in the metadata block must be a string of at most {_MAX_DESCRIPTION} characters")
    return value


def _strings(key: str, value: Any) -> tuple[str, ...]:
    items = cast("list[Any]", value if isinstance(value, list) else [None])
    if len(items) > _MAX_LISTED or not all(isinstance(item, str) and item for item in items):
        raise ValidationError(f"{key} in the metadata block must be a list of at most {_MAX_LISTED} strings")
    return tuple(items)


def _schema(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not _is_json(cast("object", value), MAX_JSON_DEPTH):
        raise ValidationError(f"{key} in the metadata block must be a JSON Schema: a table without dates, inf or nan")
    return cast("dict[str, Any]", value)


def _is_json(value: object, depth: int) -> bool:
    match value:
        case dict() | list():
            inner = (
                cast("dict[str, object]", value).values() if isinstance(value, dict) else cast("list[object]", value)
            )
            return depth > 0 and all(_is_json(item, depth - 1) for item in inner)
        case int() | float():
            return abs(value) < _MAX_NUMBER
        case _:
            return isinstance(value, str)


_KEYS: dict[str, Callable[[str, Any], Any]] = {
    "name": _name,
    "description": _string,
    "servers": _strings,
    "permissions": _strings,
    "args": _schema,
}
