"""Wheels of our own, and a person who is asked about them."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Asked", "wheel"]


def wheel(
    folder: Path, name: str, files: dict[str, str | bytes], requires: Sequence[str] = (), *, tag: str = "py3-none-any"
) -> None:
    """A wheel of these files."""
    distribution = name.replace("-", "_")
    info = f"{distribution}-1.0.dist-info"
    about = "".join(f"Requires-Dist: {each}\n" for each in requires)
    content: dict[str, bytes] = {path: data.encode() if isinstance(data, str) else data for path, data in files.items()}
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{about}".encode()
    content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    with zipfile.ZipFile(folder / f"{distribution}-1.0-{tag}.whl", "w", zipfile.ZIP_DEFLATED) as file:
        for path, data in content.items():
            file.writestr(path, data)


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class Asked:
    """A person who says yes, or not, and what they were asked."""

    def __init__(self, *yes: str) -> None:
        self.yes = yes
        self.questions: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, what: str, names: Sequence[str]) -> bool:
        self.questions.append((what, tuple(names)))
        return what in self.yes
