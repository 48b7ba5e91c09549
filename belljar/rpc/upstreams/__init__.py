"""Real MCP servers behind the bridge: what starts them, talks to them, bounds what they say and ends them.

    RealWorld          the seam of `rpc/world.py`; owns everything below
      Upstream         one server: started when called, ended when idle, restarted with a back-off
        Connection     the library's client, asked with plain requests
          Gate         what passes from the server to the library, and what does not
            stdio      pipes, a line at a time; Program and its warden
            http       the library's transport over a bounded connection

A server is a stranger: started with a minimal environment in a session of its own, offered no sampling, roots or
elicitation, bounded in bytes, messages and seconds, its schemas judged tool by tool. Importing this package is cheap;
the client library is imported when the first server is started.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from belljar.rpc.upstreams._upstream import START_S
    from belljar.rpc.upstreams._world import IDLE_S, RealWorld

__all__ = ["IDLE_S", "START_S", "RealWorld"]

_HOMES = {"START_S": "_upstream", "IDLE_S": "_world", "RealWorld": "_world"}


def __getattr__(name: str) -> Any:
    # Who starts a program alone (`programs.py`) needs none of the checking of schemas that the world does.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
