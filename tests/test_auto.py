"""`auto` in a jar: a real box, a real HTTP server that can misbehave, and calls that go on unasked or do not."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest

from belljar import fqdn
from belljar._run import Run
from belljar.auto import ASK_S, Questions
from belljar.config import TracingConfig
from belljar.errors import Code
from belljar.jar import Jar, RunOptions, open_jar
from belljar.limits import Limits
from belljar.registry import CapabilityStore
from belljar.rpc.approval import ApprovalRequest, Word
from belljar.rpc.policy import Policy
from belljar.rpc.world import ToolInfo
from belljar.sandbox.loader import load_code
from tests.cloud import Behaviour, Cloud, Reply, Request, cloud, garbage, html, never, say
from tests.worlds import Lab, config_in, guest_cache_in

pytestmark = pytest.mark.anyio

ECHO = "await mcp.lab.echo(n=1)"
AUTO = Policy(auto=("lab:*",))
OPTIONS = RunOptions(policy=AUTO, limits=Limits().with_(wall=30))


@dataclass
class Trusting:
    """The user's own: servers, and pins by tool; by default all as they are."""

    servers: frozenset[str] = frozenset({"lab"})
    pins: dict[str, str] = field(default_factory=dict[str, str])

    def trusted(self, server: str) -> bool:
        return server in self.servers

    def pinned(self, server: str, tool: str) -> str | None:
        return self.pins.get(tool, f"digest of {tool}") or None if server == "lab" else None


def standing(successes: int = 40, failures: int = 0, **changes: Any) -> dict[str, Any]:
    """Counts of so many runs, as if none of them had faded."""
    n = successes + failures
    return {
        "successes": successes,
        "failures": failures,
        "n": n,
        "nFailed": failures,
        "keys": 1,
        "own": True,
        **changes,
    }


GOOD, BAD, NONE = standing(), standing(10, 30), standing(0, keys=0, own=False)


def told(tool: str = "lab:echo", overall: Any = GOOD, capability: Any = GOOD) -> dict[str, Any]:
    return {"tool": tool, "overall": overall, "capability": capability}


def answering(*tools: dict[str, Any], **instead: Any) -> Behaviour:
    """What was asked for, and these tools."""

    async def behave(_cloud: Cloud, request: Request) -> Reply:
        about = request.query["capability"][0]
        return say(200, **{"capability": about, "tools": list(tools), **instead})

    return behave


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def shared_far() -> Iterator[Cloud]:
    with cloud() as far:
        yield far


@pytest.fixture
def far(shared_far: Cloud) -> Cloud:
    shared_far.requests.clear()
    shared_far.always = answering(told())
    return shared_far


@pytest.fixture(scope="module")
async def shared_jar(
    anyio_backend: str, shared_far: Cloud, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Jar]:
    config = config_in(tmp_path_factory.mktemp("jar"), guest_cache_in(tmp_path_factory))
    tracing = TracingConfig(cloud_url=shared_far.url, raw=True)
    async with open_jar(replace(config, tracing=tracing), world=Lab(), trust=Trusting()) as jar:
        yield jar


@pytest.fixture
def jar(shared_jar: Jar, far: Cloud) -> Jar:
    shared_jar.world, shared_jar._trust, shared_jar._questions = Lab(), Trusting(), None
    return shared_jar


def refused(run: Run, why: str) -> None:
    assert run.error is not None, run.value
    assert run.error.code is Code.APPROVAL_REQUIRED
    assert f"({why})" in run.error.message
    assert run.calls[-1].state == "pending"


# One run


async def test_evidence_lets_it_run(jar: Jar, far: Cloud) -> None:
    """F49: unasked, with the rule in words; the question names the code by its whole hash, and the user's patterns."""
    run = await jar.run(ECHO, options=OPTIONS)
    assert run.unwrap() == {"n": 1}
    assert run.calls[0].grant.startswith("auto read: 0.9")
    assert ">= 0.70 (40 of 40 ok" in run.calls[0].grant
    assert run.to_json()["calls"][0]["grant"] == run.calls[0].grant
    (question,) = far.requests
    code = hashlib.sha256(ECHO.encode()).hexdigest()
    assert (question.method, question.path) == ("GET", "/api/trust")
    assert question.query == {"capability": [f"local.default.adhoc.snippet.{code}"], "tools": ["lab:*"]}


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ([], "auto: no evidence"),
        ([told(overall=NONE)], "auto: no evidence"),
        ([told(capability=NONE)], "auto: no evidence by this code"),
        ([told(overall=standing(3))], "auto: little evidence (3 of 3 ok)"),
        ([told(overall=standing(own=False))], "auto: evidence of one other key alone"),
    ],
    ids=["tool not named", "tool", "code", "little", "another key's"],
)
async def test_what_is_not_proven_is_asked_about(jar: Jar, far: Cloud, tools: list[Any], why: str) -> None:
    """F49: no evidence, too little, not of this code, not of one's own: a person, and why is in the message."""
    far.always = answering(*tools)
    refused(await jar.run(ECHO, options=OPTIONS), why)


async def test_a_flaky_tool_is_asked_about(jar: Jar, far: Cloud) -> None:
    """F49: a quarter of its runs went well: the threshold is out of reach."""
    far.always = answering(told(overall=BAD))
    run = await jar.run(ECHO, options=OPTIONS)
    assert run.error is not None
    assert "< 1.00 (10 of 40 ok)); " in run.error.message


@pytest.mark.parametrize(
    ("code", "trust", "why"),
    [
        ("await mcp.lab.write()", Trusting(), "auto: destructive"),
        (ECHO, Trusting(pins={"echo": ""}), "auto: never seen before"),
        (ECHO, Trusting(frozenset({"my-server"})), "auto: its server's annotations are not trusted"),
    ],
    ids=["destructive", "no pin", "not trusted"],
)
async def test_no_server_can_say_more(jar: Jar, far: Cloud, code: str, trust: Trusting, why: str) -> None:
    """F49: what may destroy, was never seen or is not trusted asks, however good the server says it is."""
    far.always = answering(told(), told("lab:write"))
    jar._trust = trust
    refused(await jar.run(code, options=OPTIONS), why)


async def test_a_changed_tool_and_a_denied_one(jar: Jar, far: Cloud) -> None:
    """F49 F12: a pin that no longer fits asks, as ever, and a denial denies; `ask` stands above `auto`."""
    jar._trust = Trusting(pins={"echo": "then"})
    run = await jar.run(ECHO, options=OPTIONS)
    assert run.error is not None
    assert (run.error.code, "has changed" in run.error.message) == (Code.APPROVAL_REQUIRED, True)
    jar._trust = Trusting()
    denied = await jar.run(ECHO, options=replace(OPTIONS, policy=Policy(auto=("*",), deny=("lab:echo",))))
    assert denied.calls[0].error_code == "PERMISSION_DENIED"
    run = await jar.run(ECHO, options=replace(OPTIONS, policy=Policy(auto=("*",), ask=("lab:echo",))))
    assert run.error is not None
    assert run.error.code is Code.APPROVAL_REQUIRED
    block = '# /// script\n# [tool.belljar]\n# permissions = ["lab:look"]\n# ///\n'
    undeclared = await jar.run(block + ECHO, options=OPTIONS)
    assert undeclared.calls[0].error_code == "PERMISSION_DENIED"


HOSTILE: list[tuple[str, Behaviour]] = [
    ("500", garbage(b"{}", 500)),
    ("401", garbage(b"{}", 401)),
    ("403", garbage(b"{}", 403)),
    ("404", garbage(b"{}", 404)),
    ("elsewhere", garbage(b"", 302, headers={"location": "http://127.0.0.1:9/"})),
    ("page", html(200)),
    ("no JSON", garbage(b'{"capability": ')),
    ("a list", garbage(b"[]")),
    ("NaN", garbage(b'{"capability": NaN, "tools": []}')),
    ("deep", garbage(b'{"tools":' + b"[" * 5000)),
    ("long", garbage(b'{"x": "' + b"x" * 300_000 + b'"}')),
    ("half", garbage(b'{"tools": []}', declared=5000)),
    ("zipped", garbage(b"\x1f\x8b", headers={"content-encoding": "gzip"})),
    ("of other code", answering(told(), capability="local.default.adhoc.snippet." + "0" * 64)),
    ("no tools", answering(tools=None)),
    ("words", answering(tools=["lab:echo"])),
    ("not asked for", answering(told(), told("other:tool"))),
    ("twice", answering(told(), told())),
    ("many", answering(*(told(f"lab:{n}") for n in range(65)))),
    *(
        (f"{name} {value!r}", answering(told(), told("lab:look", {**GOOD, name: value})))
        for name, value in [
            *product(("successes", "failures"), (-1, "40", True, None, 1e308, 50)),
            *product(("n", "nFailed", "keys"), (-1, "40", True, None, 40.5, 10**9)),
            ("own", 1),
            ("keys", 0),
            ("n", 39 - 1),
        ]
    ),
]


@pytest.mark.parametrize("behaviour", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
async def test_a_server_that_lies_is_a_server_that_is_not_there(jar: Jar, far: Cloud, behaviour: Behaviour) -> None:
    """F49: one thing in it that cannot be, and nothing of the answer counts: ask."""
    far.always = behaviour
    refused(await jar.run(ECHO, options=OPTIONS), "auto: the server cannot be asked")


async def test_a_server_that_is_silent(jar: Jar, far: Cloud) -> None:
    """F49: a run waits no longer than the deadline, once, and the next runs do not wait for it at all.

    Nor does a call that no answer could let through.
    """
    far.always = never()
    began = time.monotonic()
    refused(await jar.run("await mcp.lab.write()", options=OPTIONS), "auto: destructive")
    assert time.monotonic() - began < ASK_S
    began = time.monotonic()
    refused(await jar.run(ECHO, options=OPTIONS), "auto: the server cannot be asked")
    first = time.monotonic() - began
    for _ in range(3):
        refused(await jar.run(ECHO, options=OPTIONS), "auto: the server cannot be asked")
    assert first < ASK_S + 1.5
    assert time.monotonic() - began - first < ASK_S
    assert len(far.requests) == 2  # one for each code


async def test_nothing_listens(jar: Jar) -> None:
    """F49: a server that is down: ask. No server at all: ask, and the reason is another."""
    config = jar.config
    try:
        for url, why in (("http://127.0.0.1:9", "the server cannot be asked"), (None, "no server is configured")):
            jar.config, jar._questions = replace(config, tracing=TracingConfig(cloud_url=url, raw=True)), None
            refused(await jar.run(ECHO, options=OPTIONS), f"auto: {why}")
    finally:
        jar.config = config


async def test_a_person_is_told_why(jar: Jar, far: Cloud) -> None:
    """F49 F14: who is asked reads the rule, and their word stands, also where calls wait side by side."""
    requests = list[ApprovalRequest]()

    class Person:
        async def ask(self, request: ApprovalRequest) -> Word | None:
            requests.append(request)
            return "deny"

    far.always = answering(told(overall=standing(2)))
    code = "import asyncio\nlen(await asyncio.gather(*[mcp.lab.echo() for _ in range(5)], return_exceptions=True))"
    run = await jar.run(code, options=replace(OPTIONS, approver=Person()))
    assert run.unwrap() == 5
    assert [request.rule for request in requests] == ["auto: little evidence (2 of 2 ok)"]
    assert {call.state for call in run.calls} == {"denied"}


# What is asked


async def test_one_question_for_many_runs(jar: Jar, far: Cloud) -> None:
    """F49: runs of the same code share a question, also those that begin at once; other code is another question."""
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(jar.run, ECHO, None, OPTIONS)
    assert (await jar.run(ECHO, options=OPTIONS)).success
    assert len(far.requests) == 1
    await jar.run(f"{ECHO}  # other", options=OPTIONS)
    assert len(far.requests) == 2


async def test_nothing_is_asked_in_vain(jar: Jar, far: Cloud) -> None:
    """F49: no `auto`, none that can match, nobody trusted: no request, whatever else is configured."""
    allowed = Policy(allow=("*",))
    for policy, trust in [
        (allowed, Trusting()),
        (Policy(allow=("*",), auto=("nobody:*",)), Trusting()),
        (Policy(allow=("*",), auto=("lab:*",)), Trusting(frozenset())),
    ]:
        jar._trust = trust
        assert (await jar.run(ECHO, options=replace(OPTIONS, policy=policy))).success
    block = '# /// script\n# [tool.belljar]\n# permissions = ["my-server:echo"]\n# ///\n'
    await jar.run(block + "1", options=OPTIONS)
    assert far.requests == []


async def test_no_secret_is_asked_about(jar: Jar, far: Cloud) -> None:
    """F27 F49: a name or a pattern that the way out would mask goes nowhere: ask."""
    secret = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
    block = f'# /// script\n# [tool.belljar]\n# name = "x:{secret.lower()}"\n# servers = ["lab"]\n# ///\n'
    for code, patterns in ((block + ECHO, ("lab:*",)), (ECHO, ("lab:*", f"lab:{secret}"))):
        run = await jar.run(code, options=replace(OPTIONS, policy=Policy(auto=patterns)))
        refused(run, "auto: the server cannot be asked")
    assert far.requests == []


async def test_what_is_declared_is_asked_about(jar: Jar, far: Cloud) -> None:
    """F49: a capability that names its tools is asked about with those alone."""
    block = '# /// script\n# [tool.belljar]\n# permissions = ["lab:echo", "lab:look", "my-server:echo"]\n# ///\n'
    assert (await jar.run(block + ECHO, options=OPTIONS)).success
    assert far.requests[0].query["tools"] == ["lab:echo,lab:look"]


# No second draw


def flips(n: int) -> dict[str, Any]:
    """So that some machines let it through and some do not."""
    return told(f"lab:t{n}", standing(34, 6), standing(34, 6))


async def test_no_run_draws_again(jar: Jar, far: Cloud, tmp_path: Path) -> None:
    """F49: other runs, jars and questions decide as the first did; another day or machine does not.

    And other code draws nothing new for a tool: what the tool's own draw kept back stays back.
    """
    far.always = answering(*(flips(n) for n in range(40)))
    tools = [ToolInfo("lab", f"t{n}", annotations={"readOnlyHint": True, "openWorldHint": False}) for n in range(40)]
    day = 86_400 * 10**9

    async def decided(code: str = ECHO, machine: str = "a", at_ns: int = day) -> list[str]:
        capability = load_code(code, Limits())
        questions = Questions(jar.config.tracing, tmp_path / machine, jar._asking, lambda _: True, clock=lambda: at_ns)
        run = questions.of_run(AUTO, capability, ["lab"], None)
        return [(await run.decide(tool)).kind for tool in tools]

    first = await decided()
    assert {"allow", "ask"} == set(first)
    assert [await decided(), await decided(at_ns=2 * day - 1)] == [first, first]
    assert await decided(at_ns=2 * day) != first
    assert await decided(machine="b") != first
    variants = [await decided(f"{ECHO}  # {n}") for n in range(12)]
    assert len(set(map(tuple, variants))) > 1
    kept_back = sum({variant[n] for variant in variants} == {"ask"} for n in range(40))
    assert kept_back >= 5, variants  # by chance alone: none


async def test_a_replay_is_exact(jar: Jar, far: Cloud) -> None:
    """F49 F53: what was let through is let through again, by the recording, and no server is asked."""
    run = await jar.run(f"[{ECHO}, {ECHO}]", options=replace(OPTIONS, policy=AUTO))
    far.requests.clear()
    far.always, jar._questions = answering(), None
    again = await jar.replay(run.recording(), OPTIONS)
    assert (again.value, [call.grant for call in again.calls]) == (run.value, [call.grant for call in run.calls])
    assert far.requests == []


# Runs that call runs


async def test_a_child_is_let_through_where_its_caller_is(jar: Jar, far: Cloud, tmp_path: Path) -> None:
    """F49: both codes must have proven themselves with the tool: the child's own evidence, and the caller's."""
    jar.config = replace(jar.config, paths=replace(jar.config.paths, data=tmp_path))
    child = CapabilityStore(tmp_path / "capabilities").add(fqdn.parse("a:child"), ECHO, pin=True).sha256
    good = set[str]()

    async def behave(_cloud: Cloud, request: Request) -> Reply:
        about = request.query["capability"][0]
        proven = GOOD if about.rpartition(".")[2] in good else NONE
        return say(200, capability=about, tools=[told(capability=proven)])

    far.always = behave
    code = 'await mcp.capability["a:child"]()'
    parent = hashlib.sha256(code.encode()).hexdigest()
    options = replace(OPTIONS, policy=Policy(allow=("capability:*",), auto=("lab:*",)))
    for proven, why in [
        (set[str](), "auto: no evidence by this code"),
        ({parent}, "auto: no evidence by this code"),
        ({child}, "auto: no evidence by this code, for the code that called this"),
        ({child, parent}, None),
    ]:
        good.clear()
        good.update(proven)
        jar._questions = None
        run = await jar.run(code, options=options)
        assert (run.error is None) == (why is None), run.error
        assert run.error is None or f"({why})" in run.error.message
