"""From a file to what is kept and published of it: its full name, its code with nothing taken from it, and the check
that nothing is in it that may not leave this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from belljar import fqdn, show
from belljar.cli import _setup
from belljar.config import Config
from belljar.errors import ValidationError
from belljar.registry.outgoing import finds
from belljar.registry.remote import Submission
from belljar.sandbox import metadata
from belljar.sandbox.loader import Capability, load_file
from belljar.tracing.outbound import Outbound
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.second_pass import SecondPass

__all__ = ["loaded", "submission"]

_MOST_SHOWN = 10


def loaded(file: Path, org: str, project: str, config: Config) -> tuple[Capability, str]:
    """The capability in a file under its full name, and its whole code: the hash is over all of it.

    Raises:
        ValidationError: it cannot be loaded, or its metadata does not name it.
    """
    found = load_file(file, config.limits)
    said = metadata.read(found.source)
    if said is None or said.name is None:
        shown = show.text(str(file), max_chars=200)
        raise ValidationError(f'{shown} has no name: write name = "namespace:action" in its [tool.belljar] block')
    name = fqdn.make(found.fqdn.namespace, found.fqdn.action, found.sha256, org=org, project=project)
    # The loader takes a byte order mark away, and nothing else.
    whole = hashlib.sha256(found.source.encode()).hexdigest() == found.sha256
    return replace(found, fqdn=name), found.source if whole else f"\ufeff{found.source}"


def submission(file: Path, capability: Capability, code: str, config: Config) -> Submission:
    """What is sent of a capability.

    Raises:
        ValidationError: it holds what may not leave this machine; names the lines.
    """
    _refuse_finds(file, capability, code, config)
    declared = capability.declared
    return Submission(
        fqdn=capability.fqdn,
        code=code,
        schema=capability.args_schema,
        permissions=declared.permissions if declared else (),
        servers=declared.servers if declared else (),
        description=capability.description,
        dependencies=capability.dependencies,
    )


def _refuse_finds(file: Path, capability: Capability, code: str, config: Config) -> None:
    outbound = _way_out(config)
    found = list(map(str, finds(code, outbound)))
    # An escape in TOML hides a text from whoever reads the lines, and not from whoever reads the description.
    said: Mapping[str, Any] = {"description": capability.description, "schema": capability.args_schema}
    if not found and outbound.value(said) != said:
        found = ["the metadata block"]
    if found:
        more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise ValidationError(
            f"{show.text(str(file), max_chars=200)} holds what may not leave this machine: "
            f"{', '.join(found[:_MOST_SHOWN])}{more}; take it out, or let it be given as an argument"
        )


def _way_out(config: Config) -> Outbound:
    known = {secret for spec in _setup.servers_of(config).values() for secret in spec.secrets}
    if config.tracing.api_key is not None:
        known.add(config.tracing.api_key)
    # Both passes: it is published once, and read by strangers ever after.
    return Outbound(Sanitizer(known=known), SecondPass(spacy_model=config.tracing.spacy_model))
