"""The tools of a server, as far as its lists have been seen. Sans-IO.

Filled from every answer to `tools/list` that passes, the client's own as well as ours. A page belongs to the list whose
page before named its cursor; a list counts once its last page came, and is stale as soon as the server says that the
tools changed - also when it says so between two pages, or between the question and its answer, which may be older than
what the server said before it: so each page counts for the time at which it was asked for (`generation`). A name that
stands for two different tools stands for none: which of them a call would reach, only the server knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from belljar.faker.calls import Tool
from belljar.rpc.world import JsonValue

__all__ = ["MAX_PAGES", "MAX_TOOLS", "Toolbox"]

MAX_PAGES = 1000
MAX_TOOLS = 100_000
# Lists that somebody began to read and did not finish.
_UNFINISHED = 32


@dataclass(slots=True)
class _Listing:
    generation: int
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    twice: set[str] = field(default_factory=set[str])
    pages: int = 0

    def take(self, entries: Iterable[Any]) -> None:
        for entry in entries:
            name = cast("dict[str, Any]", entry).get("name") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                continue
            tool = Tool(name, cast("dict[str, Any]", entry))
            if name in self.tools and self.tools[name].listed != tool.listed:
                self.twice.add(name)
            self.tools[name] = tool


class Toolbox:
    """What is known of a server's tools."""

    def __init__(self) -> None:
        self.tools: Mapping[str, Tool] = {}
        self.twice: frozenset[str] = frozenset()
        """Names that stand for several tools."""
        self.fresh = False
        """The list is whole, and the server has not said that it changed."""
        self.generation = 0
        """How often the server has said that they changed."""
        self._unfinished: dict[str, _Listing] = {}

    def changed(self) -> None:
        """The server says that its tools are others now."""
        self.generation += 1
        self.fresh = False

    def holds(self, tool: Tool) -> bool:
        """Whether the name of this tool still stands for it, and for nothing else, as far as anybody can know."""
        return self.fresh and tool.name not in self.twice and self.tools.get(tool.name) == tool

    def page(self, cursor: JsonValue, result: Mapping[str, Any], generation: int) -> bool:
        """Take in a page that was asked for in this generation; whether it was the last one of its list.

        A cursor may be anything that a client makes up.
        """
        if not isinstance(cursor, str | None):
            return False
        listing = _Listing(generation) if cursor is None else self._unfinished.pop(cursor, None)
        if listing is None:
            return False
        listing.generation = min(listing.generation, generation)
        entries = result.get("tools")
        listing.take(cast("list[Any]", entries) if isinstance(entries, list) else ())
        listing.pages += 1
        following = result.get("nextCursor")
        if isinstance(following, str) and following:
            self._keep(following, listing)
            return False
        if self.tools != listing.tools:  # whoever knows the tools by their identity need not learn them again
            self.tools = listing.tools
        self.twice = frozenset(listing.twice)
        self.fresh = listing.generation == self.generation
        return True

    def _keep(self, cursor: str, listing: _Listing) -> None:
        if listing.pages < MAX_PAGES and len(listing.tools) <= MAX_TOOLS:
            self._unfinished[cursor] = listing
        while len(self._unfinished) > _UNFINISHED:
            del self._unfinished[next(iter(self._unfinished))]
