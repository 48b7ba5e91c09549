from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar import fqdn
from belljar.errors import Code, ValidationError
from belljar.fqdn import Fqdn

PARTS = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,63}", fullmatch=True)
HASHES = st.sampled_from([0, 4, 64]).flatmap(lambda n: st.text("0123456789abcdef", min_size=n, max_size=n))
NAMES = st.builds(Fqdn, PARTS, PARTS, PARTS, PARTS, HASHES)
SHA256 = hashlib.sha256(b"code").hexdigest()


@given(PARTS, PARTS, HASHES, PARTS, PARTS)
def test_parse_undoes_make(namespace: str, action: str, digest: str, org: str, project: str) -> None:
    """F39: parse(make(x)) == x, with all that is known of the hash."""
    made = fqdn.make(namespace, action, digest, org=org, project=project)
    assert fqdn.parse(made.exact) == made
    assert fqdn.parse(str(made)).matches(made)
    assert fqdn.parse(str(made)).hash == made.hash4


@given(NAMES, NAMES)
def test_two_names_never_have_one_text(a: Fqdn, b: Fqdn) -> None:
    """The exact form is unambiguous."""
    assert (a.exact == b.exact) == (a == b)


def test_the_forms() -> None:
    """Display shows four digits of the hash; the short form means this machine's default project."""
    name = fqdn.make("git", "release_notes", SHA256)
    assert str(name) == f"local.default.git.release_notes.{SHA256[:4]}"
    assert name.sha256 == SHA256
    assert fqdn.parse("git:release_notes") == Fqdn("local", "default", "git", "release_notes")
    assert fqdn.parse("acme.tools.git.release_notes") == Fqdn("acme", "tools", "git", "release_notes")
    assert fqdn.parse("acme.tools.git.release_notes.a7f3").hash4 == "a7f3"
    assert fqdn.parse("acme.tools.git.release_notes.a7f3").sha256 is None


def test_hashes_match_as_far_as_they_are_known() -> None:
    """A reference without hash means any source; four equal digits do not make two sources one."""
    name, other = fqdn.make("git", "log", SHA256), fqdn.make("git", "log", SHA256[:4] + "0" * 60)
    assert fqdn.parse("git:log").matches(name)
    assert fqdn.parse(str(name)).matches(other)
    assert not name.matches(other)
    assert not fqdn.parse("git:tag").matches(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Acme.tools.git.log.a7f3", "bad org Acme"),
        ("acme..git.log.a7f3", "bad project ''"),
        ("acme.tools.g t.log.a7f3", r"bad namespace g\x20t"),
        ("acme.tools.git.-log.a7f3", "bad action -log"),
        ("acme.tools.git.log.A7F3", "bad hash A7F3"),
        ("acme.tools.git.log.a7f", "bad hash a7f"),
        ("git:l\u043eg", r"bad action l\u043eg"),
        ("git:log\n", r"bad action log\n"),
        ("git:" + "x" * 65, "bad action"),
    ],
)
def test_a_bad_part_is_refused_by_name(text: str, names: str) -> None:
    """F39: the message says which part it is."""
    with pytest.raises(ValidationError) as caught:
        fqdn.parse(text)
    assert names in caught.value.message
    assert caught.value.code is Code.VALIDATION_ERROR


@pytest.mark.parametrize(
    "text",
    ["", "git", "a.b.c", "a.b.c.d.", "a.b.c.d.e.f", "a:b:c", "a:b:c:d", "a:b:c:d:a7f3", ":" * 10**5, "." * 10**5],
)
def test_another_form_is_refused_with_the_right_ones(text: str) -> None:
    """The message is one bounded line."""
    with pytest.raises(ValidationError) as caught:
        fqdn.parse(text)
    assert len(caught.value.message) < 400
    assert "\n" not in caught.value.message


@given(st.text(st.characters(exclude_categories=()), max_size=300))
def test_any_stem_gives_code_a_name(stem: str) -> None:
    """Code without a name of its own gets one that can be parsed, whatever its file is called."""
    name = fqdn.for_adhoc(stem, SHA256)
    assert fqdn.parse(name.exact) == name
    assert str(name).startswith("local.default.adhoc.")


def test_an_adhoc_name_is_recognizable() -> None:
    """The stem stays as far as it can."""
    assert fqdn.for_adhoc("Release Notes (2)", SHA256).action == "release_notes_2"
    assert fqdn.for_adhoc("世界", SHA256).action == "unnamed"
