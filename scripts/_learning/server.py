"""The MCP servers of the small world: `server.py NAME SEED CALLER MARK`, on stdio.

Its tools fail as `world.fails` says; once the file MARK is there, as often as they do after things got worse. It speaks
the protocol by itself: a demonstration starts nine of them, each here in 30 ms and with the library in more than a
second.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import world

_SCHEMA = {"type": "object", "properties": {"item": {"type": "integer"}}, "required": ["item"]}


class _Server:
    def __init__(self, name: str, seed: str, caller: str, mark: str) -> None:
        tools = (tool for each in world.CAPABILITIES for tool in each.tools)
        self._tools = sorted({tool for tool in tools if tool.startswith(f"{name}:")})
        self._name, self._seed, self._caller, self._mark = name, int(seed), caller, Path(mark)
        self._calls = Counter[str]()

    def answer(self, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """The result; None of what it does not know."""
        if method == "initialize":
            info = {"name": self._name, "version": "1"}
            return {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        if method == "tools/list":
            names = (tool.partition(":")[2] for tool in self._tools)
            return {"tools": [{"name": name, "description": name, "inputSchema": _SCHEMA} for name in names]}
        return self._called(f"{self._name}:{params['name']}") if method == "tools/call" else None

    def _called(self, tool: str) -> dict[str, Any]:
        number = self._calls[tool]
        self._calls[tool] += 1
        failed = world.fails(self._seed, self._caller, tool, number, worse=self._mark.exists())
        said = f"{tool} is out of order" if failed else "done"
        return {"content": [{"type": "text", "text": said}], "isError": failed}


def main() -> None:
    """Answer until stdin ends."""
    server = _Server(*sys.argv[1:])
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message or "method" not in message:
            continue
        result = server.answer(message["method"], message.get("params", {}))
        said = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no such method"}}
        sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
