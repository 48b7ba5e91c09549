"""What `belljar faker --debug` says of a server's tools: which of them it will not let through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from belljar import show
from belljar.faker.calls import Verdict

__all__ = ["lines"]


def lines(server: str, verdicts: Mapping[str, Verdict], *, safety: bool) -> Iterator[str]:
    """Line by line, fit for a terminal."""
    writes = {name: verdict for name, verdict in verdicts.items() if verdict.operation == "write"}
    yield f"target connected: {show.name(server)}"
    yield f"{len(verdicts)} tools"
    if not safety:
        yield f"PASS-THROUGH: {len(writes)} write operations detected and will reach the target"
        return
    yield f"SAFETY MODE: {len(writes)} write operations detected and will be INTERCEPTED{':' if writes else ''}"
    for number, (name, verdict) in enumerate(writes.items(), 1):
        yield f"  {number}. {show.name(name)} (risk: {verdict.risk})"
