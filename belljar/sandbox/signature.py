"""The arguments a capability takes, read from the text of `def main(...)` without running or compiling that text.

Arguments are passed by keyword: `main(**args)`. So the signature says which fields `args` must and may have, and a
mistake can be named before a box is spent on it. It is a courtesy, not a wall: the guest has the last word, and
whatever cannot be read here without doubt yields no schema at all.

The source is a stranger's and may be newer Python than ours, so it never reaches CPython's parser, which can be made to
overflow its stack. One linear scan (`_LEXEME`: every alternative that begins to match also ends, without backtracking)
skips strings and comments and finds the last `def main(` at the start of a line; one that is decorated or assigned over
is left alone, because what it takes is not written there. Only the parameter list is cut out, token by token, from a
small vocabulary - names, literals, brackets, a few operators - within bounds that keep the parser's recursion a hundred
levels deep. That slice alone goes through `ast.parse`.

| annotation | schema |
|---|---|
| `int` `float` `str` `bool` `None` | integer, number, string, boolean, null |
| `list[X]` `set[X]` `Sequence[X]` `tuple[X, ...]` | array of X |
| `tuple[X, Y]` | array of exactly those |
| `dict[str, X]` `Mapping[str, X]` | object with values X |
| `Optional[X]` `Union[X, Y]` `X \\| Y` | any of them |
| `Literal["a", 1]` | one of the values |
| `Annotated[X, ...]` | X |
| anything else, or none | anything |

A parameter without default is required. `**rest` lets further fields in, `*args` takes nothing that is passed by
keyword, and a required positional-only parameter is an error, because no call could succeed.
"""

from __future__ import annotations

import ast
import keyword
import re
from typing import Any, cast

from belljar import show
from belljar.errors import ValidationError
from belljar.limits import KIB

__all__ = ["Schema", "schema_of"]

Schema = dict[str, Any]

# A signature this long has a hundred parameters; a deeper annotation than 16 brackets is nobody's.
_MAX_SLICE = 8 * KIB
_MAX_NESTING = 16
# Operators in one parameter: each can cost the parser a level.
_MAX_OPERATORS = 64

# A string that never ends reaches to the end of its line or of the text, so that each alternative, once begun, matches.
_STRING = r"""
    (?P<string>
        \"\"\"(?:[^\\"]|\\.|"(?!""))*+(?:\"\"\"|\Z) | '''(?:[^\\']|\\.|'(?!''))*+(?:'''|\Z)
      | "(?:[^\\"\n]|\\.)*+"? | '(?:[^\\'\n]|\\.)*+'?
    )
"""
_LEXEME = re.compile(
    rf"""
    {_STRING}
  | (?P<comment> \#[^\n]*+ )
  | (?P<main> ^(?:async[ \t]++)?def[ \t]++main[ \t]*+\( )
  | (?P<rebound> ^main[ \t]*+=(?!=) )
  | (?P<decorator> ^@ )
  | (?P<statement> ^\w )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)
_NUMBER = r"[0-9][0-9_]{0,31} (?:\.[0-9]{0,32})? (?:[eE][+-]?[0-9]{1,3})?"
_TOKEN = re.compile(
    rf"""
    (?P<blank> [ \t\f\n]++ | \\\n | \#[^\n]*+ )
  | (?P<literal> (?:[rRuU](?=["']))? {_STRING} | (?:0x[0-9a-fA-F]{{1,16}} | {_NUMBER}) (?![\w.]) )
  | (?P<word> [^\W\d]\w*+ (?!["']) )
  | (?P<open> [(\[{{] )
  | (?P<close> [)\]}}] )
  | (?P<comma> , )
  | (?P<operator> \*\* | \.\.\. | [:=|.*/+-] )
    """,
    re.VERBOSE | re.DOTALL,
)
# Escapes that every Python reads alike and without a warning.
_PLAIN_STRING = re.compile(r"""(?:[^\\]|\\[\\'"abfnrtvxuU\n])*+""")
# Words that begin a construct of their own; a default that needs one is no literal anyway.
_KEYWORDS = frozenset(keyword.kwlist) - {"None", "True", "False"}
_CLOSES = {"(": ")", "[": "]", "{": "}"}


def schema_of(source: str) -> Schema | None:
    """The JSON Schema of the arguments of `main`, or None if there is none to be read.

    Raises:
        ValidationError: `main` cannot be called by keyword.
    """
    # As Python's own tokenizer does before it looks: what we take for a comment must be one for it, too.
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    start = _main(source)
    parameters = None if start is None else _parameters(source, start)
    if parameters is None:
        return None
    try:
        function = ast.parse(f"def main({parameters}\n): pass").body[0]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None  # the guest's parser will say what is wrong, with the line
    return _schema(cast("ast.FunctionDef", function).args)


def _main(source: str) -> int | None:
    """Where the parameters of the last top-level `main` begin; None if there is none that keeps its own signature."""
    start, decorated = None, False
    for lexeme in _LEXEME.finditer(source):
        match lexeme.lastgroup:
            case "main":
                start = None if decorated else lexeme.end()
                decorated = False
            case "rebound":
                start = None
            case "decorator":
                decorated = True
            case "statement":
                decorated = False
            case _:
                pass
    return start


def _parameters(source: str, start: int) -> str | None:
    """The text up to the parenthesis that ends the parameters; None if it leaves the vocabulary or its bounds."""
    source = source[start : start + _MAX_SLICE]
    position, operators, closers = 0, 0, [")"]
    while token := _TOKEN.match(source, position):
        text = token[0]
        match token.lastgroup:
            case "open":
                closers.append(_CLOSES[text])
            case "close":
                if closers.pop() != text:
                    return None
                if not closers:
                    return source[:position]
            case "comma" if len(closers) == 1:
                operators = 0
            case "operator":
                operators += 1
            case _:
                pass
        if len(closers) > _MAX_NESTING or operators > _MAX_OPERATORS or _unfit(token):
            return None
        position = token.end()
    return None


def _unfit(token: re.Match[str]) -> bool:
    text = token[0]
    if token["string"] is not None:
        return not _closed(token["string"]) or (text[0] not in "rR" and _PLAIN_STRING.fullmatch(text) is None)
    return text in _KEYWORDS


def _closed(string: str) -> bool:
    quote = string[:3] if string[:3] in ('"""', "'''") else string[0]
    return len(string) >= 2 * len(quote) and string.endswith(quote)


def _schema(parameters: ast.arguments) -> Schema:
    positional = [*parameters.posonlyargs, *parameters.args]
    optional = len(parameters.defaults)
    defaults = [None] * (len(positional) - optional) + [*parameters.defaults] + [*parameters.kw_defaults]
    properties, required = dict[str, Schema](), list[str]()
    for parameter, default in zip([*positional, *parameters.kwonlyargs], defaults, strict=True):
        if parameter in parameters.posonlyargs:
            _refuse_required(parameter, default)
            continue
        properties[parameter.arg] = _type(parameter.annotation) | _default(default)
        if default is None:
            required.append(parameter.arg)
    rest = parameters.kwarg
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": (_type(rest.annotation) or True) if rest else False,
    }


def _refuse_required(parameter: ast.arg, default: ast.expr | None) -> None:
    if default is None:
        raise ValidationError(
            f"main() takes {show.name(parameter.arg)} by position only, but arguments are passed by name: drop the '/'"
        )


def _default(node: ast.expr | None) -> Schema:
    """`{"default": value}` if the default is a literal that JSON can hold."""
    if node is None:
        return {}
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return {}
    return {"default": value} if _is_json(value) else {}


def _is_json(value: object) -> bool:
    match value:
        case dict():
            items = cast("dict[object, object]", value)
            return all(isinstance(key, str) for key in items) and all(map(_is_json, items.values()))
        case list():
            return all(map(_is_json, cast("list[object]", value)))
        case float():
            return abs(value) < float("inf")
        case _:
            return value is None or isinstance(value, str | int)


_SCALARS = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
_ARRAYS = frozenset({"list", "set", "frozenset", "List", "Set", "FrozenSet", "Sequence", "Iterable", "Collection"})
_TUPLES = frozenset({"tuple", "Tuple"})
_OBJECTS = frozenset({"dict", "Dict", "Mapping", "MutableMapping"})


def _type(node: ast.expr | None) -> Schema:
    match node:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return _plain(name)
        case ast.Subscript(value=ast.Name(id=name) | ast.Attribute(attr=name), slice=inner):
            return _generic(name, [*inner.elts] if isinstance(inner, ast.Tuple) else [inner])
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _any_of([left, right])
        case _:
            return {}


def _plain(name: str) -> Schema:
    if name in _SCALARS:
        return {"type": _SCALARS[name]}
    if name in _ARRAYS | _TUPLES:
        return {"type": "array"}
    return {"type": "object"} if name in _OBJECTS else {}


def _generic(name: str, inner: list[ast.expr]) -> Schema:
    if name in _ARRAYS and len(inner) == 1:
        return {"type": "array"} | _with("items", _type(inner[0]))
    if name in _TUPLES:
        return _tuple(inner)
    if name in _OBJECTS and len(inner) == 2:
        return {"type": "object"} | _with("additionalProperties", _type(inner[1]))
    match name:
        case "Optional" if len(inner) == 1:
            return _any_of([*inner, ast.Constant(None)])
        case "Union":
            return _any_of(inner)
        case "Literal":
            return _literal(inner)
        case "Annotated":
            return _type(inner[0])
        case _:
            return {}


def _tuple(inner: list[ast.expr]) -> Schema:
    match inner:
        case [each, ast.Constant(value=value)] if value is ...:
            return {"type": "array"} | _with("items", _type(each))
        case _:
            size = len(inner)
            return {"type": "array", "prefixItems": [_type(each) for each in inner], "minItems": size, "maxItems": size}


def _any_of(nodes: list[ast.expr]) -> Schema:
    schemas = list[Schema]()
    for schema in map(_type, nodes):
        schemas += schema.get("anyOf", [schema])
    return {"anyOf": schemas} if all(schemas) else {}


def _literal(nodes: list[ast.expr]) -> Schema:
    values = [_default(node) for node in nodes]
    return {"enum": [value["default"] for value in values]} if all(values) else {}


def _with(keyword: str, schema: Schema) -> Schema:
    return {keyword: schema} if schema else {}
