"""The store of capabilities: what a name means, and whom it does not believe."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from belljar import fqdn
from belljar.errors import ConfigError, ValidationError
from belljar.registry import HERE, CapabilityStore
from belljar.registry.capabilities import sha256_of

NOTES = fqdn.parse("acme.tools.git.notes")
ONE, TWO, THREE = "1\n", "2\n", "3\n"


def folder_of(store: CapabilityStore) -> Path:
    return store._folder


def file_of(store: CapabilityStore, code: str) -> Path:
    return folder_of(store) / "code" / sha256_of(code)


def test_an_empty_store_knows_nothing_and_makes_nothing(store: CapabilityStore) -> None:
    """Asking makes no file."""
    assert store.find(NOTES) is None
    assert store.all() == []
    assert not folder_of(store).exists()


def test_what_was_added_is_found_by_each_form_of_its_name(store: CapabilityStore) -> None:
    """F10: four parts, five with four digits, five with the full hash; another process finds it too."""
    kept = store.add(NOTES, ONE)
    for name in ("acme.tools.git.notes", str(kept.fqdn), kept.fqdn.exact):
        found = CapabilityStore(folder_of(store)).find(fqdn.parse(name))
        assert found == kept
        assert found is not None
        assert store.code(found) == ONE
    assert kept.origin == HERE
    assert store.find(fqdn.parse("git:notes")) is None
    assert store.find(fqdn.parse(f"acme.tools.git.notes.{'0' * 64}")) is None


def test_the_first_version_is_pinned_and_a_later_one_is_not(store: CapabilityStore) -> None:
    """F11: the name goes on meaning what it meant until the user says otherwise; then both may be named."""
    first, second = store.add(NOTES, ONE), store.add(NOTES, TWO)
    assert (first.pinned, second.pinned) == (True, False)
    assert store.find(NOTES) == first
    assert store.find(second.fqdn) == second
    store.pin(second)
    found = store.find(NOTES)
    assert found is not None
    assert found.sha256 == second.sha256
    before = store.find(first.fqdn)
    assert before is not None
    assert before.pinned
    assert [kept.sha256 for kept in store.all()] == [first.sha256, second.sha256]


def test_adding_again_changes_nothing_but_the_pin(store: CapabilityStore) -> None:
    """The same code under the same name is the same version, from whomever it came first."""
    first = store.add(NOTES, ONE, origin="https://a.example")
    again = store.add(NOTES, ONE, origin="https://b.example")
    assert again == first
    store.add(NOTES, TWO, pin=True)
    store.add(NOTES, ONE, pin=True)
    found = store.find(NOTES)
    assert found is not None
    assert found.sha256 == first.sha256
    assert len(store.versions(NOTES)) == 2


def test_a_hash_that_is_not_the_codes_is_refused(store: CapabilityStore) -> None:
    """A name with a hash takes that code alone, and nothing is kept of another."""
    with pytest.raises(ValidationError, match="does not name this code"):
        store.add(NOTES.at("0000"), ONE)
    assert store.all() == []


def test_four_digits_that_two_codes_share_are_reported(store: CapabilityStore) -> None:
    """F39: nobody guesses which is meant; both full names are given, and either works."""
    first = store.add(NOTES, ONE)
    digits = first.fqdn.hash4
    other = next(code for n in range(10**6) if sha256_of(code := f"# {n}\n").startswith(digits))
    second = store.add(NOTES, other)
    with pytest.raises(ValidationError, match="begin alike") as caught:
        store.find(NOTES.at(digits))
    assert first.fqdn.exact in caught.value.message
    assert second.fqdn.exact in caught.value.message
    assert store.find(second.fqdn) == second
    assert store.find(NOTES) == first


def test_files_are_the_users_alone(tmp_path: Path) -> None:
    """0700 and 0600 from the first moment, whatever the umask: nothing is ever open to others."""
    before = os.umask(0)
    try:
        CapabilityStore(tmp_path / "a" / "b" / "capabilities").add(NOTES, ONE)
    finally:
        os.umask(before)
    for path in (tmp_path / "a").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", [b"", b"2\n", b"1\n\n", b"\xff\xfe", b"1\n" * 10**6])
def test_code_that_was_changed_is_refused_by_name(store: CapabilityStore, damage: bytes) -> None:
    """F11: its hash is taken on every load, also right after one that was good; the message says which and where."""
    kept = store.add(NOTES, ONE)
    assert store.code(kept) == ONE
    file_of(store, ONE).write_bytes(damage)
    with pytest.raises(ValidationError, match="is damaged") as caught:
        store.code(kept)
    assert str(kept.fqdn) in caught.value.message
    assert str(file_of(store, ONE)) in caught.value.message


def test_a_file_in_the_place_of_another_is_refused(store: CapabilityStore) -> None:
    """Two kept codes, swapped by whoever can: both are refused."""
    one, two = store.add(NOTES, ONE), store.add(fqdn.parse("acme.tools.git.other"), TWO)
    file_of(store, TWO).write_text(ONE)
    file_of(store, ONE).write_text(TWO)
    for kept in (one, two):
        with pytest.raises(ValidationError, match="is damaged"):
            store.code(kept)


def _link(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _open_to_others(path: Path) -> None:
    path.chmod(0o666)


def _folder_open_to_others(path: Path) -> None:
    path.parent.chmod(0o777)


def _of_another(path: Path) -> None:
    os.chown(path, 12345, 12345)


ATTACKS = [_link, _fifo, _folder, _open_to_others, _folder_open_to_others]
if os.geteuid() == 0:
    ATTACKS.append(_of_another)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_code_that_others_may_have_written_is_refused(store: CapabilityStore, attack: Any) -> None:
    """Not followed, not waited for, not believed - although its hash would be right."""
    kept = store.add(NOTES, ONE)
    attack(file_of(store, ONE))
    with pytest.raises(ValidationError, match="cannot be loaded"):
        store.code(kept)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_index_that_others_may_have_written_is_refused(store: CapabilityStore, attack: Any) -> None:
    """Who can write it could pin: an error with what to do, on reading and on changing, never an empty store."""
    store.add(NOTES, ONE)
    attack(folder_of(store) / "index.json")
    for use in (store.all, lambda: store.find(NOTES), lambda: store.add(NOTES, TWO)):
        with pytest.raises(ConfigError, match="without capabilities and pins"):
            use()


SHA = sha256_of(ONE)
GOOD: dict[str, Any] = {"versions": {SHA: {"origin": "x", "addedAtNs": 1}}, "pins": [SHA]}


@pytest.mark.parametrize(
    "names",
    [
        5,
        {"acme.tools.git.notes": 5},
        {"acme.tools.git.notes": {}},
        {"git:notes": GOOD},
        {"acme.tools.git.notes.a7f3": GOOD},
        {"../../etc/passwd": GOOD},
        {"acme.tools.git.notes": {**GOOD, "pins": ["0" * 64]}},
        {"acme.tools.git.notes": {**GOOD, "pins": [SHA, SHA]}},
        {"acme.tools.git.notes": {**GOOD, "pins": [[]]}},
        {"acme.tools.git.notes": {**GOOD, "versions": {"../x": {"origin": "x", "addedAtNs": 1}}, "pins": []}},
        {"acme.tools.git.notes": {**GOOD, "versions": {SHA: {"origin": 1, "addedAtNs": 1}}}},
        {"acme.tools.git.notes": {**GOOD, "versions": {SHA: {"origin": "x", "addedAtNs": 1.5}}}},
        {"acme.tools.git.notes": {**GOOD, "versions": {SHA: None}}},
    ],
)
def test_an_index_that_is_none_is_an_error(store: CapabilityStore, names: Any) -> None:
    """Every part that is read is checked; the file stays as it is."""
    store.add(NOTES, ONE)
    path = folder_of(store) / "index.json"
    path.write_text(json.dumps({"version": 1, "names": names}))
    with pytest.raises(ConfigError, match=r"index\.json"):
        store.all()
    path.write_text("{")
    with pytest.raises(ConfigError, match="not our JSON"):
        store.add(NOTES, TWO)
    assert path.read_text() == "{"


def test_a_code_whose_file_is_gone_is_none(store: CapabilityStore) -> None:
    """It can be fetched again: the index still says which one it must be."""
    kept = store.add(NOTES, ONE)
    file_of(store, ONE).unlink()
    assert store.code(kept) is None
    assert store.find(NOTES) == kept


def test_versions_are_bounded_and_the_current_stays(store: CapabilityStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the oldest that nobody agreed to is forgotten."""
    monkeypatch.setattr("belljar.registry.capabilities._MAX_VERSIONS", 3)
    first = store.add(NOTES, "first\n")
    for n in range(5):
        store.add(NOTES, f"{n}\n")
    assert len(store.versions(NOTES)) == 3
    assert store.find(NOTES) == first
    assert store.find(NOTES.at(sha256_of("4\n"))) is not None


@pytest.mark.parametrize("code", ["\ud800", "x" * (5 << 20)])
def test_what_is_no_text_or_too_long_is_not_kept(store: CapabilityStore, code: str) -> None:
    with pytest.raises(ValidationError):
        store.add(NOTES, code)


def test_two_processes_lose_nothing(store: CapabilityStore) -> None:
    """Four processes add ten capabilities each at once: forty are there."""
    program = (
        "import sys; from pathlib import Path; from belljar import fqdn; from belljar.registry import CapabilityStore\n"
        "store = CapabilityStore(Path(sys.argv[1]))\n"
        "for n in range(10): store.add(fqdn.make('p' + sys.argv[2], f'a{n}'), f'{n}')\n"
    )
    words = [sys.executable, "-c", program, str(folder_of(store))]
    running = [subprocess.Popen([*words, str(n)]) for n in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert len(store.all()) == 40
    assert all(store.code(kept) is not None for kept in store.all())
