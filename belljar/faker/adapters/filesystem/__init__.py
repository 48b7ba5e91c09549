"""The filesystem server: a tree laid over a real one, as overlayfs does it, by the words of its fourteen tools."""

from belljar.faker.adapters.filesystem.model import TOOLS, FilesystemModel

__all__ = ["TOOLS", "FilesystemModel"]
