"""The capabilities this user keeps: their code by its hash, and under each name the versions that were seen.

    <folder>/code/<sha256>      the code's bytes, never changed; named by the hash of what is in it
    <folder>/index.json         name -> its versions, oldest first, and those of them that are pinned

A name is four parts, `org.project.namespace.action`; what it means is decided here and not by whoever serves code. The
first version of a name is pinned when it is seen, and a later one only by the user's word: until then `Kept.pinned` is
False, and whoever runs it asks first. The four parts alone mean the version pinned last. Several versions may be
pinned: each was agreed to, and whoever names its hash gets it without being asked again.

Nothing here is believed twice. The file of a code is opened without following links, and its hash is taken on every
load; one that differs is refused by name. The index says who may run unasked, so it is read as the trust store is:
ours, closed to others, and what cannot be read is an error, never an empty store.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from belljar import fqdn
from belljar.errors import ConfigError, ValidationError
from belljar.fqdn import Fqdn
from belljar.limits import MIB
from belljar.registry._private import PrivateFile
from belljar.rpc import jsontext

__all__ = ["HERE", "CapabilityStore", "Kept", "Known", "sha256_of"]

HERE = "this machine"
"""The origin of what was added from a file."""

_VERSION = 1
# Two hundred bytes a version: more than any user has, and read in well under a second.
_MAX_INDEX_BYTES = 16 * MIB
_MAX_CODE_BYTES = 4 * MIB
# Of one name; beyond it the oldest that is not pinned is forgotten.
_MAX_VERSIONS = 256
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """One version of a capability that this machine knows."""

    fqdn: Fqdn
    """With the full hash."""
    origin: str
    """`HERE`, or the origin of the registry that gave it."""
    added_at_ns: int
    pinned: bool
    """Whether the user agreed to this version: it runs without being asked about."""

    @property
    def sha256(self) -> str:
        return self.fqdn.hash


def sha256_of(code: str) -> str:
    """Hex SHA-256 of a code's bytes: its identity.

    Raises:
        ValidationError: it is no UTF-8 text.
    """
    return hashlib.sha256(_bytes(code)).hexdigest()


class Known:
    """What the index says at one moment."""

    def __init__(self, names: dict[str, dict[str, Any]]) -> None:
        self._names = names

    def find(self, name: Fqdn) -> Kept | None:
        """The version a name means: the one with that hash, or without a hash the one pinned last; None if unknown.

        Raises:
            ValidationError: four digits that two versions share.
        """
        found = [kept for kept in self.versions(name) if name.matches(kept.fqdn)]
        if name.hash4 and len(found) > 1:
            raise _collision(name, found)
        pinned = [kept for kept in found if kept.pinned]
        return (pinned or found or [None])[-1]

    def versions(self, name: Fqdn) -> list[Kept]:
        """All versions of a name, whatever its hash says, in the order of `all`."""
        return list(_versions(name.family, self._names.get(name.family)))

    def all(self) -> list[Kept]:
        """Everything that is kept: by name, and of one name the pinned last, in the order in which they were."""
        return [kept for family in sorted(self._names) for kept in _versions(family, self._names[family])]

    def families(self) -> list[str]:
        """The names, of four parts each."""
        return sorted(self._names)


class CapabilityStore:
    """Reads the index anew for each question: what another process added is there.

    All methods raise ConfigError if the index cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._index = PrivateFile(folder / "index.json", advice="move it away to start without capabilities and pins")

    def known(self) -> Known:
        """All that is kept, as it is now."""
        return Known(self._read())

    def find(self, name: Fqdn) -> Kept | None:
        """`Known.find`, as it is now."""
        return self.known().find(name)

    def versions(self, name: Fqdn) -> list[Kept]:
        """`Known.versions`, as it is now."""
        return self.known().versions(name)

    def all(self) -> list[Kept]:
        """`Known.all`, as it is now."""
        return self.known().all()

    def code(self, kept: Kept) -> str | None:
        """The code, found to be the one with that hash; None if its file is gone.

        Raises:
            ValidationError: the file was changed, or cannot be used.
        """
        file = self._file(kept.sha256)
        try:
            data = file.read(_MAX_CODE_BYTES)
        except ConfigError as exc:
            raise ValidationError(f"{kept.fqdn} cannot be loaded: {exc.message}") from None
        if data is None:
            return None
        if hashlib.sha256(data).hexdigest() != kept.sha256:
            raise ValidationError(
                f"{kept.fqdn} is damaged: {file.unusable('does not hold the code its name is the hash of').message}"
            )
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise ValidationError(f"{kept.fqdn} is no UTF-8 text: no code that was added here") from None

    def add(self, name: Fqdn, code: str, *, origin: str = HERE, pin: bool = False) -> Kept:
        """Keep a code under a name; its hash is taken here. Pinned if asked for, or if it is the name's first.

        Raises:
            ValidationError: `name` has the hash of another code, or the code is too long or no UTF-8 text.
        """
        sha256 = sha256_of(code)
        if not sha256.startswith(name.hash):
            raise ValidationError(f"{name} does not name this code: its hash begins with {sha256[:4]}")
        with self._index.locked():
            names = self._read()
            self._file(sha256).write(_bytes(code))
            entry = names.setdefault(name.family, {"versions": {}, "pins": []})
            first = not entry["versions"]
            entry["versions"].setdefault(sha256, {"origin": origin, "addedAtNs": time.time_ns()})
            if pin or first:
                _pin(entry, sha256)
            _forget_oldest(entry, sha256)
            self._write(names)
        return next(kept for kept in _versions(name.family, entry) if kept.sha256 == sha256)

    def pin(self, kept: Kept) -> None:
        """The user agreed to this version; from now on it is what the name means."""
        with self._index.locked():
            names = self._read()
            entry = names.get(kept.fqdn.family, {"versions": {}, "pins": []})
            if kept.sha256 not in entry["versions"]:
                raise ValidationError(f"{kept.fqdn} is not kept any more: add it again")
            _pin(entry, kept.sha256)
            self._write(names)

    def _file(self, sha256: str) -> PrivateFile:
        advice = "remove it, and add the capability again or run it by its name to fetch it"
        return PrivateFile(self._folder / "code" / sha256, advice=advice)

    # the index

    def _read(self) -> dict[str, dict[str, Any]]:
        data = self._index.read(_MAX_INDEX_BYTES)
        if data is None:
            return {}
        try:
            document = jsontext.parse(data, max_bytes=_MAX_INDEX_BYTES)
        except jsontext.JsonError as exc:
            raise self._index.unusable(f"is not our JSON: {exc}") from None
        fields = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        names: Any = fields.get("names")
        if not isinstance(names, dict) or fields.get("version") != _VERSION:
            raise self._index.unusable(f"is not of version {_VERSION}")
        if not all(_is_entry(family, entry) for family, entry in cast("dict[str, Any]", names).items()):
            raise self._index.unusable("holds an entry that is none")
        return cast("dict[str, dict[str, Any]]", names)

    def _write(self, names: dict[str, dict[str, Any]]) -> None:
        data = json.dumps({"version": _VERSION, "names": names}, indent=1).encode()
        if len(data) > _MAX_INDEX_BYTES:
            raise self._index.unusable(f"would have more than {_MAX_INDEX_BYTES} bytes")
        self._index.write(data)


def _versions(family: str, entry: dict[str, Any] | None) -> Iterator[Kept]:
    """Oldest first, and the pinned after all others, in the order in which they were pinned."""
    if entry is None:
        return
    versions, pins = entry["versions"], entry["pins"]
    name = fqdn.parse(family)
    for sha256 in (*(each for each in versions if each not in pins), *pins):
        version = versions[sha256]
        yield Kept(name.at(sha256), version["origin"], version["addedAtNs"], sha256 in pins)


def _pin(entry: dict[str, Any], sha256: str) -> None:
    entry["pins"] = [*(each for each in entry["pins"] if each != sha256), sha256]


def _forget_oldest(entry: dict[str, Any], keep: str) -> None:
    versions: dict[str, Any] = entry["versions"]
    spare = [each for each in versions if each != keep and each not in entry["pins"]] + entry["pins"][:-1]
    for sha256 in spare[: max(len(versions) - _MAX_VERSIONS, 0)]:
        del versions[sha256]
        entry["pins"] = [each for each in entry["pins"] if each != sha256]


def _collision(name: Fqdn, found: list[Kept]) -> ValidationError:
    full = " or ".join(kept.fqdn.exact for kept in found[:3])
    return ValidationError(f"{name} means {len(found)} capabilities whose hashes begin alike: write {full}")


def _bytes(code: str) -> bytes:
    try:
        data = code.encode()
    except UnicodeEncodeError:
        raise ValidationError("the code holds a lone surrogate, which is no text: remove it") from None
    if len(data) > _MAX_CODE_BYTES:
        raise ValidationError(f"the code has {len(data)} bytes, {_MAX_CODE_BYTES} is the most that is kept")
    return data


def _is_entry(family: str, entry: Any) -> bool:
    """Whether this is what `add` writes, in every part that is read."""
    if not isinstance(entry, dict) or not _is_family(family):
        return False
    fields = cast("dict[str, Any]", entry)
    versions, pins = fields.get("versions"), fields.get("pins")
    if not isinstance(versions, dict) or not isinstance(pins, list):
        return False
    known = cast("dict[str, Any]", versions)
    pinned = cast("list[Any]", pins)
    are_pins = all(isinstance(pin, str) and pin in known for pin in pinned) and len(set(pinned)) == len(pinned)
    return are_pins and all(_SHA256.fullmatch(sha256) and _is_version(known[sha256]) for sha256 in known)


def _is_family(family: str) -> bool:
    try:
        return fqdn.parse(family).family == family
    except ValidationError:
        return False


def _is_version(version: Any) -> bool:
    if not isinstance(version, dict):
        return False
    fields = cast("dict[str, Any]", version)
    return isinstance(fields.get("origin"), str) and type(fields.get("addedAtNs")) is int
