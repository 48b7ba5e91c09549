"""Sessions: what went through a faker, kept, shown, compared, served again."""

from __future__ import annotations

from belljar.faker.sessions.model import Event, ServedTool, Session, Status
from belljar.faker.sessions.recorder import SessionRecorder
from belljar.faker.sessions.store import FILE, SessionStore

__all__ = ["FILE", "Event", "ServedTool", "Session", "SessionRecorder", "SessionStore", "Status"]
