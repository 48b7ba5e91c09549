from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from belljar.errors import ValidationError
from belljar.limits import KIB
from belljar.sandbox.signature import schema_of

SIGNS = [*"()[]{},:=|.*-/+@ \n\r\\\0#'", "**", "...", "\\\n", "a(", "{1:", "(a:=", "[*", "'''", '"""']
WORDS = ["a", "b", "int", "dict", "def", "lambda", "None", "True", "é", '"x"', "1", "2.5", 'r"\\"', "f'{a}'", "#c\n"]
TOKENS = st.sampled_from([*SIGNS, *WORDS])


def properties(parameters: str) -> dict[str, Any]:
    schema = schema_of(f"def main({parameters}):\n    pass\n")
    assert schema is not None
    return schema["properties"]


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        ("int", {"type": "integer"}),
        ("float", {"type": "number"}),
        ("str", {"type": "string"}),
        ("bool", {"type": "boolean"}),
        ("None", {"type": "null"}),
        ("Any", {}),
        ("list", {"type": "array"}),
        ("list[int]", {"type": "array", "items": {"type": "integer"}}),
        ("List[Any]", {"type": "array"}),
        ("set[str]", {"type": "array", "items": {"type": "string"}}),
        ("collections.abc.Sequence[str]", {"type": "array", "items": {"type": "string"}}),
        ("tuple[int, ...]", {"type": "array", "items": {"type": "integer"}}),
        (
            "tuple[int, str]",
            {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
        ),
        ("dict", {"type": "object"}),
        ("dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("typing.Mapping[str, Any]", {"type": "object"}),
        ("int | None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        ("Optional[str]", {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        ("Union[int, str, None]", {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}),
        ("int | Path", {}),
        ('Literal["a", 1, True, None]', {"enum": ["a", 1, True, None]}),
        ("Annotated[int, 'days']", {"type": "integer"}),
        ("Path", {}),
        ("'int'", {}),
        ("np.ndarray[int]", {}),
        ("callable()", {}),
    ],
)
def test_annotations_become_schemas(annotation: str, schema: dict[str, Any]) -> None:
    """F17: what an annotation says clearly is checked; what it does not is let through."""
    assert properties(f"a: {annotation}") == {"a": schema}


@pytest.mark.parametrize(
    ("default", "schema"),
    [
        ("1", {"default": 1}),
        ("-2.5", {"default": -2.5}),
        ("'x\\n'", {"default": "x\n"}),
        ("None", {"default": None}),
        ("[1, {'a': []}]", {"default": [1, {"a": []}]}),
        ("(1, 2)", {}),
        ("{1: 2}", {}),
        ("1e999", {}),
        ("Path('.')", {}),
        ("60 * 60", {}),
    ],
)
def test_a_default_makes_a_field_optional(default: str, schema: dict[str, Any]) -> None:
    """Literals that JSON can hold are shown in the schema, others are merely not required."""
    whole = schema_of(f"def main(a={default}): ...")
    assert whole is not None
    assert whole["properties"] == {"a": schema}
    assert whole["required"] == []


def test_kinds_of_parameters() -> None:
    """Keyword-only and positional parameters are fields; `*args` is none; `**rest` opens the object."""
    assert schema_of("async def main(a: int, *args: str, b, c=2, **rest: bool): ...") == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {}, "c": {"default": 2}},
        "required": ["a", "b"],
        "additionalProperties": {"type": "boolean"},
    }
    assert schema_of("def main(**rest): ...") == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": True,
    }
    assert properties("a=1, /, b=2") == {"b": {"default": 2}}


def test_a_required_positional_only_parameter_is_an_error() -> None:
    """Arguments go by keyword, so no call could succeed: said at once, and how to mend it."""
    with pytest.raises(ValidationError, match=r"takes a by position only.*drop the '/'"):
        schema_of("def main(a, /): ...")


@pytest.mark.parametrize(
    ("source", "fields"),
    [
        ('x = """\ndef main(wrong): ...\n"""\ndef main(a): ...', ["a"]),
        ("x = 'it\\'s'  # don't\ndef main(a): ...", ["a"]),
        ("x = r'\\'\ndef main(a): ...", ["a"]),
        ("def main(wrong): ...\ndef main(a): ...", ["a"]),
        ("class A:\n    def main(self): ...\ndef main(a): ...", ["a"]),
        ("def mainly(wrong): ...\ndef   main  (a): ...", ["a"]),
        ("async\tdef main(a, # (\n  b=')',\n): ...", ["a", "b"]),
        ("def main(\r\n  a: int,  # x\r\n  b: str,\r\n) -> dict[str, int]: ...", ["a", "b"]),
        ("@cache\ndef other(): ...\ndef main(a): ...", ["a"]),
        ("def main(a: dict[str, list[int]] = {'x': [1]}) -> {(: ...", ["a"]),
        ("type X[T] = list[T]\ndef main(a): ...\nx = t'{new}'", ["a"]),
        ("def main(größe): ...", ["größe"]),
        ("def main(a, # x\r b): ...", ["a", "b"]),
        ("def main(\\\n  a): ...", ["a"]),
    ],
)
def test_main_is_found_without_parsing_the_rest(source: str, fields: list[str]) -> None:
    """Strings, comments, methods and syntax newer than the host's do not mislead."""
    schema = schema_of(source)
    assert schema is not None
    assert list(schema["properties"]) == fields


@pytest.mark.parametrize(
    "source",
    [
        "1 + 1",
        "    def main(a): ...",
        "# def main(a): ...",
        "@wraps\ndef main(a): ...",
        "@wraps(\n  x,\n)\nasync def main(a): ...",
        "def main(a): ...\nmain = other",
        "def main[T](a: T): ...",
        "def main(a",
        "def main(a]): ...",
        "def main(a=lambda: 1): ...",
        "def main(a=f'{b}'): ...",
        "def main(a='\\d'): ...",
        "def main(a a): ...",
        "def main(a=1, b): ...",
        "def main(a=" + "(" * 20 + ")" * 20 + "): ...",
        "def main(a=" + "-" * 100 + "1): ...",
        "def main(" + ",".join(f"a{i}" for i in range(3000)) + "): ...",
    ],
)
def test_what_cannot_be_read_without_doubt_gives_no_schema(source: str) -> None:
    """No main, a main under a decorator, unusual or excessive signatures: the guest decides."""
    assert schema_of(source) is None


@given(st.lists(TOKENS, max_size=60).map(lambda tokens: "def main(" + "".join(tokens) + "): ..."))
@example("def main(a, #\r" + "-" * 5000 + "1\n): ...")
@example("def main(a='\\\r" + "(" * 3000 + "'): ...")
@example("def main(#\ud800\n): ...")
@example("def main(#\0\n): ...")
def test_no_signature_raises_or_warns(source: str) -> None:
    """Whatever stands there: a schema, none, or one ValidationError; and Python says nothing about it on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            schema = schema_of(source)
        except ValidationError:
            return
    assert schema is None or schema["type"] == "object"


PIECES = [
    '\\"""\n',
    '"""',
    '"""\\',
    '"\\',
    "'''\"\"\"",
    "def main(a,\n",
    "#",
    "async ",
    "@\n",
    "def " + " " * 200,
    "a",
    "main ",
    "'a",
    "\n",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("head", ["", '"""\n', "def main("])
def test_hostile_sources_take_linear_time(head: str, piece: str) -> None:
    """The largest source is read with a bounded number of lexemes, each of which the engine matches without going back.

    Without possessive quantifiers or with an opening that may fail, one of these takes minutes.
    """
    schema_of(head + piece * (256 * KIB // len(piece)))


def test_python_says_nothing_about_odd_literals() -> None:
    """An invalid escape in a default makes Python warn, on the stderr of whoever loads the capability: not here."""
    script = r"""from belljar.sandbox.signature import schema_of; print(schema_of(r"def main(a='\d'): ..."))"""
    command = [sys.executable, "-W", "always", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("None\n", "")


AUDITED = """
import sys
from belljar.sandbox.signature import schema_of
seen = []
sys.addaudithook(lambda event, args: seen.append(len(args[0])) if event == "compile" and args[0] is not None else None)
schema_of("x = 1\\n" * 40_000 + "def main(a: int): ...\\n" + "y = " + "(" * 10_000)
print(seen)
"""


def test_the_parser_sees_the_slice_alone() -> None:
    """An audit hook counts what is compiled: one short text, however large the source."""
    done = subprocess.run([sys.executable, "-c", AUDITED], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"[{len('def main(a: int' + chr(10) + '): pass')}]\n"
