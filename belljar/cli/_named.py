"""A capability by its name: what the words of a command line mean, and a person's word on code that is new to them.

A FILE is a file if it has a separator or ends with `.py`; else, if it reads as a capability's name, it is that name. A
file that happens to be called like a name is never run by mistake, nor a capability in place of a file: where both
could be meant, nothing runs. The working directory is a stranger's; `./` says that a file in it is meant.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from belljar import fqdn, show
from belljar.config import Config
from belljar.errors import ApprovalRequired, BelljarError, Code, ValidationError
from belljar.fqdn import Fqdn
from belljar.nested import SERVER, as_capability
from belljar.sandbox.loader import Capability

if TYPE_CHECKING:
    from belljar.registry import CapabilityStore, Resolved, Resolver

__all__ = ["capability_named", "fetch_declared", "meant", "resolver", "store"]

_YES = {"o": "once", "once": "once", "a": "always", "always": "always", "d": "deny", "deny": "deny"}
_LINE_BYTES = 1024
# Fetched before one run: far more than anybody reads.
_MOST_FETCHED = 256


def meant(word: str) -> Path | Fqdn:
    """The file or the name that is meant.

    Raises:
        ValidationError: both could be meant; or it is no file, and a name with a part that breaks the rules.
    """
    if not _could_be_a_name(word):
        return Path(word)
    is_file = os.path.lexists(word) and not os.path.isdir(word)
    try:
        name = fqdn.parse(word)
    except ValidationError:
        if is_file:
            return Path(word)
        raise
    if is_file:
        raise ValidationError(
            f"{show.name(word)} is a file here and reads as a capability's name: ./{show.name(word)} is the file; "
            "for the capability, go to another folder"
        )
    return name


def _could_be_a_name(word: str) -> bool:
    separators = {os.sep, os.altsep or os.sep}
    if word.endswith(".py") or any(separator in word for separator in separators):
        return False
    return ":" in word or word.count(".") in (3, 4)


def store(config: Config) -> CapabilityStore:
    """The capabilities of this user."""
    from belljar.registry import CapabilityStore

    return CapabilityStore(config.paths.data / "capabilities")


def resolver(config: Config) -> Resolver:
    """Looks names up in the store, and in the registry if one is configured."""
    from belljar.registry import Resolver
    from belljar.registry.remote import Registry

    return Resolver(store(config), Registry(config.tracing) if config.tracing.cloud_url else None)


def capability_named(name: Fqdn, config: Config, *, may_ask: bool) -> Capability:
    """The capability of a name, and the user's agreement to it.

    Args:
        may_ask: a person is at the terminal, and nothing else is printed there.

    Raises:
        ValidationError: there is none, or it is damaged.
        ApprovalRequired: it is not the code that is known under that name, and nobody is there to agree.
        UpstreamError, ConfigError: the registry or the store cannot be used.
    """
    found = _found(resolver(config), name)
    capability = as_capability(found.kept.fqdn, found.code, config.limits)
    if not found.kept.pinned:
        _agree(found, capability, config, may_ask=may_ask)
    return capability


def fetch_declared(capability: Capability, config: Config) -> None:
    """Fetch the capabilities that this one names in its permissions, and those that they name.

    Names with a wildcard, and those of this machine, are not fetched. What is new under a known name is kept and stays
    unpinned: a call of it is refused, and says how to agree to it.

    Raises:
        ValidationError: the registry has no such capability; or there are too many.
        UpstreamError, ConfigError: the registry or the store cannot be used.
    """
    if config.tracing.cloud_url is None:
        return
    names = resolver(config)
    seen = {capability.fqdn.family}
    waiting = [capability]
    while waiting:
        for name in _declared(waiting.pop()):
            if name.org == fqdn.LOCAL_ORG or name.exact in seen:
                continue
            seen.add(name.exact)
            if len(seen) > _MOST_FETCHED:
                raise ValidationError(f"{capability.fqdn} calls more than {_MOST_FETCHED} capabilities by name")
            found = _found(names, name)
            waiting.append(as_capability(found.kept.fqdn, found.code, config.limits))


def _declared(capability: Capability) -> list[Fqdn]:
    """The capabilities that a capability's permissions name."""
    permissions = capability.declared.permissions if capability.declared else ()
    named = (each.partition(":") for each in permissions)
    found: list[Fqdn] = []
    for server, _, name in named:
        if server == SERVER and "*" not in name:
            with suppress(ValidationError):  # a name that is none names nothing
                found.append(fqdn.parse(name))
    return found


def _found(names: Resolver, name: Fqdn) -> Resolved:
    found = names.here(name)
    if found is not None:
        return found
    import anyio

    return anyio.run(names.find, name)


# The person


def _agree(found: Resolved, capability: Capability, config: Config, *, may_ask: bool) -> None:
    name = found.kept.fqdn
    there = may_ask and os.isatty(0) and sys.stderr.isatty()
    word = _asked(found, capability, config) if there else None
    if word is None:
        before = "no version" if found.before is None else str(found.before.fqdn)
        message = (
            f"{name} is not the code that is known under its name ({before} is); look at it with "
            f"`belljar capability show {name.exact}`, then run `belljar capability trust {name.exact}`"
        )
        raise ApprovalRequired(message, call_id=0, server="capability", tool=name.family)
    if word == "deny":
        raise BelljarError(f"{name} is not run: denied by a person", code=Code.PERMISSION_DENIED)
    if word == "always":
        store(config).pin(found.kept)


def _asked(found: Resolved, capability: Capability, config: Config) -> str | None:
    from belljar.cli import _screen

    _screen.note(f"\nThe code of {found.kept.fqdn.family} has changed since you first ran it.")
    if found.before is not None:
        _screen.note(f"  known      {found.before.fqdn.exact}")
        code = store(config).code(found.before)
        if code is not None:
            _screen.note(f"             {_calls(as_capability(found.before.fqdn, code, config.limits))}")
    _screen.note(f"  now        {found.kept.fqdn.exact}")
    _screen.note(f"             {_calls(capability)}")
    _screen.note(f"  from       {show.text(found.kept.origin)}")
    _screen.note(f"  it says    {show.text(capability.description or '-', max_chars=500)}")
    return _word()


def _calls(capability: Capability) -> str:
    declared = capability.declared
    if declared is None:
        return "may call whatever the policy allows"
    listed = ", ".join(map(show.name, declared.permissions or declared.servers))
    return f"may call {show.text(listed, max_chars=500) if listed else 'nothing'}"


def _word() -> str | None:
    import termios

    try:
        termios.tcflush(0, termios.TCIFLUSH)  # what was typed before the question is no answer to it
    except termios.error:
        pass
    while True:
        print("Run it? [o]nce / [a]lways / [d]eny: ", end="", file=sys.stderr, flush=True)
        line = os.read(0, _LINE_BYTES).decode("utf-8", "replace")
        if not line:
            return None  # end of input: nobody is there any more
        word = _YES.get(line.strip().lower())
        if word is not None:
            return word
