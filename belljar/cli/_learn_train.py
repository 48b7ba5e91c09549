"""`belljar learn train`: train a model here and now, on the machine of the server's database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

if TYPE_CHECKING:
    from belljar.server.learner.lesson import Lesson
    from belljar.server.store.engine import Database

__all__ = ["add"]

_EPILOG = """\b
Examples:
  belljar learn train
  belljar learn train --tenant acme --seed 7
  belljar learn train --dry-run --json

\b
Trains on the newest real traces of the tenant, holds the model against every simple scorer on the newest fifth, and
keeps it: every server of that database uses it at once, for what it won and nothing else. The learner beside a server
does the same by itself, more slowly. PyTorch is needed: pip install 'belljar[learn]'.
"""
_LEAST = 20
# The first steps are slow, and say nothing of how long the rest will take.
_WARM = 10


def add(learn: typer.Typer) -> None:
    """Register the verb below `belljar learn`."""
    learn.command("train", epilog=_EPILOG)(_train)


def _train(
    db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="sqlite:///FILE or postgresql+psycopg://...; or BELLJAR_DB; or our own file."),
    ] = None,
    tenant: Annotated[str, typer.Option(metavar="NAME", help="Whose traces.")] = "default",
    seed: Annotated[int, typer.Option(metavar="N", help="Of the training and the statistics.")] = 0,
    steps: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Of the training, at most.")] = 800,
    embedder: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="As `belljar serve` has it; else it is not used there.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show how good it is, and keep nothing.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Log what happens to stderr.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all figures, as one JSON object.")] = False,
) -> None:
    """Train a model on the server's traces, show how good it is, and keep it.

    The whole of a core is used, for minutes where there are thousands of traces. Ctrl-C gives up; nothing is kept then.
    """
    from belljar.cli import _database, _ending

    def body() -> int:
        _database.need_extra()
        with _database.opened(_database.url(db)) as database:
            _database.need_migrated(database)
            return _trained(database, tenant, _How(seed, steps, embedder), dry_run=dry_run, as_json=as_json)

    raise typer.Exit(_ending.ending(body, debug=debug))


class _How(NamedTuple):
    seed: int
    steps: int
    embedder: str | None


def _trained(db: Database, tenant: str, how: _How, *, dry_run: bool, as_json: bool) -> int:
    from belljar import show
    from belljar.cli import _learn_evaluate, _screen
    from belljar.errors import ConfigError
    from belljar.server.learner import lesson
    from belljar.server.store import models, runs

    if why := lesson.cannot():
        raise ConfigError(why)
    tenant_id = runs.tenant_named(db, tenant)
    if tenant_id is None:
        raise ConfigError(f"there is no tenant {show.name(tenant)}; `belljar server key create --tenant` makes one")
    done = _lesson(db, tenant_id, how)
    version = None if dry_run else models.save(db, tenant_id, done.model)
    if as_json:
        uses, seconds = dict(done.model.uses), done.model.seconds
        about = {"version": version, "traces": done.model.traces, "seed": how.seed, "seconds": seconds, "uses": uses}
        _screen.out_json({**done.evaluation.to_wire(), "checkpoint": about})
        return 0
    _learn_evaluate.draw(done.evaluation, {})
    won = ", ".join(task for task, used in done.model.uses.items() if used) or "nothing: counts answer"
    _screen.out(f"\nNothing was kept. It won {won}." if dry_run else f"\nKept as version {version}; used for {won}.")
    return 0


def _lesson(db: Database, tenant_id: int, how: _How) -> Lesson:
    import numpy as np

    from belljar.cli import _screen
    from belljar.errors import ConfigError
    from belljar.server.embedders import embedder_of
    from belljar.server.learner import lesson
    from belljar.server.learner.keeping import Keeping
    from belljar.server.store import runs

    vectors = embedder_of(how.embedder)
    keeping = Keeping(db, tenant_id, paid=_free)
    keeping.follow()
    found = lesson.gathered(db, tenant_id, keeping.replay, np.random.default_rng(how.seed))
    if len(found) < _LEAST:
        raise ConfigError(f"{len(found)} real traces are too few to train on: {_LEAST} are the least")
    texts = runs.texts(db, tenant_id, {run.capability for run in found})
    with _screen.progress(f"training on {len(found)} runs") as tick:
        began = dict[str, float]()

        def progress(what: str, number: int, of: int) -> None:
            passed = time.monotonic() - began.setdefault(what, time.monotonic())
            if number >= _WARM:
                tick(passed, passed * of / number)

        return lesson.learn(
            found, texts, seed=how.seed, steps=how.steps, embedder=vectors, paid=_free, progress=progress
        )


def _free() -> None:
    """Costs nothing: whoever trains by hand waits for it."""
