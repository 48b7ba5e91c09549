"""The web UI: what the server holds, as pages for people. `add_web` puts it into an application."""

from __future__ import annotations

from belljar.server.web.pages import add_web

__all__ = ["add_web"]
