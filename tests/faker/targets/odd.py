"""An MCP server in a few lines, with the fault that its argument names."""

from __future__ import annotations

import json
import sys
import time

FAULT = sys.argv[1] if len(sys.argv) > 1 else ""
TOOLS: list[dict[str, object]] = [
    {"name": "get_it", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}},
    {"name": "put_it", "inputSchema": {"type": "object"}},
]


def tools() -> list[dict[str, object]]:
    if FAULT == "many":
        return [{"name": f"get_{n}", "inputSchema": {"type": "object"}} for n in range(10_000)]
    if FAULT == "twice":
        return [*TOOLS, {**TOOLS[0], "description": "another"}]
    if FAULT == "hostile":
        deep: dict[str, object] = {"$ref": "#"}
        for _ in range(200):
            deep = {"properties": {"x": deep}}
        return [
            {"name": "get_\x1b[31m<b>\u202e", "description": "x" * 1_000_000, "inputSchema": {"type": "object"}},
            {"name": "get_deep", "inputSchema": deep},
        ]
    return TOOLS


def answer(method: str, params: dict[str, object]) -> dict[str, object]:
    if method == "initialize":
        info = {"name": "odd", "version": "1"}
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": tools()}
    text = "x" * (10 << 20) if FAULT == "huge" else "it"
    return {"content": [{"type": "text", "text": text}]}


def main() -> None:
    if FAULT == "flood":
        sys.stderr.write("noise\n" * 2_000_000)  # 12 MB, far more than a pipe holds
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        if message["method"] == "tools/call":
            if FAULT == "tells":
                sys.stderr.write(f"called {message['params']['name']}\n")
            if FAULT == "dies":
                sys.stderr.write("I am done\n")
                sys.exit(3)
            if FAULT == "hangs":
                time.sleep(3600)
            if FAULT == "garbage":
                print("this is no JSON", flush=True)
                print("[1, 2", flush=True)
        result = answer(message["method"], message.get("params", {}))
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)


main()
