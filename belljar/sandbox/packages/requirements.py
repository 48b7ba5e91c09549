"""What a capability may ask for: names of packages and versions of them, and nothing that says where they come from.

The source of a capability is a stranger's. An index, a URL, a path or a repository in it would be the stranger's choice
of what is fetched and run here; which index is asked is this machine's configuration alone. Extras and environment
markers are not taken either: what they select is better written out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from belljar import show
from belljar.errors import ValidationError
from belljar.sandbox import metadata
from belljar.sandbox.loader import Capability

__all__ = ["MAX_REQUIREMENTS", "normalized", "requirements_of"]

MAX_REQUIREMENTS = 64
_MAX_CHARS = 200
# PEP 508 without extras, URLs and markers; one version each (PEP 440), spaces allowed around parts.
_VERSION = r"(?:===|==|!=|~=|<=|>=|<|>) *[A-Za-z0-9][A-Za-z0-9.!+*_-]*"
_REQUIREMENT = re.compile(
    rf"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) *(\(? *{_VERSION}(?: *, *{_VERSION})* *\)?)?", re.ASCII
)
# Tables in which a file could tell an installer where to look.
_INSTALLERS = ("uv", "pip", "poetry", "pdm", "hatch", "pixi", "rye")


def requirements_of(capability: Capability) -> tuple[str, ...]:
    """What it depends on, each as `name` or `name>=1,<2`, sorted; empty if it depends on nothing.

    Raises:
        ValidationError: something in it is no name with versions, or the block configures an installer.
    """
    if not capability.dependencies:
        return ()
    for table in metadata.tables(capability.source):
        if table in _INSTALLERS:
            raise ValidationError(
                f"[tool.{table}] in the metadata block: a capability cannot say how or from where packages come; "
                "remove it"
            )
    return normalized(capability.dependencies)


def normalized(requirements: Sequence[str]) -> tuple[str, ...]:
    """The same, each in one form, sorted and without repetition.

    Raises:
        ValidationError: as `requirements_of`.
    """
    if len(requirements) > MAX_REQUIREMENTS:
        raise ValidationError(f"{len(requirements)} dependencies: {MAX_REQUIREMENTS} is the most")
    return tuple(sorted({_one(text) for text in requirements}))


def _one(text: str) -> str:
    match = _REQUIREMENT.fullmatch(text.strip()) if len(text) <= _MAX_CHARS else None
    if match is None:
        raise ValidationError(
            f"the dependency {show.text(text, max_chars=_MAX_CHARS)} is no name with versions, like numpy>=2,<3: "
            "URLs, paths, extras and markers are not taken"
        )
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    versions = (match[2] or "").replace(" ", "").strip("()")
    return name + ",".join(sorted(versions.split(",")))
