"""Build hook: a wheel or an editable install comes with the finished guest component.

The component is portable, so the wheel stays `py3-none-any`; source distributions carry sources only. How it is built
is `belljar/sandbox/componentize.py`, loaded by path because nothing of ours is installed yet; which componentize-py
builds it is said there too, and this hook asks for it, so that the version stands in one place.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GuestBuildHook(BuildHookInterface[Any]):
    """Asks for componentize-py, runs it, and lets the artifact rule pick up what it made."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What an isolated build has to install before `initialize`."""
        return [f"componentize-py=={self._recipe().COMPONENTIZE_PY}"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the component if its sources changed; `pyproject.toml` names it as an artifact of the wheel."""
        recipe = self._recipe()
        self.app.display_waiting("Building the guest component (half a minute, once) ...")
        built = recipe.componentize(recipe.GUEST, recipe.COMPONENT)
        self.app.display_info("guest.wasm built" if built else "guest.wasm is current")

    def _recipe(self) -> ModuleType:
        name = "belljar_componentize"
        if name not in sys.modules:
            path = Path(self.root) / "belljar" / "sandbox" / "componentize.py"
            spec = importlib.util.spec_from_file_location(name, path)
            if spec is None or spec.loader is None:
                raise ImportError(f"cannot load {path}")
            # Registered first: dataclasses look their own module up while it is being executed.
            sys.modules[name] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        return sys.modules[name]
