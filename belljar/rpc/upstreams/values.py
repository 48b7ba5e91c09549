"""From a result in its wire form to the plain value a capability gets; for who answers in a server's place."""

from __future__ import annotations

from collections.abc import Mapping

from belljar.errors import UpstreamError
from belljar.limits import Limits
from belljar.rpc.world import JsonValue

__all__ = ["value_of_result"]


def value_of_result(server: str, tool: str, result: Mapping[str, JsonValue], limits: Limits) -> JsonValue:
    """The value, as if the server had answered so.

    Raises:
        UpstreamError: RPC_ERROR, the tool failed, or this is no result.
    """
    # Imported when there is something to convert: the protocol's types take a while.
    from mcp_types import CallToolResult
    from pydantic import ValidationError

    from belljar.rpc.upstreams._results import plain_value

    try:
        parsed = CallToolResult.model_validate(dict(result))
    except ValidationError:
        raise UpstreamError(f"{server}:{tool} answered with what is no valid MCP result", server=server) from None
    return plain_value(server, tool, parsed, limits)
