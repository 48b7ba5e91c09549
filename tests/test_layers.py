"""The file border: what runs inside a box is in `sandbox/guest/`, and imports nothing else of ours.

import-linter knows our own modules and checks that nothing crosses the border; this reads every import statement, so
that the guest cannot lean on a distribution of the host's either. It must start from the standard library alone.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import belljar

GUEST = Path(belljar.__file__).parent / "sandbox" / "guest"
# What componentize-py puts beside the guest, and modules of the guest's Python that an older host does not list.
OF_THE_COMPONENT = {"wit_world", "componentize_py_types"}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module or ""


def test_the_guest_imports_the_standard_library_and_itself() -> None:
    """No module of the guest imports a distribution, or anything of ours from outside its folder."""
    foreign: list[str] = []
    for path in sorted(GUEST.rglob("*.py")):
        depth = len(path.relative_to(GUEST).parts)
        for level, name in imported(path):
            inside = 0 < level <= depth
            root = name.partition(".")[0]
            if not inside and (level or root not in sys.stdlib_module_names | OF_THE_COMPONENT):
                foreign.append(f"{path.name}: {'.' * level}{name}")
    assert foreign == []
