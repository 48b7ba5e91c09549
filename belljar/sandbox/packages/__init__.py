"""Dependencies of capabilities: what may be asked for, where it lies, and how it gets there.

    requirements   what a `# /// script` block may ask for: names and version specifiers
    store          an environment for each set of requirements and each Python, locked by hash, approved by a person
    installer      fills it, outside the box, with uv or pip; wheels only
    unpacked       checks what came and compiles it; no code of a package is run outside a box

`ready` is all a run needs; `Installation` is what somebody asked for by name.
"""

from belljar.sandbox.packages.installer import Installation
from belljar.sandbox.packages.requirements import requirements_of
from belljar.sandbox.packages.store import Store, ready

__all__ = ["Installation", "Store", "ready", "requirements_of"]
