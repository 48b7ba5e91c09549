"""The model of each tenant, as far as it may be used: loaded once a version, kept while it is asked for.

Every question looks which version is the newest, which is one look into an index; a new one is loaded by whoever asks
first. A checkpoint is used for the tasks it won when it was evaluated, and for no other; one that cannot be used at all
- its bytes are not those that were saved, it is malformed, or was trained with another embedder - is not asked, counts
answer instead, and it is said: in the answer of /api/learning, once in the log, in a metric.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Connection

from belljar import show
from belljar.learning.checkpoint import Checkpoint, ModelScorer
from belljar.learning.embedding import Embedder
from belljar.learning.evaluation import Evaluation
from belljar.learning.runs import Run, Scorer
from belljar.limits import MIB
from belljar.server import logs
from belljar.server.store import models
from belljar.server.store.engine import Database
from belljar.server.store.models import Broken, StoredModel
from belljar.server.store.suggestions import COUNTS, By

__all__ = ["TASKS", "Model", "ModelFailed", "Scoring"]

TASKS = ("capabilities", "tools", "chance")

_MOST_BYTES = 256 * MIB
_MOST_MODELS = 1000

Loaded = Callable[[str], None]
"""Hears what became of a checkpoint: `used`, `unused` (it won nothing) or `broken`; `failed` when it did not answer."""


class ModelFailed(Exception):
    """A model that was loaded could not answer; counts can. The message says why, for people."""


@dataclass(frozen=True, slots=True)
class Model:
    """A tenant's newest checkpoint, and what it may be used for."""

    stored: StoredModel
    scorer: ModelScorer | None
    """None: it is used for nothing."""
    uses: frozenset[str]
    evaluation: Evaluation | None
    why: str
    """Why it is used, or not, for people."""

    @property
    def name(self) -> str:
        """As answers name it."""
        return f"{ModelScorer.name} {self.stored.version}"

    def scorer_for(self, task: str) -> Scorer | None:
        """Who answers this kind of question, if it is the model; what it raises is ModelFailed."""
        return _Guarded(self.scorer) if self.scorer and task in self.uses else None

    @property
    def by(self) -> By:
        """Who ranks suggestions."""
        return By(self.name, self.scorer_for("capabilities"), self.scorer_for("tools"))


class Scoring:
    """The models of all tenants. Safe between threads; loading one holds up those alone who ask for it."""

    def __init__(self, embedder: Embedder, loaded: Loaded = lambda _outcome: None) -> None:
        self._embedder = embedder
        self._loaded = loaded
        self._lock = threading.Lock()
        self._models = OrderedDict[int, Model]()
        self._loading = dict[int, threading.Lock]()

    def of(self, connection: Connection, tenant_id: int) -> Model | None:
        """The tenant's newest; None if nothing was trained for it yet."""
        newest = models.newest(connection, tenant_id)
        if newest is None:
            return None
        found = self._known(tenant_id, newest)
        if found is None:
            with self._loading.setdefault(tenant_id, threading.Lock()):
                found = self._known(tenant_id, newest) or self._load(connection, tenant_id, newest)
        return found

    def by(self, db: Database, tenant_id: int) -> By:
        """Who ranks this tenant's suggestions.

        Raises:
            StoreUnavailable: the database does not answer.
        """
        with db.read() as connection:
            model = self.of(connection, tenant_id)
        return By(COUNTS) if model is None else model.by

    def failed(self, by: By, exc: ModelFailed) -> None:
        """A model did not answer, and counts do instead: said in the log and counted."""
        logs.event("model-failed", level=logging.ERROR, model=by.name, why=str(exc))
        self._loaded("failed")

    def versions(self) -> int:
        """The highest version of all that are loaded; 0 if none is."""
        with self._lock:
            return max((model.stored.version for model in self._models.values()), default=0)

    # ----

    def _known(self, tenant_id: int, newest: StoredModel) -> Model | None:
        with self._lock:
            found = self._models.get(tenant_id)
            if found is None or (found.stored.version, found.stored.sha256) != (newest.version, newest.sha256):
                return None
            self._models.move_to_end(tenant_id)
            return found

    def _load(self, connection: Connection, tenant_id: int, newest: StoredModel) -> Model | None:
        try:
            blob = models.blob_of(connection, tenant_id, newest)
            if blob is None:
                return None  # a newer one came this very moment: the next question finds it
            model = _model(newest, blob, self._embedder)
        except (Broken, ValueError) as exc:
            model = Model(newest, None, frozenset(), None, f"checkpoint {newest.version} cannot be used: {exc}")
            logs.event("checkpoint-broken", level=logging.ERROR, version=newest.version, why=str(exc))
            self._loaded("broken")
        else:
            logs.event("checkpoint-loaded", version=newest.version, uses=" ".join(sorted(model.uses)) or "nothing")
            self._loaded("used" if model.uses else "unused")
        self._keep(tenant_id, model)
        return model

    def _keep(self, tenant_id: int, model: Model) -> None:
        with self._lock:
            self._models[tenant_id] = model
            self._models.move_to_end(tenant_id)
            while len(self._models) > 1 and (len(self._models) > _MOST_MODELS or self._bytes() > _MOST_BYTES):
                self._models.popitem(last=False)
            self._loading = {key: lock for key, lock in self._loading.items() if key in self._models}

    def _bytes(self) -> int:
        return sum(model.stored.size_bytes for model in self._models.values() if model.scorer)


class _Guarded:
    """A model's scorer, of which nothing comes out but numbers: its checkpoint is foreign, and so is its embedder."""

    name = ModelScorer.name

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def capabilities(self, intent: str) -> Mapping[str, float]:
        return self._of(lambda: self._scorer.capabilities(intent))

    def tools(self, intent: str, context: Sequence[str]) -> Mapping[str, float]:
        return self._of(lambda: self._scorer.tools(intent, context))

    def chance(self, run: Run) -> float:
        return self._of(lambda: {"": self._scorer.chance(run)})[""]

    def _of(self, ask: Callable[[], Mapping[str, float]]) -> Mapping[str, float]:
        try:
            found = ask()
        except Exception as exc:
            raise ModelFailed(f"{type(exc).__name__}: {show.text(str(exc), max_chars=200)}") from exc
        if not all(0 <= value <= 1 for value in found.values()):
            raise ModelFailed("its scores are no probabilities")
        return found


def _model(stored: StoredModel, blob: bytes, embedder: Embedder) -> Model:
    """Raises ValueError: something in it is not what it must be."""
    uses = _uses(stored.uses)
    evaluation = None if stored.evaluation is None else Evaluation.from_wire(stored.evaluation)
    if not uses:
        return Model(stored, None, uses, evaluation, "the model won nothing: counts answer, which are no worse")
    scorer = ModelScorer(Checkpoint.from_bytes(blob), embedder)
    return Model(stored, scorer, uses, evaluation, f"the model won by more than chance: {', '.join(sorted(uses))}")


def _uses(said: Any) -> frozenset[str]:
    if not isinstance(said, dict) or not all(type(value) is bool for value in cast("dict[Any, Any]", said).values()):
        raise ValueError("what it is used for is not what it must be")
    return frozenset(task for task in TASKS if cast("dict[str, bool]", said).get(task))
