"""An MCP server made with the library, which speaks both protocols: on stdio, or by HTTP on the port it prints."""

from __future__ import annotations

import socket
import sys

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("modern")


@server.tool()
async def get_slowly(word: str, context: Context) -> str:
    """Reports progress, waits, and answers with the word."""
    await context.report_progress(1, 2, word)
    await anyio.sleep(0.2)
    return word


@server.tool()
def put_it(word: str) -> str:
    """Writes."""
    return f"written for real: {word}"


@server.resource("note://one")
def note() -> str:
    return "a note"


def main() -> None:
    if sys.argv[1:] != ["http"]:
        server.run()
        return
    with socket.create_server(("127.0.0.1", 0)) as sock:
        print(sock.getsockname()[1], flush=True)
        config = uvicorn.Config(server.streamable_http_app(), log_config=None)
        anyio.run(uvicorn.Server(config).serve, [sock])


main()
