"""`belljar learn status` and `train`: a real server, its database, and servers that are not what they should be."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from belljar.learning.evaluation import Evaluation
from tests.cli.conftest import Belljar
from tests.cli.test_traces_list import Far, call, far, trace
from tests.registries import FakeRegistry, serving

__all__ = ["far"]

_WAYS = {"write the notes": ("git:log", "mail:send"), "will it rain": ("sky:look", "chat:post")}


def teach(far: Far, numbers: range) -> None:
    for n in numbers:
        intent, path = list(_WAYS.items())[n % 2]
        tasks = [call(tool, taskId=f"t{i}") for i, tool in enumerate(path)]
        name = f"local.default.a.{'notes' if n % 2 else 'rain'}.a7f3"
        far.store(trace(n, intent=intent, capabilityId=name, taskResults=tasks))


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("status", "--config --debug --json"),
        ("train", "--db --tenant --seed --steps --embedder --dry-run --debug --json"),
    ],
)
def test_help(belljar: Belljar, verb: str, options: str) -> None:
    """Every option is named, and how the verb is used."""
    done = belljar("learn", verb, "--help")
    assert set(options.split()) <= set(done.out.split())
    assert f"  belljar learn {verb}" in done.out.split("Examples:")[1]


@pytest.mark.slow
def test_train_and_status(belljar: Belljar, far: Far) -> None:
    """F47: too few; a dry run keeps nothing; then a model is kept with its evaluation, the same for the same seed; and
    the server that runs says so at once."""
    teach(far, range(8))
    few = belljar("learn", "train", "--tenant", "acme")
    assert (few.status, "8 real traces are too few" in few.err) == (2, True)
    said = belljar("learn", "status", env=far.env)
    assert "none was trained yet" in said.out
    assert "answers   counts" in said.out
    teach(far, range(8, 68))
    train = ("learn", "train", "--tenant", "acme", "--steps", "15", "--seed", "3")
    dry = belljar(*train, "--dry-run", "--json")
    assert dry.status == 0, dry.err
    assert dry.json["checkpoint"]["version"] is None
    assert belljar("learn", "status", "--json", env=far.env).json["checkpoint"] is None
    done = belljar(*train)
    assert done.status == 0, done.err
    assert "Kept as version 1; used for nothing" in done.out  # too few to tell
    assert "Hit@1" in done.out
    told = belljar("learn", "status", "--json", env=far.env).json
    assert (told["checkpoint"]["version"], told["checkpoint"]["traces"], told["checkpoint"]["seed"]) == (1, 68, 3)
    assert Evaluation.from_wire(told["evaluation"]).to_wire() == {
        key: value for key, value in dry.json.items() if key != "checkpoint"
    }
    said = belljar("learn", "status", env=far.env)
    assert "version 1" in said.out
    assert "how likely it succeeds  counts" in said.out


def test_what_cannot_be_trained(belljar: Belljar, far: Far) -> None:
    """Nobody's traces, or an embedder that is none: misuse, and what to do, before anything is done."""
    nobody = belljar("learn", "train", "--tenant", "nobody")
    assert (nobody.status, "no tenant nobody" in nobody.err) == (2, True)
    teach(far, range(2))
    other = belljar("learn", "train", "--tenant", "acme", "--embedder", "no_such_module:x")
    assert (other.status, "--embedder no_such_module:x: ModuleNotFoundError" in other.err) == (2, True)
    served = belljar("serve", "--port", "0", "--embedder", "json:dumps")
    assert (served.status, "--embedder json:dumps" in served.err) == (2, True)


def test_without_pytorch(belljar: Belljar) -> None:
    """It says what to install."""
    hide = "import sys; sys.modules['torch'] = None"
    words = "['learn', 'train', '--db', 'sqlite:///none.db']"
    done = subprocess.run(
        [sys.executable, "-c", f"{hide}\nfrom belljar.cli import main\nmain({words})"],
        cwd=belljar.folder,
        env=belljar.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "pip install 'belljar[learn]'" in done.stderr


def test_without_a_server(belljar: Belljar) -> None:
    """Misuse, and what to set."""
    done = belljar("learn", "status")
    assert done.status == 2
    assert "BELLJAR_CLOUD_URL" in done.err


_LEARNER = {"state": "off", "why": "\x1b[31m", "replay": 1, "newTraces": 1, "trainsAfter": 1, "updatedAt": None}
_GOOD: dict[str, Any] = {"model": "counts", "reason": "x", "uses": {}, "checkpoint": None, "learner": _LEARNER}


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (_GOOD, 0),
        ([], 4),
        ({}, 4),
        ({**_GOOD, "learner": {}}, 4),
        ({**_GOOD, "learner": {**_LEARNER, "replay": "many"}}, 4),
        ({**_GOOD, "uses": 7}, 4),
        ({**_GOOD, "checkpoint": {"version": 1}}, 4),
        ({**_GOOD, "reason": None}, 4),
    ],
)
def test_an_answer_that_is_none(belljar: Belljar, answer: Any, status: int) -> None:
    """A server that answers something else: exit 4, one line, no traceback; foreign text is escaped."""
    lying = FakeRegistry(instead=(200, {"content-type": "application/json"}, [json.dumps(answer).encode()]))
    with serving(lying) as url:
        done = belljar("learn", "status", env={"BELLJAR_CLOUD_URL": url, "BELLJAR_API_KEY": "bj_" + "0" * 32})
    assert done.status == status
    assert "\x1b" not in done.out + done.err
    assert status == 0 or "its answer cannot be used" in done.err
    assert "Traceback" not in done.err
