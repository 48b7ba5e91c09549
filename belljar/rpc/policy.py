"""Who may call what: patterns, declarations, trust, and the one decision they make together.

A grant is what the policy allows *and* the capability declares. Patterns are `*`, `git:*`, `git:git_log`,
`git:read_*`: server, colon, tool, with `*` as the only wildcard. Names are compared exactly, character by character -
no case folding, no normalisation - so a look-alike name is another name. The order, first match wins:

    not declared          deny    the capability never said it would
    deny                  deny    whatever else matches
    a pinned tool changed ask     an allowance was given to what the tool was
    allow                 allow
    ask                   ask
    auto                  auto    what real runs show decides between allow and ask; or ask, if a condition is missing
    trust                 allow   the user trusts the server's annotations, and they say read-only and closed world
    anything else         ask

Trust is the only way to an allowance that nobody gave, and it needs all of: server trusted, `readOnlyHint: true`,
`openWorldHint: false` (a read-only tool that reaches the open world carries data out), and a pin equal to the tool's
digest: no pin, no trust. An explicit allow is the user's word on this run; it stands where there is no pin yet, but not
where the pin says that name, schema or annotations are no longer what the user once saw.

Auto is less than an allowance: it needs the pin and the trusted server too, because how much a tool may harm is known
from its annotations alone. Whether evidence then suffices is for an `Auto` to say, who can ask for it; this module only
says that it is to be asked. A pattern of `auto` that matches is the last word, also over trust: a tool the user gave to
it asks while it is flaky.

`forbids` answers from the names alone: what is denied anyway must not start a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from belljar.errors import ConfigError
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue, ToolInfo

__all__ = [
    "CHANGED",
    "RESERVED_SERVERS",
    "Auto",
    "Decision",
    "Declared",
    "NoTrust",
    "Policy",
    "Trust",
    "about",
    "decide",
    "forbids",
    "matches",
]

RESERVED_SERVERS = frozenset({"capability"})
"""Names under `mcp` that no server may have: `mcp.capability` is for capabilities that call each other."""

CHANGED = "changed since pinned"
"""The rule of a tool that is no longer what the user once saw."""

_MAX_PATTERN_CHARS = 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user said about tools, for one run. Patterns are checked when it is made.

    Raises:
        ConfigError: a pattern that is none.
    """

    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    auto: tuple[str, ...] = ()
    """Asked about until real runs have shown that they can be relied on."""

    def __post_init__(self) -> None:
        for pattern in (*self.allow, *self.deny, *self.ask, *self.auto):
            _check_pattern(pattern)

    def and_(self, more: Policy) -> Policy:
        """With what another one says beside it."""
        return Policy(*(getattr(self, name) + getattr(more, name) for name in self.__slots__))

    @property
    def digest(self) -> str:
        """SHA-256 over the canonical form; an approval is bound to it."""
        return jsontext.sha256(self.facts())

    def facts(self) -> Mapping[str, JsonValue]:
        return {name: list(getattr(self, name)) for name in ("allow", "deny", "ask", "auto")}


@dataclass(frozen=True, slots=True)
class Declared:
    """What a capability's metadata block lists, exactly; `None` in place of this says that there is no block.

    `servers` bounds servers and `permissions` bounds tools; both must hold. One of them alone suffices: servers without
    permissions mean every tool of those servers, permissions without servers name their servers themselves. A block
    that lists neither declares nothing.

    Raises:
        ConfigError: a permission that is no pattern.
    """

    servers: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    within: Declared | None = None
    """What the run that called this one declares: a capability is granted no more than its caller."""

    def __post_init__(self) -> None:
        for pattern in self.permissions:
            _check_pattern(pattern)

    def covers(self, server: str, tool: str) -> bool:
        if self.within is not None and not self.within.covers(server, tool):
            return False
        if not self.servers and not self.permissions:
            return False
        in_servers = not self.servers or server in self.servers
        return in_servers and (not self.permissions or _first(self.permissions, server, tool) is not None)


class Trust(Protocol):
    """What the user trusts beyond this run."""

    def trusted(self, server: str) -> bool:
        """Whether the user believes this server's annotations."""
        ...

    def pinned(self, server: str, tool: str) -> str | None:
        """The digest of the tool when the user last saw it; None if never."""
        ...


class NoTrust:
    """Nobody is trusted and nothing was seen before."""

    def trusted(self, server: str) -> bool:
        return False

    def pinned(self, server: str, tool: str) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a call, and by which rule: `allow git:*`, `trust annotations`, `changed since pinned`..."""

    kind: Literal["allow", "deny", "ask", "auto"]
    """`auto`: an `Auto` makes an `allow` or an `ask` of it."""
    rule: str


class Auto(Protocol):
    """Decides by what real runs have shown."""

    async def decide(self, tool: ToolInfo) -> Decision:
        """`allow` or `ask`, for a tool that is pinned and whose annotations are trusted. Has a deadline of its own."""
        ...


def forbids(server: str, tool: str, policy: Policy, declared: Declared | None) -> Decision | None:
    """A denial that needs no knowledge of the tool, or None."""
    if declared is not None and not declared.covers(server, tool):
        return Decision("deny", "not declared by the capability")
    pattern = _first(policy.deny, server, tool)
    return None if pattern is None else Decision("deny", f"deny {pattern}")


def decide(tool: ToolInfo, policy: Policy, declared: Declared | None = None, trust: Trust | None = None) -> Decision:
    """What becomes of a call of this tool. Pure; the order is that of the table above."""
    denied = forbids(tool.server, tool.name, policy, declared) or _forbidden_elsewhere(tool, policy)
    if denied is not None:
        return denied
    trust = trust or NoTrust()
    pin = trust.pinned(tool.server, tool.name)
    if pin is not None and pin != tool.digest:
        return Decision("ask", CHANGED)
    allowed = _first(policy.allow, tool.server, tool.name)
    if allowed is not None:
        return Decision("allow", f"allow {allowed}")
    asked = _first(policy.ask, tool.server, tool.name)
    if asked is not None:
        return Decision("ask", f"ask {asked}")
    if _first(policy.auto, tool.server, tool.name) is not None:
        return _left_to_evidence(tool, pin, trust)
    if _harmless(tool) and pin is not None and trust.trusted(tool.server):
        return Decision("allow", "trust annotations")
    return Decision("ask", "default")


def _left_to_evidence(tool: ToolInfo, pin: str | None, trust: Trust) -> Decision:
    if pin is None or not tool.digest:
        return Decision("ask", "auto: never seen before")
    if not trust.trusted(tool.server):
        return Decision("ask", "auto: its server's annotations are not trusted")
    return Decision("auto", "auto")


def _forbidden_elsewhere(tool: ToolInfo, policy: Policy) -> Decision | None:
    """A denial of the same tool under another of its names."""
    found = (_first(policy.deny, tool.server, name) for name in tool.also)
    pattern = next(filter(None, found), None)
    return None if pattern is None else Decision("deny", f"deny {pattern}")


def _harmless(tool: ToolInfo) -> bool:
    return tool.read_only and not tool.open_world and bool(tool.digest)


# Patterns


def _check_pattern(pattern: str) -> None:
    server, colon, tool = pattern.partition(":")
    plain = pattern == pattern.strip() and pattern.isprintable() and len(pattern) <= _MAX_PATTERN_CHARS
    if plain and (pattern == "*" or (colon and server and tool)):
        return
    raise ConfigError(
        f"no pattern: {pattern[:80]!r}; write SERVER:TOOL, for example git:git_log, git:read_*, git:* or *"
    )


def _first(patterns: tuple[str, ...], server: str, tool: str) -> str | None:
    for pattern in patterns:
        if matches(pattern, server, tool):
            return pattern
    return None


def about(patterns: Iterable[str], servers: Iterable[str]) -> tuple[str, ...]:
    """Those of the patterns that may mean a tool of one of these servers."""
    names = tuple(servers)
    return tuple(each for each in patterns if any(_glob(each.partition(":")[0], name) for name in names))


def matches(pattern: str, server: str, tool: str) -> bool:
    """Whether a tool is among those that a pattern means."""
    if pattern == "*":
        return True
    # The first colon ends the server part: tools may have colons in their names, servers had better not.
    server_part, _, tool_part = pattern.partition(":")
    return _glob(server_part, server) and _glob(tool_part, tool)


def _glob(pattern: str, name: str) -> bool:
    """`*` stands for any characters. Greedy and without going back, so linear: names are as hostile as patterns."""
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    if not name.startswith(first):
        return False
    place = len(first)
    for part in middle:
        found = name.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return name.endswith(last) and len(name) - len(last) >= place
