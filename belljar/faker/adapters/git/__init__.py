"""The git server: an index, commits and branches that are not there, over a repository that is."""

from belljar.faker.adapters.git.model import TOOLS, GitModel

__all__ = ["TOOLS", "GitModel"]
