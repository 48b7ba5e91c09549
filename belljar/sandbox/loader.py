"""From a file or a piece of text to a capability that can be run, and from what a caller gave to its arguments.

Everything is refused here that can be known to be wrong before a box is spent on it, each with one line that says what
to do. A file is opened once, without waiting (a FIFO would block for ever), must be a regular file, and is read up to
the limit and not beyond. The hash is taken over the bytes as they lie on disk: it is the capability's identity.

Arguments are a JSON object. Whoever calls from Python hands over an object, which is written as JSON and read back, so
that validation sees exactly what the guest will see.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from belljar import fqdn, show
from belljar.errors import ValidationError
from belljar.fqdn import Fqdn
from belljar.limits import Limits
from belljar.rpc import jsontext
from belljar.rpc.policy import Declared
from belljar.sandbox import metadata

__all__ = ["SNIPPET", "Capability", "check_args", "load_code", "load_file", "parse_args"]

SNIPPET = "snippet"
"""What code is called that came from no file."""


@dataclass(frozen=True, slots=True)
class Capability:
    """Code that can be run, and what is known of it. What it says of itself is foreign text."""

    source: str
    name: str
    """For display: the file's name, or `snippet`. Foreign text."""
    fqdn: Fqdn
    sha256: str
    """64 hex digits, over the bytes of the source."""
    description: str = ""
    declared: Declared | None = None
    """The calls it may make; None if it does not say, and then the policy alone decides."""
    args_schema: Mapping[str, Any] | None = None
    """JSON Schema of its arguments: the declared one, else that of `main`'s signature; None if nothing is known."""
    dependencies: tuple[str, ...] = ()


def load_file(path: str | os.PathLike[str], limits: Limits) -> Capability:
    """Load a capability from a file.

    Raises:
        ValidationError: no such file, not a regular or readable one, over `limits.code`, or as `load_code`.
    """
    shown = show.text(os.fspath(path), max_chars=200)
    return _capability(_read(path, shown, limits.code), shown, Path(path).name, Path(path).stem)


def load_code(text: str, limits: Limits) -> Capability:
    """Load a capability from its text.

    Raises:
        ValidationError: over `limits.code`, not UTF-8, a NUL in it, empty, a metadata block that breaks the rules, or
            a `main` that cannot be called by keyword.
    """
    _check_size(len(text), "the code", limits.code)
    data = text.encode("utf-8", "surrogatepass")
    _check_size(len(data), "the code", limits.code)
    return _capability(data, "the code", SNIPPET, SNIPPET)


def parse_args(text: str, limits: Limits) -> dict[str, Any]:
    """The arguments in a JSON text.

    Raises:
        ValidationError: not strict JSON, not an object, or over `limits.args`.
    """
    try:
        value = jsontext.parse(text, max_bytes=limits.args)
    except jsontext.JsonError as exc:
        raise ValidationError(f"the arguments are not JSON we take: {exc}; write one object, {_EXAMPLE}") from None
    return _object(value)


def check_args(capability: Capability, args: object, limits: Limits) -> str:
    """The arguments as JSON text for the box, after they were found to be what the capability takes.

    Raises:
        ValidationError: not a JSON object, over `limits.args`, or not what the schema asks for, naming the field.
    """
    try:
        text = jsontext.dump(_object(args))
    except jsontext.JsonError as exc:
        raise ValidationError(f"the arguments cannot be written as JSON: {exc}") from None
    value = parse_args(text, limits)
    if capability.args_schema is not None:
        _check_schema(capability.fqdn, capability.args_schema, value)
    return text


_KINDS: dict[type[Any], str] = {
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}
_EXAMPLE = """for example {"path": "."}"""


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValidationError(f"the arguments are {_kind(value)}: give one JSON object, {_EXAMPLE}")
    return cast("dict[str, Any]", value if isinstance(value, dict) else dict(cast("Mapping[str, Any]", value)))


def _kind(value: object) -> str:
    return _KINDS.get(type(value), f"a Python {show.name(type(value).__name__)}")


def _check_schema(of: Fqdn, schema: Mapping[str, Any], args: dict[str, Any]) -> None:
    from belljar.rpc import schemas

    try:
        found = schemas.validate(schema, args)
    except schemas.TooCostlyError:
        raise ValidationError(f"the args schema of {of} takes too long to check: make it simpler") from None
    if found:
        # Places are given as `$.field`; `$` is what people call the arguments.
        raise ValidationError(
            f"{of} does not take these arguments: {'; '.join(f'args{each[1:]}' for each in found[:5])}"
        )


def _capability(data: bytes, shown: str, name: str, stem: str) -> Capability:
    source = _decode(data, shown)
    sha256 = hashlib.sha256(data).hexdigest()
    said = metadata.read(source) or metadata.Metadata()
    return Capability(
        source=source,
        name=name,
        fqdn=_fqdn(said.name, stem, sha256),
        sha256=sha256,
        description=said.description,
        declared=said.declared,
        args_schema=_from_signature(source) if said.args is None else _usable(said.args),
        dependencies=said.dependencies,
    )


def _from_signature(source: str) -> Mapping[str, Any] | None:
    if "main" not in source:
        return None
    from belljar.sandbox import signature  # most snippets can do without

    return signature.schema_of(source)


def _usable(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    from belljar.rpc import schemas

    if reason := schemas.refusal(schema):
        raise ValidationError(f"args in the metadata block cannot be used, the schema {reason}")
    return schema


def _fqdn(name: str | None, stem: str, sha256: str) -> Fqdn:
    if name is None:
        return fqdn.for_adhoc(stem, sha256)
    namespace, _, action = name.partition(":")
    return fqdn.make(namespace, action, sha256)


def _read(path: str | os.PathLike[str], shown: str, limit: int) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO without it waits for a writer. On a regular file it has no effect.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ValidationError(f"no file {shown}: check the path, or give code with -c") from None
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise ValidationError(f"cannot read {shown}: {reason}") from None
    try:
        return _content(descriptor, shown, limit)
    finally:
        os.close(descriptor)


def _content(descriptor: int, shown: str, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise ValidationError(f"{shown} is a directory: give the Python file in it")
    if not stat.S_ISREG(status.st_mode):
        raise ValidationError(f"{shown} is no regular file: give a Python file, or code with -c")
    _check_size(status.st_size, shown, limit)
    with open(descriptor, "rb", closefd=False) as file:
        data = file.read(limit + 1)  # it may have grown since
    _check_size(len(data), shown, limit)
    return data


def _check_size(size: int, shown: str, limit: int) -> None:
    if size > limit:
        raise ValidationError(f"{shown} has {size} bytes, {limit} is the limit: make it shorter, or --limit code=N")


def _decode(data: bytes, shown: str) -> str:
    try:
        source = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ValidationError(f"{shown} is not UTF-8 (line {line}): save it as UTF-8") from None
    if (nul := source.find("\0")) >= 0:
        raise ValidationError(f"{shown} has a NUL character (line {source.count(chr(10), 0, nul) + 1}): remove it")
    if not source.strip():
        raise ValidationError(f"{shown} is empty: write an expression, or def main(...)")
    return source
