"""Small made-up histories, with a truth that is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from belljar.learning.runs import Run
from belljar.learning.training import Training

SMALL = Training(steps=120, batch=32, width=16, heads=2, layers=2, look=10, patience=6, rate=1e-2)


def run(row: int, capability: str, intent: str, path: Sequence[str], success: bool = True) -> Run:
    return Run(row, capability, intent, tuple(path), success)


def forked(n: int, seed: int = 0) -> list[Run]:
    """Every run goes through the same first and third call; what comes after each is decided by the intent alone.

    So the last call says nothing of the next one, and whoever counts pairs is right one time in four.
    """
    rng = np.random.default_rng(seed)
    subjects = ("invoices overdue", "weather tomorrow", "tests broken", "photos holiday")
    asks = ("please {}", "{} now", "show me {}", "I need {} today")
    found = list[Run]()
    for row in range(1, n + 1):
        which = int(rng.integers(4))
        intent = asks[rng.integers(4)].format(subjects[which])
        path = ("hub:open", f"do:{'abcd'[which]}", "hub:check", f"end:{'wxyz'[which]}")
        found.append(run(row, f"o.p.work.{'ijkl'[which]}", intent, path))
    return found


def noisy(n: int, seed: int = 0) -> list[Run]:
    """One capability: succeeds 8 times in 10, and 3 times where its intent says `urgent`; other words are noise.

    Whoever learns the noise by heart is too sure.
    """
    rng = np.random.default_rng(seed)
    found = list[Run]()
    for row in range(1, n + 1):
        urgent = bool(rng.random() < 0.4)
        words = [f"{'bcdfg'[i % 5]}{'aeiou'[i // 5 % 5]}{'klmnp'[i // 25]}o" for i in rng.integers(125, size=5)]
        intent = " ".join([*words, "urgent"] if urgent else words)
        found.append(run(row, "o.p.do.it", intent, ("s:x",), bool(rng.random() < chance_of(intent))))
    return found


def chance_of(intent: str) -> float:
    """The truth of `noisy`."""
    return 0.3 if "urgent" in intent else 0.8


def uneven(n: int, seed: int = 0) -> list[Run]:
    """Twelve capabilities, each with a chance of its own and a tool of its own; intents say nothing."""
    rng = np.random.default_rng(seed)
    chances = np.linspace(0.05, 0.95, 12)
    which = rng.integers(12, size=n)
    return [
        run(row + 1, f"o.p.c{i}.go", "do it", (f"s:{i}",), bool(rng.random() < chances[i]))
        for row, i in enumerate(which)
    ]
