"""What starts a stdio server and bounds what comes out of it, for those who speak to it themselves.

The proxy of `faker/` passes messages as they came and so wants lines, not the session of a client library.
"""

from belljar.rpc.upstreams._lines import Endless, Lines, TooLong
from belljar.rpc.upstreams._program import Program, StartError
from belljar.rpc.upstreams._words import Words

__all__ = ["Endless", "Lines", "Program", "StartError", "TooLong", "Words"]
