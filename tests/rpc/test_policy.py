"""Policy: deny over allow over ask, exact names, and trust that needs every one of its conditions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import Code, ConfigError
from belljar.rpc.approval import LIFETIME_S, Approval, Approvals, Subject
from belljar.rpc.policy import Decision, Declared, NoTrust, Policy, about, decide, forbids
from belljar.rpc.world import ToolInfo

SAFE = {"readOnlyHint": True, "openWorldHint": False}


@dataclass
class Pins:
    """Trusts these servers and has seen these tools."""

    servers: frozenset[str] = frozenset()
    pins: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def trusted(self, server: str) -> bool:
        return server in self.servers

    def pinned(self, server: str, tool: str) -> str | None:
        return self.pins.get((server, tool))


def tool(name: str = "git:git_log", digest: str = "now", /, **annotations: object) -> ToolInfo:
    server, _, rest = name.partition(":")
    return ToolInfo(server, rest, annotations=annotations, digest=digest)


UNDECLARED = "not declared by the capability"
UNSEEN, UNTRUSTED = "auto: never seen before", "auto: its server's annotations are not trusted"
ALL = Policy(allow=("*",))
LOG, SEEN = ("git", "git_log"), {("git", "git_log"): "now"}
CHANGED = {("git", "git_log"): "then"}
GIT = frozenset({"git"})

SEEING = Pins(GIT, SEEN)

TABLE: list[tuple[str, ToolInfo, Policy, Declared | None, Pins, str, str]] = [
    # name, tool, policy, declared, trust, kind, rule
    ("nothing said", tool(), Policy(), None, Pins(), "ask", "default"),
    ("everything", tool(), ALL, None, Pins(), "allow", "allow *"),
    ("server", tool(), Policy(allow=("git:*",)), None, Pins(), "allow", "allow git:*"),
    ("tool", tool(), Policy(allow=("git:git_log",)), None, Pins(), "allow", "allow git:git_log"),
    ("prefix", tool(), Policy(allow=("git:git_l*",)), None, Pins(), "allow", "allow git:git_l*"),
    ("suffix", tool(), Policy(allow=("*:*_log",)), None, Pins(), "allow", "allow *:*_log"),
    ("prefix of another", tool(), Policy(allow=("git:read_*",)), None, Pins(), "ask", "default"),
    ("another server", tool(), Policy(allow=("time:*",)), None, Pins(), "ask", "default"),
    ("server is no prefix", tool("github:x"), Policy(allow=("git:*",)), None, Pins(), "ask", "default"),
    ("deny over allow", tool(), Policy(allow=("*",), deny=("git:git_log",)), None, Pins(), "deny", "deny git:git_log"),
    ("deny wide over narrow", tool(), Policy(allow=("git:git_log",), deny=("*",)), None, Pins(), "deny", "deny *"),
    ("deny over ask", tool(), Policy(ask=("*",), deny=("git:*",)), None, Pins(), "deny", "deny git:*"),
    ("allow over ask", tool(), Policy(allow=("git:*",), ask=("git:git_log",)), None, Pins(), "allow", "allow git:*"),
    ("ask over trust", tool(**SAFE), Policy(ask=("git:*",)), None, SEEING, "ask", "ask git:*"),
    ("case", tool("git:Git_Log"), Policy(allow=("git:git_log",)), None, Pins(), "ask", "default"),
    ("case of a denial", tool("GIT:git_log"), Policy(allow=("*",), deny=("git:*",)), None, Pins(), "allow", "allow *"),
    ("trailing space", tool("git:git_log "), Policy(allow=("git:git_log",)), None, Pins(), "ask", "default"),
    ("look-alike", tool("git:g\u0456t_log"), Policy(allow=("git:git_log",)), None, Pins(), "ask", "default"),
    ("not normalised", tool("git:cafe\u0301"), Policy(allow=("git:caf\u00e9",)), None, Pins(), "ask", "default"),
    ("no other wildcard", tool(), Policy(("git:git_lo?", "git:git_l[o]g", "git:.*")), None, Pins(), "ask", "default"),
    ("dots", tool("git:../log"), Policy(allow=("git:git_*",)), None, Pins(), "ask", "default"),
    ("not declared", tool(), ALL, Declared(("time",)), Pins(), "deny", UNDECLARED),
    ("block without lists", tool(), ALL, Declared(), Pins(), "deny", UNDECLARED),
    ("declared server", tool(), ALL, Declared(("git",)), Pins(), "allow", "allow *"),
    ("declared tool", tool(), ALL, Declared((), ("git:git_log",)), Pins(), "allow", "allow *"),
    ("other tool declared", tool(), ALL, Declared(("git",), ("git:git_show",)), Pins(), "deny", UNDECLARED),
    ("server not listed", tool(), ALL, Declared(("time",), ("git:*",)), Pins(), "deny", UNDECLARED),
    ("declared is not allowed", tool(), Policy(), Declared(("git",), ("git:git_log",)), Pins(), "ask", "default"),
    ("declared and denied", tool(), Policy(deny=("git:*",)), Declared(("git",)), Pins(), "deny", "deny git:*"),
    ("trust", tool(**SAFE), Policy(), None, SEEING, "allow", "trust annotations"),
    ("trust, undeclared", tool(**SAFE), Policy(), Declared(("time",)), SEEING, "deny", UNDECLARED),
    ("trust, no pin", tool(**SAFE), Policy(), None, Pins(GIT), "ask", "default"),
    ("trust, changed", tool(**SAFE), Policy(), None, Pins(GIT, CHANGED), "ask", "changed since pinned"),
    ("not trusted", tool(**SAFE), Policy(), None, Pins(frozenset(), SEEN), "ask", "default"),
    ("trust, writes", tool(openWorldHint=False), Policy(), None, SEEING, "ask", "default"),
    ("trust, open world", tool(readOnlyHint=True), Policy(), None, SEEING, "ask", "default"),
    ("trust, said open", tool(readOnlyHint=True, openWorldHint=True), Policy(), None, SEEING, "ask", "default"),
    ("trust, no bool", tool(readOnlyHint="true", openWorldHint=0), Policy(), None, SEEING, "ask", "default"),
    ("trust, no digest", tool("git:git_log", "", **SAFE), Policy(), None, Pins(GIT, {LOG: ""}), "ask", "default"),
    ("allow, changed", tool(), Policy(allow=("git:*",)), None, Pins(GIT, CHANGED), "ask", "changed since pinned"),
    ("allow, pinned the same", tool(), Policy(allow=("git:*",)), None, SEEING, "allow", "allow git:*"),
    ("auto", tool(), Policy(auto=("git:*",)), None, SEEING, "auto", "auto"),
    ("auto, over trust", tool(**SAFE), Policy(auto=("git:*",)), None, SEEING, "auto", "auto"),
    ("auto of another", tool(**SAFE), Policy(auto=("time:*",)), None, SEEING, "allow", "trust annotations"),
    ("allow over auto", tool(), Policy(allow=("git:*",), auto=("*",)), None, SEEING, "allow", "allow git:*"),
    ("ask over auto", tool(), Policy(ask=("git:*",), auto=("*",)), None, SEEING, "ask", "ask git:*"),
    ("deny over auto", tool(), Policy(deny=("git:*",), auto=("*",)), None, SEEING, "deny", "deny git:*"),
    ("auto, undeclared", tool(), Policy(auto=("*",)), Declared(("time",)), SEEING, "deny", UNDECLARED),
    ("auto, changed", tool(), Policy(auto=("*",)), None, Pins(GIT, CHANGED), "ask", "changed since pinned"),
    ("auto, no pin", tool(), Policy(auto=("*",)), None, Pins(GIT), "ask", UNSEEN),
    ("auto, no digest", tool("git:git_log", ""), Policy(auto=("*",)), None, Pins(GIT, {LOG: ""}), "ask", UNSEEN),
    ("auto, not trusted", tool(), Policy(auto=("*",)), None, Pins(frozenset(), SEEN), "ask", UNTRUSTED),
    ("deny, changed", tool(), Policy(deny=("git:*",)), None, Pins(GIT, CHANGED), "deny", "deny git:*"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("subject", "policy", "declared", "pins", "kind", "rule"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_table(subject: ToolInfo, policy: Policy, declared: Declared | None, pins: Pins, kind: str, rule: str) -> None:
    """F12: what becomes of a call, and by which rule."""
    assert decide(subject, policy, declared, pins) == Decision(kind, rule)  # pyright: ignore[reportArgumentType]


def test_denials_need_no_tool() -> None:
    """A denial is known from the names alone, so that it starts no server; an allowance is not."""
    policy = Policy(allow=("*",), deny=("git:git_push",))
    assert forbids("git", "git_push", policy, None) == Decision("deny", "deny git:git_push")
    assert forbids("git", "git_log", policy, Declared(("time",))) == Decision("deny", UNDECLARED)
    assert forbids("git", "git_log", policy, None) is None


def test_auto_without_a_trust() -> None:
    """F49: nobody is trusted, nothing was seen: `auto` asks."""
    assert decide(tool(**SAFE), Policy(auto=("*",))).kind == "ask"


def test_patterns_about_servers() -> None:
    """Those that may mean a tool of one of them; what means none need not be asked about."""
    patterns = ("git:*", "g*:x", "time:now", "*")
    assert about(patterns, ["git"]) == ("git:*", "g*:x", "*")
    assert about(patterns, ["other", "time"]) == ("time:now", "*")
    assert about(patterns, []) == ()


def test_nobody_is_trusted_by_default() -> None:
    """Without a trust there is no unasked allowance."""
    assert decide(tool(**SAFE), Policy()).kind == "ask"
    assert (NoTrust().trusted("git"), NoTrust().pinned("git", "git_log")) == (False, None)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "git",
        "git:",
        ":git_log",
        ":",
        "git.git_log",
        "git/git_log",
        " git:*",
        "git:* ",
        "git:a\n",
        "git:\x00",
        "git:\u202ea",
        "a:" + "b" * 2000,
    ],
)
def test_a_malformed_pattern(pattern: str) -> None:
    """A pattern that is none is refused when the policy is made, with how to write one; in any of its lists."""
    for make in (
        lambda: Policy(allow=(pattern,)),
        lambda: Policy(deny=(pattern,)),
        lambda: Policy(ask=(pattern,)),
        lambda: Policy(auto=(pattern,)),
        lambda: Declared(("git",), (pattern,)),
    ):
        with pytest.raises(ConfigError, match="write SERVER:TOOL") as caught:
            make()
        assert caught.value.code is Code.CONFIG_ERROR
        assert caught.value.message.isprintable()


@given(st.lists(st.text("ab:", max_size=3), min_size=1, max_size=5), st.lists(st.text("ab:", max_size=2), max_size=5))
def test_wildcards_stand_for_any_text(literals: list[str], fillers: list[str]) -> None:
    """A pattern matches the name that is made by putting text in place of its wildcards."""
    fillers = [*fillers, *[""] * len(literals)][: len(literals) - 1]
    name = "".join(part for pair in zip(literals, [*fillers, ""], strict=True) for part in pair)
    pattern = "*".join(literals)
    if pattern:
        assert decide(tool(f"s:{name}"), Policy(allow=(f"s:{pattern}",))).kind == "allow"


def test_overlapping_ends_do_not_match() -> None:
    """The text before and after a wildcard are two texts."""
    assert decide(tool("s:aba"), Policy(allow=("s:ab*ba",))).kind == "ask"
    assert decide(tool("s:abba"), Policy(allow=("s:ab*ba",))).kind == "allow"


def test_matching_is_linear() -> None:
    """F: many wildcards and long names cost no time."""
    pattern = "s:" + "*a" * 500 + "*b"
    started = time.perf_counter()
    for _ in range(100):
        assert decide(tool("s:" + "a" * 1024), Policy(allow=(pattern,))).kind == "ask"
    assert time.perf_counter() - started < 5


def test_digest() -> None:
    """Policies that differ have different digests, whatever list differs and whatever the order."""
    policies = [Policy(), *(Policy(**{name: ("*",)}) for name in Policy().facts()), Policy(allow=("*", "a:b"))]
    assert len({policy.digest for policy in policies}) == len(policies)
    assert Policy(allow=("*",)).digest == Policy(allow=("*",)).digest


# Approvals

SUBJECT = Subject("run", 1, "git", "git_log", "args", "code", "policy", "tool")


def test_an_approval_is_used_once() -> None:
    """An approval is good for one call."""
    approvals = Approvals(Approval.given(SUBJECT, 0))
    assert approvals.take(SUBJECT, 1)
    assert not approvals.take(SUBJECT, 1)


@pytest.mark.parametrize("name", Subject.__slots__)
def test_an_approval_is_bound_to_everything_it_was_said_about(name: str) -> None:
    """Another run, call, tool, arguments, code, policy or tool definition is another subject."""
    fields = {key: getattr(SUBJECT, key) for key in Subject.__slots__}
    other = Subject(**{**fields, name: 2 if name == "call_id" else "other"})
    approvals = Approvals()
    approvals.add(Approval.given(SUBJECT, 0))
    assert not approvals.take(other, 1)
    assert approvals.take(SUBJECT, 1)


def test_an_approval_expires() -> None:
    """After 24 hours an approval is void, and asking for it uses it up all the same."""
    end = LIFETIME_S * 1_000_000_000
    assert Approval.given(SUBJECT, 0).holds(SUBJECT, end - 1)
    approvals = Approvals(Approval.given(SUBJECT, 0))
    assert not approvals.take(SUBJECT, end)
    assert not approvals.take(SUBJECT, 1)
