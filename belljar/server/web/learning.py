"""What the learning page shows, as values: which model answers and why, how well outcomes are foreseen, what changed.

Blocking, and bounded as `views` is: a fixed number of the newest traces, and what `learning_state` counts. Drawings are
numbers for SVG here and elements in the template; each has its figures beside it as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from belljar.learning.evaluation import MODEL
from belljar.learning.figures import Calibration, Evaluation, Task
from belljar.server.advice import learning, suggested
from belljar.server.problems import Problem
from belljar.server.scoring import Scoring
from belljar.server.store import lessons
from belljar.server.store.engine import Database
from belljar.server.store.lessons import Change, Seen
from belljar.server.store.suggestions import COUNTS, Suggestions

__all__ = ["Asked", "Bar", "LearningPage", "TaskFigures", "learning_page"]

_BINS = 10
_MAX_CHARS = 2000
_MAX_TOOLS = 64
_SHOWN = 10
_TASKS = (("capabilities", "Which capability"), ("tools", "Which tool next"), ("chance", "How likely it succeeds"))
_RANKING = (("Hit@1", "hit1"), ("Hit@5", "hit5"), ("MRR", "mrr"))
_CHANCE = (("Brier score", "brier"), ("Calibration", "error"))


@dataclass(frozen=True, slots=True)
class Asked:
    """The form, and what was answered; nothing was asked: None."""

    intent: str
    context: str
    goal: str
    answer: Suggestions | None

    @classmethod
    def of(cls, db: Database, scoring: Scoring, tenant_id: int, params: Any) -> Asked:
        """From a query.

        Raises:
            Problem: 400, it is longer than anybody asks.
        """
        given = {name: params.get(name, "").strip() for name in ("intent", "context", "goal")}
        if any(len(value) > _MAX_CHARS or "\0" in value for value in given.values()):
            raise Problem(400, "a question is a short text")
        context = [tool.strip() for tool in given["context"].split(",") if tool.strip()]
        if len(context) > _MAX_TOOLS:
            raise Problem(400, f"up to {_MAX_TOOLS} tools were called so far")
        if not any(given.values()):
            return cls(**given, answer=None)
        found = suggested(db, scoring, tenant_id, intent=given["intent"], context=context, goal=given["goal"] or None)
        return cls(**given, answer=found)

    @property
    def abstained(self) -> bool:
        """Something was asked, and nothing that is known fits."""
        return self.answer is not None and not self.answer.found and not self.answer.path


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a drawing, 0 to 1 high, and what it stands for."""

    label: str
    height: float
    n: int
    other: float = 0.0
    """A second figure, drawn as a mark."""


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """One kind of question: what each scorer made of it."""

    name: str
    columns: tuple[str, ...]
    rows: list[tuple[str, tuple[float, ...]]]
    winner: str
    """Who did best, and could be proven to."""
    answers: str
    """Who the server asks: the model where it won, counts elsewhere."""
    reason: str
    n: int


@dataclass(frozen=True, slots=True)
class LearningPage:
    """All of it."""

    state: dict[str, Any]
    """As /api/learning answers."""
    asked: Asked
    tasks: list[TaskFigures]
    """Of the last evaluation; none before there was one."""
    held_out: int
    calibration: list[Bar]
    held_out_calibration: list[Bar]
    """Of whoever foresees best; none before there was an evaluation."""
    surprise: list[Bar]
    priorities: list[Bar]
    highest: list[Seen]
    changes: list[Change]
    looked_at: int

    @property
    def empty(self) -> bool:
        """Nothing is known."""
        return not self.state["known"]

    def known(self, kind: str) -> int:
        """Things of a kind."""
        return self.state["known"].get(kind, {}).get("things", 0)


def learning_page(db: Database, scoring: Scoring, tenant_id: int, params: Any, *, now: datetime) -> LearningPage:
    """Everything that the page shows.

    Raises:
        Problem: as `Asked.of`.
    """
    asked, state = Asked.of(db, scoring, tenant_id, params), learning(db, scoring, tenant_id, now=now)
    seen = lessons.newest(db, tenant_id)
    evaluation = _evaluation(state["evaluation"])
    return LearningPage(
        state,
        asked,
        _tasks(evaluation, state["uses"]) if evaluation else [],
        evaluation.held_out if evaluation else 0,
        _calibration(seen),
        _held_out(evaluation.chance) if evaluation else [],
        [
            Bar(f"{number} of {len(state['surprise'])}", part["meanAbsTdError"], int(part["traces"]), part["brier"])
            for number, part in enumerate(state["surprise"], 1)
        ],
        _spread(seen),
        sorted(seen, key=lambda each: (-each.priority, -each.row))[:_SHOWN],
        lessons.changes(db, tenant_id, seen),
        len(seen),
    )


def _evaluation(wire: Any) -> Evaluation | None:
    """What is stored is believed as far as it can be read."""
    try:
        return Evaluation.from_wire(wire) if wire is not None else None
    except ValueError:
        return None


def _tasks(evaluation: Evaluation, uses: Mapping[str, bool]) -> list[TaskFigures]:
    found = list[TaskFigures]()
    for attribute, name in _TASKS:
        task = cast("Task[Any]", getattr(evaluation, attribute))
        columns = _CHANCE if attribute == "chance" else _RANKING
        rows = [(who, tuple(getattr(made, key) for _, key in columns)) for who, made in task.scorers.items()]
        labels = tuple(label for label, _ in columns)
        answers = MODEL if uses[attribute] else COUNTS
        found.append(TaskFigures(name, labels, rows, task.winner, answers, task.reason, task.n))
    return found


def _calibration(seen: Sequence[Seen]) -> list[Bar]:
    """By what was foreseen, in tenths: how many came true, and what was foreseen on average."""
    parts: list[list[Seen]] = [[] for _ in range(_BINS)]
    for each in seen:
        parts[min(_BINS - 1, int(each.predicted * _BINS))].append(each)
    return [
        Bar(
            _tenth(at),
            sum(each.success for each in part) / len(part),
            len(part),
            sum(each.predicted for each in part) / len(part),
        )
        for at, part in enumerate(parts)
        if part
    ]


def _held_out(task: Task[Calibration]) -> list[Bar]:
    made = task.scorers.get(task.winner)
    return [Bar(f"{each.predicted:.0%}", each.observed, each.n, each.predicted) for each in made.bins] if made else []


def _spread(seen: Sequence[Seen]) -> list[Bar]:
    """How many traces have a priority of each tenth; as a share of the most frequent."""
    counts = [0] * _BINS
    for each in seen:
        counts[min(_BINS - 1, int(each.priority * _BINS))] += 1
    most = max(counts) or 1
    return [Bar(_tenth(at), n / most, n) for at, n in enumerate(counts)]


def _tenth(at: int) -> str:
    return f"{at / _BINS:.1f}\u2013{(at + 1) / _BINS:.1f}"
