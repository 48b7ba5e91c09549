"""When code may call a tool unasked: a threshold that rises with failures, and a draw that nobody can repeat."""

from __future__ import annotations

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.estimates import Evidence
from belljar.learning.trust import (
    WINDOW,
    Risk,
    Standing,
    draw,
    judge,
    luck_of,
    pooled,
    risk_of,
    threshold,
)

OWN = "mine"
LUCK = (0.5, 0.5)
SEEDS = [((i + 0.5) / 40, ((i * 17) % 40 + 0.5) / 40) for i in range(40)]
AUTOMATIC = [Risk.READ, Risk.OPEN, Risk.WRITE]


def standing(outcomes: str, key: str = OWN) -> Standing:
    """`+` a run that went well, `-` one that did not, oldest first."""
    return Standing.of([(key, outcome == "+") for outcome in outcomes[-WINDOW:]], OWN)


def share(risk: Risk, outcomes: str) -> float:
    """Of forty machines, how many would call unasked."""
    seen = standing(outcomes)
    return sum(judge(risk, seen, seen, luck).allowed for luck in SEEDS) / len(SEEDS)


READ, CLOSED, KIND = {"readOnlyHint": True}, {"openWorldHint": False}, {"destructiveHint": False}


@pytest.mark.parametrize(
    ("annotations", "risk"),
    [
        ({**READ, **CLOSED}, Risk.READ),
        ({**READ, **CLOSED, **KIND}, Risk.READ),
        (READ, Risk.OPEN),
        ({**READ, "openWorldHint": True}, Risk.OPEN),
        ({**READ, "openWorldHint": 0}, Risk.OPEN),
        (KIND, Risk.WRITE),
        ({**KIND, **CLOSED, "readOnlyHint": False}, Risk.WRITE),
        ({}, Risk.DESTRUCTIVE),
        (CLOSED, Risk.DESTRUCTIVE),
        ({"readOnlyHint": "true", **CLOSED}, Risk.DESTRUCTIVE),
        ({"destructiveHint": 0}, Risk.DESTRUCTIVE),
        ({"destructiveHint": True}, Risk.DESTRUCTIVE),
        ({**READ, **CLOSED, "destructiveHint": True}, Risk.DESTRUCTIVE),
    ],
)
def test_risk(annotations: dict[str, object], risk: Risk) -> None:
    """F49: by what is said in so many words; what is not said, or said and gainsaid, is the worst."""
    assert risk_of(annotations) is risk


GOOD, FLAKY, BAD = standing("+" * 40), standing("+++-" * 10), standing("-" * 40)

TABLE: list[tuple[str, Risk, Standing, Standing, bool, str]] = [
    ("good", Risk.READ, GOOD, GOOD, True, "read: 0.97 >= 0.70 (40 of 40 ok)"),
    ("good, open", Risk.OPEN, GOOD, GOOD, True, "open: 0.97 >= 0.80 (40 of 40 ok)"),
    ("good, writes", Risk.WRITE, GOOD, GOOD, True, "write: 0.97 >= 0.90 (40 of 40 ok)"),
    ("destructive", Risk.DESTRUCTIVE, GOOD, GOOD, False, "destructive"),
    ("nothing known", Risk.READ, Standing(), Standing(), False, "no evidence"),
    ("new code", Risk.READ, GOOD, Standing(), False, "no evidence by this code"),
    ("young", Risk.READ, standing("+++"), standing("+++"), False, "little evidence (3 of 3 ok)"),
    ("young code", Risk.READ, GOOD, standing("+++"), False, "little evidence (3 of 3 ok) by this code"),
    ("enough to read", Risk.READ, standing("+" * 8), standing("+" * 8), True, "read: 0.92 >= 0.70 (8 of 8 ok)"),
    ("too little to write", Risk.WRITE, standing("+" * 8), GOOD, False, "little evidence (8 of 8 ok)"),
    ("flaky tool", Risk.READ, FLAKY, GOOD, False, "read: 0.73 < 0.92 (30 of 40 ok)"),
    ("flaky code", Risk.READ, GOOD, FLAKY, False, "read: 0.73 < 0.92 (30 of 40 ok by this code)"),
    ("bad", Risk.READ, BAD, GOOD, False, "read: 0.02 < 1.00 (0 of 40 ok)"),
    ("another's word", Risk.READ, standing("+" * 40, "x"), GOOD, False, "evidence of one other key alone"),
]


@pytest.mark.parametrize(("risk", "tool", "here", "allowed", "why"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE])
def test_table(risk: Risk, tool: Standing, here: Standing, allowed: bool, why: str) -> None:
    """F49: what is decided, by what, and in which words."""
    verdict = judge(risk, tool, here, LUCK)
    assert (verdict.allowed, verdict.why) == (allowed, why)


@pytest.mark.parametrize("risk", AUTOMATIC)
def test_a_flaky_tools_threshold_rises_and_falls_back(risk: Risk) -> None:
    """F49: with failures the threshold rises and fewer go unasked, down to none; with successes it all comes back."""
    history, thresholds, shares = "+" * 40, list[float](), list[float]()
    for outcome in "-" * 12 + "+" * 60:
        thresholds.append(threshold(risk, standing(history).evidence))
        shares.append(share(risk, history))
        history += outcome
    failing, recovering = slice(0, 13), slice(12, None)
    assert thresholds[failing] == sorted(thresholds[failing])
    assert shares[failing] == sorted(shares[failing], reverse=True)
    assert thresholds[recovering] == sorted(thresholds[recovering], reverse=True)
    assert shares[recovering] == sorted(shares[recovering])
    assert thresholds[0] + 0.05 < thresholds[12] > thresholds[-1]
    assert (shares[0] > 0.8, shares[12], shares[-1] > 0.2) == (True, 0.0, True)


@given(
    st.sampled_from(AUTOMATIC),
    st.text("+-", max_size=WINDOW + 20),
    st.text("+-", max_size=WINDOW),
    st.sampled_from(SEEDS),
)
def test_a_success_never_hurts_and_a_failure_never_helps(
    risk: Risk, tool: str, here: str, luck: tuple[float, float]
) -> None:
    """F49: under the same luck one more success takes no permission away, and one more failure gives none."""

    def allowed(tool: str, here: str) -> bool:
        return judge(risk, standing(tool), standing(here), luck).allowed

    for better, as_is, worse in [
        ((tool + "+", here), (tool, here), (tool + "-", here)),
        ((tool, here + "+"), (tool, here), (tool, here + "-")),
    ]:
        enough = standing(as_is[0]).n >= WINDOW and standing(as_is[1]).n >= WINDOW
        assert allowed(*better) >= allowed(*as_is)
        # With little evidence a failure is evidence too, and may be what was missing.
        assert not enough or allowed(*worse) <= allowed(*as_is)


@given(st.sampled_from(AUTOMATIC), st.text("+-", max_size=WINDOW))
def test_never_below_the_floor(risk: Risk, outcomes: str) -> None:
    """F49: whatever was seen and however lucky: below the floor on average, or by the draw, it is asked."""
    seen = standing(outcomes)
    floor = threshold(risk, Evidence())
    assert threshold(risk, seen.evidence) >= floor
    allowed = judge(risk, seen, GOOD, (1 - 2**-53, 0.999)).allowed
    assert not allowed or seen.evidence.mean() >= floor


def test_the_draw_is_the_quantile() -> None:
    """Held against the closed form for whole counts, the binomial sum, to the hundredth below."""

    def below(x: float, a: int, b: int) -> float:
        n = a + b - 1
        return math.fsum(math.comb(n, j) * x**j * (1 - x) ** (n - j) for j in range(a, n + 1))

    for successes, failures, luck in product((0, 1, 5, 36), (0, 1, 4, 36), (0.001, 0.3, 0.5, 0.9, 0.999)):
        drawn = draw(Evidence(successes, failures), luck)
        a, b = 1 + successes, 1 + failures
        assert below(drawn, a, b) <= luck + 1e-9
        assert below(min(1.0, drawn + 0.01), a, b) > luck - 1e-9


def test_luck_is_the_machines_the_subjects_and_the_days() -> None:
    """F49: the same again, however often it is asked; another secret, day or subject is another, all of them even."""
    again = {luck_of(b"s" * 32, 20_000, "tool", "git", "log", "digest") for _ in range(1000)}
    assert len(again) == 1
    others = {
        luck_of(b"t" * 32, 20_000, "tool", "git", "log", "digest"),
        luck_of(b"s" * 32, 20_001, "tool", "git", "log", "digest"),
        luck_of(b"s" * 32, 20_000, "tool", "git", "log2", "digest"),
        luck_of(b"s" * 32, 20_000, "tool", "gitl", "og", "digest"),
    }
    assert len(others | again) == 5
    lucks = [luck_of(b"s" * 32, day, "x") for day in range(2000)]
    assert all(0 <= luck < 1 for luck in lucks)
    for tenth in range(10):
        assert 140 < sum(tenth <= 10 * luck < tenth + 1 for luck in lucks) < 260


def test_more_evidence_is_no_new_draw() -> None:
    """F49: a hundred quick runs of a flaky tool get the answer of the first: by evidence it moves, never at random."""
    history, answers = "+++-" * 16, list[bool]()
    luck = (luck_of(b"s" * 32, 1, "tool"), luck_of(b"s" * 32, 1, "code"))
    for _ in range(100):
        answers.append(judge(Risk.READ, standing(history), standing(history), luck).allowed)
        history += "+++-"[len(history) % 4]
    assert not any(answers)


# Keys


def test_one_key_of_two_cannot_talk_a_tool_up() -> None:
    """F49: however much one of two keys says, it lifts what the other saw, and a third believes, by a fifth at most."""
    saw = Evidence(10, 10)
    for shouts in (Evidence(5, 0), Evidence(19, 0), Evidence(20, 0), Evidence(21, 0), Evidence(50, 0)):
        for own in ("a", "c"):
            assert pooled({"a": saw, "b": shouts}, own).mean() <= saw.mean() + 0.2 + 1e-9
    outcomes = [("a", n % 2 == 0) for n in range(20)] + [("b", True)] * 40
    for own in ("a", "c"):
        seen = Standing.of(outcomes, own)
        assert not any(judge(risk, seen, seen, luck).allowed for risk, luck in product(AUTOMATIC, SEEDS))


def test_one_failure_of_a_colleague_is_one_failure() -> None:
    """What another key saw counts as what it is: one failed run beside forty of one's own takes nothing away."""
    seen = Standing.of([(OWN, True)] * 40 + [("x", False)], OWN)
    assert judge(Risk.READ, seen, seen, LUCK).allowed


def test_another_key_counts_for_no_more_than_the_rest() -> None:
    """F49: one run of one's own beside forty of another's is as good as two; alone another is not believed at all."""
    seen = Standing.of([("x", True)] * 40 + [(OWN, True)], OWN)
    assert seen.evidence.n == pytest.approx(2)
    assert judge(Risk.READ, seen, seen, LUCK).why == "little evidence (41 of 41 ok)"
    many = Standing.of([("x", True), ("y", True), ("z", True)] * 12, OWN)
    assert judge(Risk.READ, many, many, LUCK).allowed
    assert (many.keys, many.own) == (3, False)


@given(st.dictionaries(st.sampled_from("abcd"), st.tuples(st.floats(0, 50), st.floats(0, 50)), max_size=4))
def test_pooled_is_evidence(seen: dict[str, tuple[float, float]]) -> None:
    """Pooling gives counts that are finite and not negative, no more than there were."""
    by_key = {key: Evidence(*counts) for key, counts in seen.items()}
    both = pooled(by_key, "a")
    assert both.successes >= 0 <= both.failures
    assert both.n <= sum(evidence.n for evidence in by_key.values()) + 1 + 1e-6
