"""A small world whose truth is known: what serves which intent, and how often each tool really fails.

Five things are wanted, and three capabilities do each of them, with a tool of server `north`, `west` or `south`. Names
say nothing of how well they do, though some fit the words better than others. `north` is the good one for most, until
it gets worse: then what was the second choice is the first. Whoever learns from traces has to find that out; whoever
measures how well they do knows it from here.

Everything follows from a seed: which runs there are in which order, and which call of which client fails.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

__all__ = [
    "CAPABILITIES",
    "QUESTIONS",
    "SERVERS",
    "Capability",
    "Question",
    "answered",
    "best",
    "chance",
    "fails",
    "named",
    "plan",
    "worth",
]

SERVERS = ("desk", "north", "west", "south")
"""`desk` is where all of them look something up first, and never fails."""
_RATES: dict[str, tuple[float, float]] = {
    "desk": (0.0, 0.0),
    "north": (0.06, 0.88),
    "west": (0.30, 0.30),
    "south": (0.50, 0.50),
    "north:mend": (0.45, 0.88),
    "south:mend": (0.06, 0.06),
}
"""How often a tool fails, before `north` gets worse and after: by its name, or else by its server's."""

_SOURCE = """\
# /// script
# [tool.belljar]
# name = "{name}"
# description = "{intent}"
# permissions = ["{first}", "{second}"]
# ///
async def main(item: int) -> str:
    found = await mcp.{first_call}(item=item)
    return await mcp.{second_call}(item=item, found=found)
"""


@dataclass(frozen=True, slots=True)
class Capability:
    """One way to do something."""

    name: str
    serves: int
    """Which of the things that are wanted."""
    tools: tuple[str, str]
    intent: str
    """In whose words it is run."""

    @property
    def source(self) -> str:
        """What runs in a box."""
        first, second = self.tools
        calls = {"first_call": first.replace(":", "."), "second_call": second.replace(":", ".")}
        return _SOURCE.format(name=self.name, intent=self.intent, first=first, second=second, **calls)

    @property
    def family(self) -> str:
        """Its name without hash, as a server knows it."""
        return f"local.default.{self.name.replace(':', '.')}"


# What is wanted: words in which it is run, words in which it is asked for, the tool that reads, the tool that does it,
# and how the capabilities of the three servers are called.
_WANTED = (
    (
        "convert all prices of the catalogue to euros",
        ("show me every price in euros", "euro prices for the catalogue, please"),
        ("read_prices", "convert"),
        ("rates:by_bank", "rates:by_table", "rates:by_broker"),
    ),
    (
        "tell customers about a late delivery",
        ("let the customers know about a delay", "inform customers: delivery is late"),
        ("read_orders", "notify"),
        ("news:by_letter", "news:by_mail", "news:by_phone"),
    ),
    (
        "translate the manual into German",
        ("we need the manual in German", "translate this manual"),
        ("read_manual", "translate"),
        ("texts:by_office", "texts:by_editor", "texts:by_machine"),
    ),
    (
        "find the shortest route for the van",
        ("which route should the van take", "route for tomorrow's van"),
        ("read_map", "route"),
        ("trips:by_map", "trips:by_radio", "trips:by_road"),
    ),
    (
        "repair damaged invoices",
        ("an invoice is damaged, repair it", "fix invoices that are damaged"),
        ("read_invoices", "mend"),
        ("paper:by_tailor", "paper:by_printer", "paper:by_clerk"),
    ),
)

CAPABILITIES = tuple(
    Capability(name, number, (f"desk:{read}", f"{server}:{do}"), said)
    for number, (said, _, (read, do), names) in enumerate(_WANTED)
    for server, name in zip(SERVERS[1:], names, strict=True)
)


@dataclass(frozen=True, slots=True)
class Question:
    """Something nobody ever ran in these words: which capability; or, after a call, which tool."""

    serves: int
    intent: str = ""
    context: str = ""


QUESTIONS = (
    *(Question(number, intent=words) for number, (_, asked, _, _) in enumerate(_WANTED) for words in asked),
    *(Question(number, context=f"desk:{read}") for number, (_, _, (read, _), _) in enumerate(_WANTED)),
)


def chance(capability: Capability, *, worse: bool) -> float:
    """How likely a run of it truly is to succeed."""
    likely = 1.0
    for tool in capability.tools:
        likely *= 1.0 - _RATES.get(tool, _RATES[tool.partition(":")[0]])[worse]
    return likely


def best(question: Question, *, worse: bool) -> Capability:
    """What truly is best for it."""
    return max(_serving(question), key=lambda each: chance(each, worse=worse))


def worth(question: Question, chosen: Capability | None, *, worse: bool) -> float:
    """How likely a run is to succeed that does what was chosen; of nothing chosen, one at random."""
    serving = [chosen] if chosen else _serving(question)
    return fmean(chance(each, worse=worse) for each in serving)


def named(fqdn: str) -> Capability:
    """Which capability a trace's name means."""
    return next(each for each in CAPABILITIES if each.family == fqdn.rpartition(".")[0])


def answered(question: Question, name: str) -> Capability | None:
    """Which capability a suggestion for it means: by its name with or without hash, or by its tool."""
    for each in _serving(question):
        if name in each.tools[1:] or name == each.family or name.rpartition(".")[0] == each.family:
            return each
    return None


def _serving(question: Question) -> list[Capability]:
    return [each for each in CAPABILITIES if each.serves == question.serves]


def fails(seed: int, caller: str, tool: str, number: int, *, worse: bool) -> bool:
    """Whether this call of a caller's fails, its `number`-th of this tool."""
    said = hashlib.sha256(f"{seed}/{caller}/{tool}/{number}".encode()).digest()
    rate = _RATES.get(tool, _RATES[tool.partition(":")[0]])[worse]
    return int.from_bytes(said[:8], "big") / 2**64 < rate


def plan(seed: int, runs: int) -> Iterator[Sequence[Capability]]:
    """Batches of so many runs, without end: all capabilities as often as each other, in any order."""
    shuffling = random.Random(seed)  # noqa: S311 - no secret
    queue = list[Capability]()
    while True:
        while len(queue) < runs:
            queue += shuffling.sample(CAPABILITIES, len(CAPABILITIES))
        yield queue[:runs]
        del queue[:runs]
