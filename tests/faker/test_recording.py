"""One recording of what goes through a faker: its command is shown, and never with a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from belljar.faker.recording import open_recording
from belljar.faker.sessions.store import SessionStore


@pytest.mark.parametrize(
    ("command", "kept"),
    [
        (["srv", "--api-key", "hunter2-abc"], ["srv", "--api-key", "[REDACTED]"]),
        (["srv", "--token=hunter2-abc", "x"], ["srv", "--token=[REDACTED]", "x"]),
        (["env", "DB_PASSWORD=hunter2-abc", "srv"], ["env", "DB_PASSWORD=[REDACTED]", "srv"]),
        (["srv", "--key-from-env", "known-secret"], ["srv", "--key-from-env", "[REDACTED]"]),
        (
            ["npx", "-y", "server", "--max-tokens", "5", "--root=/tmp"],
            ["npx", "-y", "server", "--max-tokens", "5", "--root=/tmp"],
        ),
        (["srv", "--password", "--verbose"], ["srv", "--password", "--verbose"]),
    ],
)
def test_a_sessions_command_holds_no_secret(tmp_path: Path, command: list[str], kept: list[str]) -> None:
    """F83: what an option calls a secret, and what was loaded as one, is not kept with the session."""
    path = tmp_path / "sessions.db"
    with open_recording(path, command=command, known=["known-secret"]) as recording:
        session_id = recording.session_id
    assert b"hunter2" not in path.read_bytes()
    store = SessionStore(path)
    try:
        assert list(store.session(session_id).command) == kept
    finally:
        store.close()
