"""A trained model behind /api/suggest and /api/learning: where it won, on every replica; and never at others' cost."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import httpx2
import jsonschema
import numpy as np
import pytest
from sqlalchemy import update

from belljar.learning.baselines import BASELINES
from belljar.learning.evaluation import hold_out
from belljar.learning.runs import Run
from belljar.learning.training import Training, train
from belljar.server.routes import _schemas as schemas
from belljar.server.scoring import Scoring
from belljar.server.settings import Settings
from belljar.server.store import keys, models
from belljar.server.store.engine import open_database
from belljar.server.store.models import NewModel
from belljar.server.store.schema import checkpoint
from tests.server.api.conftest import SQLITE_ALONE, Api, Serve, serving, trace
from tests.server.api.test_learning import names, ran, suggest
from tests.server.conftest import NOW

WAYS = {
    "git.notes": (("git:log", "mail:send"), "write the release notes"),
    "git.history": (("git:log", "chat:post"), "tell the others about the release"),
    "sky.forecast": (("sky:look", "chat:post"), "will it rain tomorrow"),
}


def full(name: str) -> str:
    return f"local.default.{name}.a7f3"


@pytest.fixture(scope="module")
def model() -> NewModel:
    """Trained for a moment on a small world, evaluated for what that is worth, and told that it won everything."""
    runs = [
        Run(row, f"local.default.{name}", intent, path, success=True)
        for row, (name, (path, intent)) in enumerate(list(WAYS.items()) * 30, 1)
    ]
    trained = train(runs, {}, training=Training(steps=40, width=16, heads=2))
    return NewModel(
        trained_at=NOW,
        traces=len(runs),
        last_row=runs[-1].row,
        seed=0,
        seconds=1.0,
        embedder=trained.checkpoint.embedder,
        dimensions=trained.checkpoint.dimensions,
        config={},
        evaluation=hold_out(runs, {}, BASELINES).to_wire(),
        uses={"capabilities": True, "tools": True, "chance": True},
        blob=trained.checkpoint.to_bytes(),
    )


def keep(api: Api, model: NewModel) -> int:
    return models.save(api.db, keys.local_principal(api.db, now=NOW).tenant_id, model)


def teach(client: httpx2.Client) -> dict[str, list[str]]:
    return {name: ran(client, name, *path, times=4, intent=intent) for name, (path, intent) in reversed(WAYS.items())}


def test_where_it_won_it_ranks(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """F47 F48: the answer names it; its order is the model's, and figures and evidence are the store's."""
    ids = teach(client)
    assert suggest(client, intent="write the release notes")["model"] == "counts"
    keep(api, model)
    answer = suggest(client, intent="write the release notes")
    assert answer["model"] == "shgat 1"
    first = answer["suggestions"][0]
    assert first["capabilityId"] == full("git.notes")
    assert (first["n"], first["successRate"], set(first["evidence"])) == (4, 1.0, set(ids["git.notes"]))
    after = suggest(client, intent="write the release notes", context="git:log")
    assert (after["model"], names(after)[0]) == ("shgat 1", "mail:send")
    other = suggest(client, intent="tell the others about the release", context="git:log")
    assert names(other)[0] == "chat:post"  # counts know no intent, and cannot tell the two apart
    assert all(each["n"] >= 4 and each["evidence"] for each in other["suggestions"])


def test_where_it_did_not_win_counts_do(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """F47: task by task; a question that is none of the won ones names counts."""
    teach(client)
    before = suggest(client, context="git:log")
    keep(api, replace(model, uses={"capabilities": True, "tools": False, "chance": True}))
    assert suggest(client, intent="release notes")["model"] == "shgat 1"
    assert suggest(client, context="git:log") == before
    keep(api, replace(model, uses=dict.fromkeys(model.uses, False)))
    assert suggest(client, intent="release notes")["model"] == "counts"
    told = client.get("/api/learning").json()
    assert (told["model"], told["checkpoint"]["version"]) == ("counts", 2)
    assert "won nothing" in told["reason"]


def test_what_came_after_it_was_trained(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """Capabilities and tools it has never heard of are suggested as counts know them; words nobody used, not at all."""
    teach(client)
    ran(client, "git.tags", "git:log", "git:tag", times=20, intent="list the release tags")
    keep(api, model)
    assert full("git.tags") in names(suggest(client, intent="list the release tags"))
    after = suggest(client, context="git:log")
    assert "git:tag" in names(after)
    for query in ({"intent": "quantum chromodynamics"}, {"context": "never:seen"}):
        assert suggest(client, **query) == {"suggestions": [], "abstained": True, "model": "counts"}


def test_replicas_answer_alike(db_url: str, model: NewModel) -> None:
    """F47: two servers on one database load the same checkpoint, and the next one as soon as it is there."""
    with closing(open_database(db_url)) as one, closing(open_database(db_url)) as two:
        settings = Settings(database="(opened)", rate_per_s=0.0)
        with serving(settings, one) as first, serving(settings, two) as second:
            clients = [first.client(), second.client()]
            teach(clients[0])
            for version in (1, 2):
                keep(first, model)
                for query in ({"intent": "rain"}, {"context": "git:log"}, {"intent": "rain", "context": "sky:look"}):
                    answers = [suggest(client, **query) for client in clients]
                    assert answers[0] == answers[1]
                    assert answers[0]["model"] == f"shgat {version}"
                assert [api.metric("belljar_checkpoint_version") for api in (first, second)] == [version] * 2
            assert second.metric("belljar_checkpoints_loaded_total", outcome="used") == 2


def test_a_tenant_has_its_own(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """Another tenant's model is as if it were not."""
    teach(client)
    keep(api, model)
    stranger = api.client(api.key("stranger", "admin"))
    teach(stranger)
    assert suggest(client, intent="rain")["model"] == "shgat 1"
    assert suggest(stranger, intent="rain")["model"] == "counts"
    assert stranger.get("/api/learning").json()["checkpoint"] is None


def test_what_learning_tells(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """F47: who answers what and why, the checkpoint, its evaluation; as the document describes it, before and after."""
    schema = {**schemas.LEARNING, "components": {"schemas": schemas.components()}}
    told = client.get("/api/learning").json()
    jsonschema.validate(told, schema)
    assert (told["model"], told["checkpoint"], told["evaluation"]) == ("counts", None, None)
    assert (told["learner"]["state"], told["learner"]["updatedAt"]) == ("off", None)
    keep(api, model)
    told = client.get("/api/learning").json()
    jsonschema.validate(told, schema)
    assert (told["model"], told["uses"]) == ("shgat", {"capabilities": True, "tools": True, "chance": True})
    assert told["checkpoint"].items() >= {"version": 1, "traces": 90, "lastRow": 90, "seed": 0, "seconds": 1.0}.items()
    assert told["evaluation"] == model.evaluation
    assert "chance" in told["reason"]


def _zip(blob: bytes, name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, content if entry.startswith(name) else old.read(entry))
    return made.getvalue()


def _npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    made = io.BytesIO()
    np.save(made, array, allow_pickle=allow_pickle)
    return made.getvalue()


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _blob: b"",
    "noise": lambda _blob: bytes(range(256)) * 40,
    "cut": lambda blob: blob[: len(blob) // 2],
    "pickle": lambda blob: _zip(blob, "nodes", _npy(np.array([{"a": 1}], object), allow_pickle=True)),
    "no numbers": lambda blob: _zip(blob, "nodes", _npy(np.full((9, 16), np.nan, np.float32))),
    "another shape": lambda blob: _zip(blob, "bias", _npy(np.zeros((2, 1), np.float32))),
    "no names": lambda blob: _zip(blob, "meta", _npy(np.frombuffer(b"[]", np.uint8))),
}


@SQLITE_ALONE
@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_blob(client: httpx2.Client, api: Api, model: NewModel, how: str) -> None:
    """Whatever is in the table, its SHA-256 right: counts answer as if it were not, it is looked at once, said why in
    /api/learning and in a metric, traces are stored; and a good one after it is used."""
    teach(client)
    before = suggest(client, intent="release notes")
    keep(api, replace(model, blob=HOSTILE[how](model.blob)))
    for _ in range(3):
        assert suggest(client, intent="release notes") == before
    told = client.get("/api/learning").json()
    assert told["model"] == "counts"
    assert "checkpoint 1 cannot be used" in told["reason"]
    assert client.post("/api/traces", json=[trace()]).json()["stored"] == 1
    assert api.metric("belljar_checkpoints_loaded_total", outcome="broken") == 1
    keep(api, model)
    assert suggest(client, intent="release notes")["model"] == "shgat 2"


@SQLITE_ALONE
@pytest.mark.parametrize(
    "change",
    [
        {"sha256": hashlib.sha256(b"other").hexdigest()},
        {"size_bytes": 5},
        {"uses": ["capabilities"]},
        {"uses": {"capabilities": "yes"}},
        {"evaluation": {"heldOut": -1}},
        {"evaluation": json.loads("[[[[1]]]]")},
    ],
)
def test_what_stands_beside_the_blob(client: httpx2.Client, api: Api, model: NewModel, change: dict[str, Any]) -> None:
    """The other columns are no more believed than the bytes."""
    keep(api, model)
    with api.db.write() as connection:
        connection.execute(update(checkpoint).values(change))
    assert client.get("/api/suggest").json()["model"] == "counts"
    told = client.get("/api/learning").json()
    assert (told["model"], told["evaluation"]) == ("counts", None)
    assert "cannot be used" in told["reason"]


@SQLITE_ALONE
def test_another_embedder(client: httpx2.Client, api: Api, model: NewModel) -> None:
    """A model that was trained on other vectors is not asked in ours."""
    teach(client)
    keep(api, model)

    class Other:
        name = "other:model"

        def __call__(self, texts: Sequence[str]) -> Any:
            return np.ones((len(texts), 8), np.float32)

    owner = keys.local_principal(api.db, now=NOW)
    with api.db.read() as connection:
        found = Scoring(Other()).of(connection, owner.tenant_id)
    assert found is not None
    assert found.scorer is None
    assert "another embedder" in found.why


@SQLITE_ALONE
def test_an_embedder_that_fails_later(serve: Serve, model: NewModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was well when the model was loaded, and now it raises: the answer is the one of counts, and it is counted."""
    api = serve()
    client = api.client()
    teach(client)
    before = suggest(client, intent="release notes")
    keep(api, model)
    assert suggest(client, intent="release notes")["model"] == "shgat 1"

    def broken(texts: Sequence[str]) -> Any:
        raise RuntimeError("out of memory")

    owner = keys.local_principal(api.db, now=NOW)
    with api.db.read() as connection:
        found = api.services.scoring.of(connection, owner.tenant_id)
    monkeypatch.setattr(found.scorer, "_embedder", broken)  # pyright: ignore[reportOptionalMemberAccess]
    assert suggest(client, intent="release notes") == before
    assert api.metric("belljar_checkpoints_loaded_total", outcome="failed") == 1
