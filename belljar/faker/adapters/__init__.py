"""Models that know their server: where generic rules would not do."""

from __future__ import annotations

from belljar.faker.adapters.filesystem import FilesystemModel
from belljar.faker.adapters.git import GitModel
from belljar.faker.adapters.memory import MemoryModel
from belljar.faker.calls import Call
from belljar.faker.scene import Model

__all__ = ["adapter_for"]

_FILESYSTEM = frozenset({"write_file", "list_directory", "get_file_info", "move_file"})

_GIT = frozenset({"git_status", "git_add", "git_commit"})
_MEMORY = frozenset({"create_entities", "create_relations", "read_graph"})


def adapter_for(call: Call, otherwise: Model) -> Model | None:
    """The adapter for the server a call goes to, told by its tools; None if nobody wrote one.

    `otherwise` answers the tools that a server has beyond those the adapter knows.
    """
    names = call.tools.keys()
    if names >= _FILESYSTEM:
        return FilesystemModel(otherwise)
    if names >= _MEMORY:
        return MemoryModel(otherwise)
    if names >= _GIT:
        return GitModel(otherwise)
    return None
