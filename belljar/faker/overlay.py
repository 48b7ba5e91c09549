"""What has been written and never reached a server: cells of JSON, in memory or in a file that several fakers share.

A cell has a space (one kind of thing of one server) and a key. Who changes the world reads cells, may wait for a real
server meanwhile, and then commits all changes at once, naming the version it has seen: if somebody else committed in
between, nothing happens and it looks again. So two calls of one agent, and two processes with one file, never lose each
other's writes, and nobody holds a lock while a server thinks.

The file is SQLite in WAL mode. Its `data_version` tells, without reading a page, whether another process has written;
only then are the new cells read. Values are bounded in number and bytes: a world that is full says so.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from belljar import show
from belljar.errors import ConfigError
from belljar.limits import MIB
from belljar.rpc import jsontext
from belljar.rpc.world import JsonValue

__all__ = ["MAX_BYTES", "MAX_CELLS", "Changes", "Overlay", "OverlayFullError"]

MAX_BYTES: Final = 256 * MIB
MAX_CELLS: Final = 200_000
# Another process holds the file for a commit of microseconds; one that was stopped in the middle holds it for good.
_BUSY_S: Final = 2.0
_FORMAT: Final = 1
_TABLES: Final = """
    CREATE TABLE IF NOT EXISTS cell (
        space TEXT NOT NULL, key TEXT NOT NULL, value TEXT, seq INTEGER NOT NULL, PRIMARY KEY (space, key)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS cell_seq ON cell (seq);
"""


class OverlayFullError(Exception):
    """The world holds as much as it may."""


class Changes:
    """Cells to set, or with None to remove; what was changed here is seen through `get` at once."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self.seen = overlay.refresh()
        self.cells: dict[tuple[str, str], JsonValue] = {}

    def get(self, space: str, key: str) -> JsonValue:
        """The value, or None."""
        if (space, key) in self.cells:
            return self.cells[space, key]
        return self._overlay.get(space, key)

    def set(self, space: str, key: str, value: JsonValue) -> None:
        self.cells[space, key] = value

    def items(self, space: str) -> Iterator[tuple[str, JsonValue]]:
        """All cells of a space, in the order in which they came to be."""
        for key, value in self._overlay.items(space):
            if (space, key) not in self.cells:
                yield key, value
            elif (changed := self.cells[space, key]) is not None:
                yield key, changed
        for (each, key), value in self.cells.items():
            if each == space and value is not None and self._overlay.get(space, key) is None:
                yield key, value

    def spaces(self, prefix: str) -> list[str]:
        """Names of spaces that begin so."""
        new = (space for space, _ in self.cells)
        return [space for space in dict.fromkeys((*self._overlay.spaces(), *new)) if space.startswith(prefix)]

    def commit(self) -> bool:
        """Make it so; False if somebody else was faster, and then nothing was changed.

        Raises:
            OverlayFullError: it would hold more than it may.
        """
        return not self.cells or self._overlay.commit(self.cells, self.seen)


class Overlay:
    """The cells. A context manager where there is a file.

    Raises:
        ConfigError: the file cannot be used.
    """

    def __init__(self, file: Path | None = None, *, max_bytes: int = MAX_BYTES) -> None:
        self._spaces: dict[str, dict[str, JsonValue]] = {}
        self._sizes: dict[tuple[str, str], int] = {}
        self._bytes = 0
        self._max_bytes = max_bytes
        self._seq = 0
        self._data_version = -1
        self._file = None if file is None else _opened(file)

    def __enter__(self) -> Overlay:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def refresh(self) -> int:
        """Take in what others wrote; the version."""
        if self._file is not None:
            (version,) = self._file.execute("PRAGMA data_version").fetchone()
            if version != self._data_version:
                self._data_version = version
                self._read_new(self._file)
        return self._seq

    def get(self, space: str, key: str) -> JsonValue:
        cells = self._spaces.get(space)
        return None if cells is None else cells.get(key)

    def items(self, space: str) -> Iterator[tuple[str, JsonValue]]:
        yield from tuple(self._spaces.get(space, {}).items())

    def spaces(self) -> tuple[str, ...]:
        return tuple(self._spaces)

    def commit(self, cells: Mapping[tuple[str, str], JsonValue], seen: int) -> bool:
        """All cells or none; none if the version is not `seen` any more.

        Raises:
            OverlayFullError: it would hold more than it may.
        """
        texts = {at: None if value is None else _text(value) for at, value in cells.items()}
        self._check_size(texts)
        if self._file is None:
            if self._seq != seen:
                return False
        elif not self._write(self._file, texts, seen):
            self.refresh()
            return False
        for (space, key), value in cells.items():
            self._take(space, key, value, texts[space, key])
        self._seq = seen + 1
        return True

    def _check_size(self, texts: Mapping[tuple[str, str], str | None]) -> None:
        more = sum(len(text or "") - self._sizes.get(at, 0) for at, text in texts.items())
        if more > 0 and (self._bytes + more > self._max_bytes or len(self._sizes) + len(texts) > MAX_CELLS):
            raise OverlayFullError("the fake world is full")

    def _take(self, space: str, key: str, value: JsonValue, text: str | None) -> None:
        self._bytes += len(text or "") - self._sizes.pop((space, key), 0)
        if text is None:
            self._spaces.get(space, {}).pop(key, None)
            return
        self._sizes[space, key] = len(text)
        self._spaces.setdefault(space, {})[key] = value

    # the file

    def _write(self, file: sqlite3.Connection, texts: Mapping[tuple[str, str], str | None], seen: int) -> bool:
        file.execute("BEGIN IMMEDIATE")
        try:
            (there,) = file.execute("SELECT COALESCE(MAX(seq), 0) FROM cell").fetchone()
            if there != seen:
                file.execute("ROLLBACK")
                return False
            rows = [(space, key, text, seen + 1) for (space, key), text in texts.items()]
            file.executemany("INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?)", rows)
            file.execute("COMMIT")
        except BaseException:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise
        return True

    def _read_new(self, file: sqlite3.Connection) -> None:
        rows = file.execute("SELECT space, key, value, seq FROM cell WHERE seq > ? ORDER BY seq, key", (self._seq,))
        for space, key, text, seq in rows.fetchall():
            self._take(space, key, None if text is None else json.loads(text), text)
            self._seq = seq


def _text(value: JsonValue) -> str:
    try:
        return jsontext.dump(value)
    except jsontext.JsonError as exc:
        raise OverlayFullError(f"the fake world cannot hold this: {exc}") from None


def _opened(file: Path) -> sqlite3.Connection:
    shown = show.text(str(file), max_chars=200)
    try:
        # What agents wrote into a fake world may be as private as what they write into a real one.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        connection = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        # A fake world need not survive a power cut, and a commit must not wait for a disk.
        connection.execute("PRAGMA synchronous=OFF")
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form not in (0, _FORMAT):
            raise ConfigError(f"{shown} is a world file of another version")
        connection.executescript(_TABLES)
        connection.execute(f"PRAGMA user_version={_FORMAT}")
    except (OSError, sqlite3.Error) as exc:
        raise ConfigError(f"{shown} cannot be used as a world file: {exc}") from None
    return connection
