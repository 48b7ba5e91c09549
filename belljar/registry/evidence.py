"""What the configured server knows of tools: evidence for `auto`, as it was sent and no further than it can be true.

The answer is another machine's word. It is believed for what the user left to `auto` and for nothing else, and only if
it is in every part what was asked for: this code, tools that the patterns mean, each once, counts that runs can give.
One thing that cannot be makes all of it worthless.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from belljar.cloud import Cloud, Role
from belljar.config import TracingConfig
from belljar.fqdn import Fqdn
from belljar.learning.estimates import Evidence
from belljar.learning.trust import WINDOW, Standing
from belljar.limits import KIB
from belljar.rpc.policy import matches

__all__ = ["ToolEvidence", "Witness"]

_MOST_TOOLS = 64
_MOST_CHARS = 4000
_ROLE = Role(
    name="server",
    server="trust",
    without_scope="does not let this key read, so it cannot be asked for evidence",
    # 64 tools with names of 256 characters, each escaped.
    max_bytes=256 * KIB,
)


@dataclass(frozen=True, slots=True)
class ToolEvidence:
    """Of one tool: by all real runs that called it, and by those of the code that was asked about."""

    overall: Standing
    capability: Standing


class Witness:
    """The server, asked for evidence.

    Args:
        total_s: how long one question may take.

    Raises:
        ConfigError: no server is configured.
    """

    def __init__(self, config: TracingConfig, *, total_s: float) -> None:
        self._cloud = Cloud(config, _ROLE, total_s=total_s)

    async def evidence(self, capability: Fqdn, patterns: Sequence[str]) -> Mapping[str, ToolEvidence]:
        """By `server:tool`; a tool that is not in it has none.

        Args:
            capability: with its whole hash.
            patterns: of tools; too many of them, or too long ones, become `*`.

        Raises:
            ConfigError: the server does not take our key.
            UpstreamError: it cannot be reached, takes too long, or its answer cannot be used.
        """
        query = {"capability": capability.exact, "tools": _tools(patterns)}
        status, body = await self._cloud.ask("GET", "/api/trust", query=query)
        if status != 200:
            raise self._cloud.refused(status, body)
        said = self._cloud.parsed(body)
        tools = said.get("tools")
        if said.get("capability") != capability.exact or not isinstance(tools, list):
            raise self._cloud.untrue("it is about something else than was asked")
        listed = cast("list[Any]", tools)
        found = dict(self._tool(each, patterns) for each in listed[:_MOST_TOOLS])
        if len(found) != len(listed):
            raise self._cloud.untrue("it names a tool twice, or too many of them")
        return found

    def _tool(self, said: Any, patterns: Sequence[str]) -> tuple[str, ToolEvidence]:
        fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        name = fields.get("tool")
        if not isinstance(name, str) or not _is_meant(name, patterns):
            raise self._cloud.untrue("it names a tool that was not asked about")
        overall, capability = _standing(fields.get("overall")), _standing(fields.get("capability"))
        if overall is None or capability is None:
            raise self._cloud.untrue("its counts are none that runs can give")
        return name, ToolEvidence(overall, capability)


def _tools(patterns: Sequence[str]) -> str:
    text = ",".join(patterns)
    plain = len(patterns) <= _MOST_TOOLS and len(text) <= _MOST_CHARS and text.count(",") == len(patterns) - 1
    return text if plain else "*"


def _is_meant(name: str, patterns: Sequence[str]) -> bool:
    server, _, tool = name.partition(":")
    return any(matches(pattern, server, tool) for pattern in patterns)


def _standing(said: Any) -> Standing | None:
    """What was said, if runs can have given it."""
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    n, failed, keys, own = (fields.get(name) for name in ("n", "nFailed", "keys", "own"))
    successes, failures = fields.get("successes"), fields.get("failures")
    if type(n) is not int or type(failed) is not int or type(keys) is not int or type(own) is not bool:
        return None
    if type(successes) not in (int, float) or type(failures) not in (int, float):
        return None
    evidence = Evidence(float(cast("float", successes)), float(cast("float", failures)))
    whole = 0 <= failed <= n <= WINDOW and own <= keys <= n
    # Pooling may round one run up.
    faded = evidence.successes >= 0 <= evidence.failures and evidence.n <= n + 1 and math.isfinite(evidence.n)
    return Standing(evidence, n, failed, keys, own) if whole and faded else None
