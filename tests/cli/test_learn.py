"""`belljar learn evaluate`: on files, on made-up worlds, and on what is neither."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from belljar.learning.evaluation import Evaluation
from belljar.learning.synthetic import world
from tests.cli.conftest import Belljar
from tests.server.traces import call, wire

_ESC = "s:\x1b[31mred"


def traces(n: int, **changes: Any) -> list[dict[str, Any]]:
    """Of a made-up world, as a server would have exported them."""
    return [
        wire(
            run.row,
            success=run.success,
            capabilityId=f"{run.capability}.a7f3",
            intent=run.intent,
            timestamp=f"2026-11-21T{run.row // 3600:02}:{run.row // 60 % 60:02}:{run.row % 60:02}Z",
            taskResults=[call(i, tool=tool) for i, tool in enumerate(run.path)],
            **changes,
        )
        for run in world("plain", runs=n).runs
    ]


def test_a_world(belljar: Belljar) -> None:
    """F47: figures of all scorers against the best possible, a winner with its reason, a plot; no colour in a pipe."""
    done = belljar("learn", "evaluate", "--world", "structured", "--runs", "600", "--no-model")
    assert done.status == 0, done.err
    for words in ("capabilities:", "tools:", "chance:", "counts", "markov1", "best possible", "Hit@1", "came true"):
        assert words in done.out
    assert any(line.startswith("*") for line in done.out.splitlines())
    assert "right at once" in done.out
    assert "\x1b" not in done.out + done.err


def test_the_same_seed_says_the_same(belljar: Belljar) -> None:
    """As JSON: one object, which is an evaluation, and the same again."""
    words = ("learn", "evaluate", "--world", "nested", "--seed", "3", "--runs", "300", "--no-model", "--json")
    first, second = belljar(*words), belljar(*words)
    assert first.out == second.out
    assert Evaluation.from_wire(first.json).fitted == 240
    assert first.json["source"]["seed"] == 3
    assert 0 < first.json["source"]["possible"]["tools"] <= 1
    assert first.json["model"] is None


def test_a_file(belljar: Belljar) -> None:
    """A file of traces, some of them none: what was left out is said by line; the rest is evaluated."""
    found = traces(300)
    lines = [json.dumps(each) for each in found]
    lines[10:10] = ["{", json.dumps({**wire(5000), "capabilityId": _ESC, "success": "yes"}), lines[0]]
    lines.append(json.dumps(wire(5001, taskResults=[call(1, source="fake")])))
    (belljar.folder / "traces.jsonl").write_text("\n".join(lines))
    done = belljar("learn", "evaluate", "traces.jsonl", "--held-out", "0.25", "--no-model", "--json")
    assert done.status == 0, done.err
    source = done.json["source"]
    assert (source["lines"], source["mocked"], source["duplicates"], source["broken"]) == (304, 1, 1, 2)
    assert [each["line"] for each in source["problems"]] == [11, 12]
    assert "300 of 304 lines of traces.jsonl are used; 1 not real, 1 there twice, 2 no traces" in done.err
    assert "line 12: " in done.err
    assert (done.json["heldOut"], done.json["fitted"]) == (75, 225)
    assert done.json["tasks"]["tools"]["scorers"]["markov1"]["hit1"] > 0.4


def test_standard_input(belljar: Belljar) -> None:
    """A dash is what comes through the pipe."""
    text = "\n".join(json.dumps(each) for each in traces(60)).encode()
    done = subprocess.run(
        belljar.command("learn", "evaluate", "-", "--no-model", "--json"),
        cwd=belljar.folder, env=belljar.environment, input=text, capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout)["source"]["file"] == "standard input"


@pytest.mark.slow
def test_a_model_takes_part(belljar: Belljar) -> None:
    """F47: trained here and now on the older runs, and judged like the others; with a line of progress."""
    words = ("learn", "evaluate", "--world", "confounded", "--runs", "250", "--json")
    done = belljar(*words, env={"OMP_NUM_THREADS": "1"})
    assert done.status == 0, done.err
    assert set(done.json["tasks"]["tools"]["scorers"]) > {"shgat", "counts", "markov1"}
    assert done.json["model"]["steps"] > 0
    assert done.json["tasks"]["tools"]["winner"] != "shgat"
    assert "100 are needed" in done.json["tasks"]["tools"]["reason"]
    assert done.err.startswith("training on 200 runs")


def test_without_pytorch(belljar: Belljar) -> None:
    """What to install is said, and the others are evaluated."""
    hidden = "import sys; sys.modules['torch'] = None; from belljar.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "learn", "evaluate", "--world", "plain", "--runs", "60", "--json"],
        cwd=belljar.folder, env=belljar.environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "pip install 'belljar[learn]'" in done.stderr
    assert "shgat" not in json.loads(done.stdout)["tasks"]["tools"]["scorers"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "server export"),
        (["x.jsonl", "--world", "plain"], "one of the two"),
        (["--world", "wonder\x1b[31m"], "structured, detours"),
        (["not-there.jsonl"], "cannot read not-there.jsonl"),
        (["."], "cannot read"),
        (["empty.jsonl"], "holds no trace"),
        (["bad.jsonl"], "line 1: "),
        (["one.jsonl"], "too few"),
        (["--world", "plain", "--held-out", "1.5"], "--held-out"),
    ],
)
def test_misuse(belljar: Belljar, words: list[str], said: str) -> None:
    """Exit 2, one line, with what to do; nothing on stdout."""
    for name, text in (("empty", ""), ("bad", "?"), ("one", json.dumps(wire(1)))):
        (belljar.folder / f"{name}.jsonl").write_text(text)
    done = belljar("learn", "evaluate", *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.last()
    assert len(done.err.splitlines()) == 1
    assert "\x1b" not in done.err
