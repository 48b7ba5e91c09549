"""`belljar learn evaluate`: scorers held against each other on runs that are later than all they were fitted to."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

from belljar import show

if TYPE_CHECKING:
    from belljar.learning.figures import Evaluation, Ranking, Task
    from belljar.learning.imported import Imported
    from belljar.learning.runs import Run, Scorer
    from belljar.learning.synthetic import Truth

__all__ = ["add", "draw"]

_EPILOG = """\b
Examples:
  belljar server export > traces.jsonl && belljar learn evaluate traces.jsonl
  belljar learn evaluate --world structured --seed 7
  belljar learn evaluate --world plain --no-model --json

\b
Worlds: structured, detours, confounded, regimes, nested, plain; docs/learning.md says what is true in each. The row
with a star is what is to be used: the model only where it is better than every other by more than chance. In brackets:
what nobody can use, to compare with.
"""
_WARM = 10
_Object = dict[str, Any]


def add(learn: typer.Typer) -> None:
    """Register the verb below `belljar learn`."""
    learn.command("evaluate", epilog=_EPILOG)(_evaluate)


def _evaluate(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Traces, one JSON object a line; - for stdin.")
    ] = None,
    world: Annotated[str | None, typer.Option(metavar="NAME", help="A made-up world whose truth is known.")] = None,
    runs: Annotated[int, typer.Option(metavar="N", min=10, max=200_000, help="Runs of the world.")] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the world, the training and the statistics.")] = 0,
    held_out: Annotated[
        float, typer.Option(metavar="SHARE", min=0.01, max=0.9, help="How many runs, the newest, to ask about.")
    ] = 0.2,
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Train a model on the older runs, and hold it against the rest.")
    ] = True,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures, as one JSON object.")] = False,
) -> None:
    """Show who foresees best what was run, which tool came next and how it ended, and what is to be used for each.

    The newest runs are held out; everybody is fitted to the older ones, and asked about the newest.
    """
    from belljar.cli import _ending

    if debug:
        _ending.log_to_stderr()
    wanted = _Wanted(file, world, runs, seed, held_out, model)
    raise typer.Exit(_ending.ending(lambda: _show(wanted, as_json), debug=debug))


@dataclass(frozen=True, slots=True)
class _Wanted:
    file: str | None
    world: str | None
    runs: int
    seed: int
    held_out: float
    model: bool


@dataclass(frozen=True, slots=True)
class _Given:
    """Runs, where they are from, and what is known of them."""

    runs: Sequence[Run]
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    about: _Object = field(default_factory=dict[str, Any])
    """For --json."""
    notes: tuple[str, ...] = ()
    """For people."""
    truth: Truth | None = None


def _show(wanted: _Wanted, as_json: bool) -> int:
    from belljar.cli import _screen
    from belljar.errors import ConfigError

    _need_numpy()
    from belljar.learning.baselines import as_arrived
    from belljar.learning.evaluation import split

    given = _given(wanted)
    for line in given.notes:
        _screen.note(line)
    fitted, later = split(as_arrived(given.runs), wanted.held_out)
    if not fitted or not later:
        raise ConfigError(f"{len(given.runs)} runs are too few to hold some of them out; run more, or raise --held-out")
    found, trained = _evaluated(wanted, given, fitted, later)
    possible = given.truth.best(later) if given.truth else dict[str, float]()
    if as_json:
        world = {"possible": {key: round(share, 6) for key, share in possible.items()}} if possible else {}
        _screen.out_json({**found.to_wire(), "source": given.about | world, "model": trained})
    else:
        draw(found, possible)
    return 0


def _need_numpy() -> None:
    from belljar.errors import ConfigError

    if find_spec("numpy") is None:
        raise ConfigError("numpy is not installed: pip install 'belljar[server]'")


# Where runs come from


def _given(wanted: _Wanted) -> _Given:
    from belljar.errors import ConfigError

    if (wanted.file is None) == (wanted.world is None):
        raise ConfigError("give a FILE of traces (`belljar server export` writes one) or --world NAME, one of the two")
    return _of_file(wanted.file) if wanted.file is not None else _of_world(wanted)


def _of_world(wanted: _Wanted) -> _Given:
    from belljar.errors import ConfigError
    from belljar.learning.synthetic import WORLDS, world

    if wanted.world not in WORLDS:
        raise ConfigError(f"there is no world {show.name(str(wanted.world))}; there are {', '.join(WORLDS)}")
    made = world(wanted.world, seed=wanted.seed, runs=wanted.runs)
    return _Given(made.runs, made.texts, {"world": made.name, "seed": wanted.seed}, truth=made.truth)


def _of_file(file: str) -> _Given:
    from belljar.errors import ConfigError
    from belljar.learning import imported

    shown = "standard input" if file == "-" else show.text(file, max_chars=200)
    try:
        with ExitStack() as stack:
            stream = sys.stdin.buffer if file == "-" else stack.enter_context(open(file, "rb"))
            found = imported.read(stream)
    except OSError as exc:
        raise ConfigError(f"cannot read {shown}: {exc.strerror}") from None
    if not found.runs:
        first = f"; line {found.problems[0].line}: {found.problems[0].reason}" if found.problems else ""
        raise ConfigError(f"{shown} holds no trace of a real run{first}; `belljar server export` writes such a file")
    return _Given(found.runs, about=_counted(shown, found), notes=tuple(_told(shown, found)))


def _counted(shown: str, found: Imported) -> _Object:
    return {
        "file": shown,
        "lines": found.lines,
        "mocked": found.mocked,
        "undecided": found.undecided,
        "duplicates": found.duplicates,
        "broken": found.broken,
        "problems": [{"line": each.line, "reason": each.reason} for each in found.problems],
    }


def _told(shown: str, found: Imported) -> Iterator[str]:
    counted = {
        "not real": found.mocked,
        "ended by people": found.undecided,
        "there twice": found.duplicates,
        "no traces": found.broken,
    }
    left_out = [f"{count} {what}" for what, count in counted.items() if count]
    if left_out:
        yield f"belljar: {len(found.runs)} of {found.lines} lines of {shown} are used; {', '.join(left_out)}"
    for each in found.problems:
        yield f"  line {each.line}: {show.text(each.reason, max_chars=200)}"
    if found.broken > len(found.problems):
        yield f"  and {found.broken - len(found.problems)} more"


# Who takes part


def _evaluated(
    wanted: _Wanted, given: _Given, fitted: list[Run], later: list[Run]
) -> tuple[Evaluation, _Object | None]:
    from belljar.learning.baselines import BASELINES
    from belljar.learning.evaluation import evaluate, known_texts
    from belljar.learning.nearest import Nearest

    texts = known_texts(fitted, given.texts)
    scorers = [fit(fitted, texts) for fit in BASELINES]
    model, about = _model(fitted, texts, wanted.seed) if wanted.model else (None, None)
    everyone = scorers if model is None else [model, *scorers]
    references = [Nearest.fit(fitted, texts)]
    return evaluate(everyone, later, fitted=fitted, references=references, seed=wanted.seed), about


def _model(fitted: list[Run], texts: Mapping[str, str], seed: int) -> tuple[Scorer | None, _Object | None]:
    """Trained here and now; none where PyTorch is not installed, which is said."""
    from belljar.cli import _screen

    if find_spec("torch") is None:
        _screen.note("belljar: no model: PyTorch is not installed (pip install 'belljar[learn]'); the others go on")
        return None, None
    from belljar.learning.checkpoint import ModelScorer
    from belljar.learning.training import Step, Training, train

    began = time.monotonic()
    with _screen.progress(f"training on {len(fitted)} runs") as tick:

        def stepped(step: Step) -> None:
            passed = time.monotonic() - began
            # The first steps are slow, and say nothing of how long the rest will take.
            if step.number >= _WARM:
                tick(passed, passed * step.of / step.number)

        trained = train(fitted, texts, training=Training(seed=seed), stepped=stepped)
    about = {"steps": len(trained.losses), "seconds": round(time.monotonic() - began, 1)}
    return ModelScorer(trained.checkpoint), about


# What is shown


def draw(found: Evaluation, possible: Mapping[str, float]) -> None:
    """Its tables, and how well chances were foreseen. `possible`: the best there can be, where that is known."""
    from belljar.cli import _screen
    from belljar.learning.figures import plot

    _screen.out(f"Fitted to {found.fitted} runs, and asked about the {found.held_out} that came after them.\n")
    for name, question, task in (
        ("capabilities", "which capability was run for an intent", found.capabilities),
        ("tools", "which tool came next", found.tools),
    ):
        _draw_ranking(f"{name}: {question}", task, possible.get(name))
    task = found.chance
    rows = [(*_mark(each, task.winner), f"{of.brier:.3f}", f"{of.error:.3f}") for each, of in task.scorers.items()]
    rows += [("", "(best possible)", f"{possible['brier']:.3f}", "")] if possible else []
    _table("chance: how likely was it to succeed", ("Brier", "calibration error"), rows, task.n, task.reason)
    _screen.out("\n".join((f"What {task.winner} foresaw, and what came true:", *plot(task.scorers[task.winner]))))


def _draw_ranking(title: str, task: Task[Ranking], possible: float | None) -> None:
    rows = [
        (*_mark(name, task.winner), f"{of.hit1:.1%}", f"{of.hit5:.1%}", f"{of.mrr:.3f}")
        for name, of in task.scorers.items()
    ]
    rows += [("", "(best possible)", f"{possible:.1%}", "", "")] if possible is not None and rows else []
    _table(title, ("Hit@1", "Hit@5", "MRR"), rows, task.n, task.reason)


def _mark(name: str, winner: str) -> tuple[str, str]:
    return "*" if name == winner else "", f"({name})" if name == "nearest" else name


def _table(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]], n: int, reason: str) -> None:
    from belljar.cli import _screen

    _screen.out(f"{title} ({n} questions)")
    if rows:
        winner = [at for at, row in enumerate(rows) if row[0]]
        _screen.table(("", "scorer", *columns), rows, to_stdout=True, whole=2, bold=winner)
    _screen.out(f"{reason}.\n")
