"""sanitize: pass 1 over clean text, over a clean trace of 300 leaves, and over the same trace with ten finds; pass 2.

A run masks its trace as the texts it is made of; whoever has one as a value - the server, `traces sanitize` - writes it
as text first. Baselines: `json.dumps` of the same value, which whoever sends it does anyway, and Presidio's own engine
with the same kinds of recognizers, without a model, on the same trace as one text. All times are CPU time.
"""

from __future__ import annotations

import json
import random
import time
from functools import partial
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from belljar.tracing.masking import masker
from belljar.tracing.sanitizer import Sanitizer
from belljar.tracing.second_pass import SecondPass
from belljar.tracing.texts import Part, TraceTexts, encode
from benchmarks import report as reports
from benchmarks.report import Baseline, Figure, Report, median

_ROUNDS = 200
_samples = partial(reports.samples, clock=time.process_time)
_PAYLOAD = "300 leaves, 10 KB"
_WORDS = "the quick brown fox release notes commit merged branch main title author number state open".split()
_MB = 4


def _words(draw: random.Random, n: int) -> str:
    return " ".join(draw.choices(_WORDS, k=n))


def _trace(finds: int) -> dict[str, Any]:
    """Nine calls, 300 leaves, about 10 KB."""
    draw = random.Random(7)
    tasks = [
        {
            "taskId": f"t{i}",
            "tool": "git:git_log",
            "args": {"repo": _words(draw, 8), "n": i},
            "result": [{"sha": f"{draw.getrandbits(160):040x}", "title": _words(draw, 8), "n": i} for _ in range(7)],
            "success": True,
            "state": "applied",
            "durationMs": 1.2,
            "timestamp": "2026-01-02T03:04:05.678Z",
            "callSite": 3,
            "source": "real",
            "isWrite": False,
        }
        for i in range(9)
    ]
    for i in range(finds):
        tasks[i % 9]["args"][f"note{i}"] = f"mail kim{i}@example.org"
    return {
        "traceId": "019a0000-0000-7000-8000-000000000001",
        "capabilityHash": "a" * 64,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "taskResults": tasks,
        "metadata": {"redactions": {}, "truncated": {}},
    }


@pytest.mark.parametrize(("finds", "reach"), [(0, "<= 0.15 ms"), (10, "<= 1.5 ms")])
def test_trace(benchmark: BenchmarkFixture, report: Report, finds: int, reach: str) -> None:
    sanitizer, wire = Sanitizer(known=["swordfish-9"]), _trace(finds)
    head = {name: value for name, value in wire.items() if name not in ("taskResults", "metadata")}
    tasks = [Part(encode(task), "") for task in wire["taskResults"]]
    texts = TraceTexts(Part(encode(head), ""), tasks, '{"backend":"wasm"}')
    assert sum(sanitizer.texts(texts).redactions.values()) == finds
    assert sum(sanitizer.trace(wire)["metadata"]["redactions"].values()) == finds
    benchmark.pedantic(sanitizer.texts, (texts,), rounds=5, warmup_rounds=1)
    engine, whole = _engine(), json.dumps(wire)
    against = (
        Baseline("json.dumps", median(_samples(_ROUNDS, lambda: json.dumps(wire)))),
        Baseline("Presidio's engine", median(_samples(3, lambda: engine.analyze(whole, "en")))),
    )
    as_text = _samples(_ROUNDS, lambda: sanitizer.texts(texts))
    as_value = _samples(_ROUNDS, lambda: sanitizer.trace(wire))
    report.add(Figure("sanitize", f"a run's trace, {finds} finds", _PAYLOAD, as_text, against, reach))
    report.add(Figure("sanitize", f"the same as a value, {finds} finds", _PAYLOAD, as_value, against, reach))


@pytest.mark.parametrize(("finds", "reach"), [(0, "<= 3 ms"), (10, "<= 20 ms")])
def test_second_pass(benchmark: BenchmarkFixture, report: Report, finds: int, reach: str) -> None:
    second, wire = SecondPass(), Sanitizer().trace(_trace(0))
    for i in range(finds):
        wire["taskResults"][i % 9]["args"][f"note{i}"] = _NUMBERS[i % len(_NUMBERS)]
    assert sum(second.trace(wire)["metadata"]["redactions"].values()) == finds
    benchmark.pedantic(second.trace, (wire,), rounds=5, warmup_rounds=1)
    engine, text = _engine(), json.dumps(wire)
    alone = Baseline("Presidio's engine", median(_samples(5, lambda: engine.analyze(text, "en"))))
    taken = _samples(_ROUNDS, lambda: second.trace(wire))
    report.add(Figure("sanitize", f"pass 2, {finds} finds", _PAYLOAD, taken, (alone,), reach))


# Each is left by pass 1.
_NUMBERS = ("ruf an: (030) 12345678", "telefono 612345678", "NIE X9613851N", "Steuer-ID 86095742719", "0612345678")


def _engine() -> Any:
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer import predefined_recognizers as presidio
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    names = ("Email", "Phone", "CreditCard", "Iban", "Ip", "UsSsn")
    registry = RecognizerRegistry(recognizers=[getattr(presidio, f"{name}Recognizer")() for name in names])
    language = NoOpNlpEngine([{"lang_code": "en", "model_name": ""}])
    language.load()
    return AnalyzerEngine(registry=registry, nlp_engine=language)


def test_clean_text(benchmark: BenchmarkFixture, report: Report) -> None:
    scan, text = masker.Masker((), None), _words(random.Random(7), _MB * 200_000)[: _MB * 1_000_000]
    assert len(text) == _MB * 1_000_000
    assert not scan.suspects(text)
    benchmark.pedantic(scan.suspects, (text,), rounds=5, warmup_rounds=1)
    dumps = Baseline("json.dumps", _MB / median(_samples(20, lambda: json.dumps(text))))
    rates = [_MB / seconds for seconds in _samples(20, lambda: scan.suspects(text))]
    report.add(Figure("sanitize", "MB of clean text scanned", f"{_MB} MB", rates, (dumps,), ">= 300/s", rate=True))
