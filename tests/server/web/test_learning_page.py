"""The page of learning: what it says, of what, and that it can be followed back to the traces."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.baselines import BASELINES
from belljar.learning.estimates import NOTHING, Evidence, estimate
from belljar.learning.evaluation import hold_out
from belljar.learning.runs import Run
from belljar.server.store import lessons, models
from belljar.server.store.learned import Thing, known
from belljar.server.store.models import NewModel
from tests.server.statements import recorded
from tests.server.traces import call, trace_id, wire
from tests.server.web.conftest import Site
from tests.server.web.test_pages import ago, seen


def ran(n: int, *tools: str, success: bool = True, **changes: object) -> dict[str, object]:
    tasks = [call(at, tool=tool, success=success or at < len(tools)) for at, tool in enumerate(tools, 1)]
    return wire(n, success=success, taskResults=tasks, timestamp=ago(1000 - n), **changes)


def test_where_nothing_is_known_it_says_so_and_what_to_do(site: Site) -> None:
    """F48: no table of zeros; the address to send traces to, and nothing to ask."""
    page = site.login().get("/learning")
    words = seen(page)
    assert "Nothing is known yet" in words
    assert f"BELLJAR_CLOUD_URL={site.url}" in unescape(page.text)
    assert "f-intent" not in page.text
    site.teach(wire(1, taskResults=[call(source="fake")]))
    assert "Nothing is known yet" in seen(site.login().get("/learning"))


def test_what_changed_is_said_with_the_traces_that_did_it(site: Site) -> None:
    """F43: a tool that always worked and breaks: from what to what, after which trace, and that trace is surprising."""
    site.teach(*(ran(n, "a:look", "b:send") for n in range(1, 31)))
    site.teach(ran(40, "a:look", "b:send", success=False))
    site.teach(ran(50, "c:other", capabilityId="local.default.git.other.abab"))
    page = site.login().get("/learning")
    words = seen(page)
    with site.api.db.read() as connection:
        found = known(connection, site.owner.tenant_id, [Thing("tool", "b:send")])[Thing("tool", "b:send")]
    (change,) = [
        each
        for each in lessons.changes(
            site.api.db, site.owner.tenant_id, lessons.newest(site.api.db, site.owner.tenant_id)
        )
        if each.name == "b:send"
    ]
    assert change.estimates[-1] == pytest.approx(found.chance)
    (move,) = [each for each in change.moves if not each.success]
    assert (move.trace_id, move.before > 0.9, move.after == change.estimates[-1]) == (trace_id(40), True, True)
    row = words[words.index("b:send tool") :]
    assert f"failed {move.before:.0%} → {move.after:.0%}" in row
    assert f'href="/traces/{trace_id(40)}"' in page.text
    highest = page.text[page.text.index("h-priorities") :]
    assert re.findall(r'data-row href="/traces/([^"]+)"', highest)[0] == trace_id(40)
    assert "Of the newest 32 real runs" in words


_OBSERVED = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30)


@given(_OBSERVED, _OBSERVED)
def test_what_was_estimated_before_is_found_again(
    earlier: list[tuple[str, bool]], later: list[tuple[str, bool]]
) -> None:
    """Observations taken back and made again give every estimate that there was, for any order of keys and outcomes."""
    by_key = dict[str, Evidence]()

    def then(key: str, success: bool) -> float:
        by_key[key] = by_key.get(key, NOTHING).then(success)
        return estimate(by_key.values())

    for key, success in earlier:
        then(key, success)
    before = estimate(by_key.values())
    estimates = [before, *(then(*each) for each in later)]
    assert lessons.unwound(later, by_key) == pytest.approx(estimates)


def test_what_is_missing_makes_no_estimate_impossible() -> None:
    """Traces that were pruned or sent twice over: still between 0 and 1, whatever is taken back."""
    known = {"a": Evidence(0.5, 0.0)}
    assert all(0 < each < 1 for each in lessons.unwound([("a", False)] * 20 + [("b", True)] * 20, known))


def test_a_long_path_counts_as_far_as_it_is_learned_from(site: Site) -> None:
    """Of more than eight calls the first eight; the ninth tool has no estimate, and none is shown."""
    site.teach(*(ran(n, *(f"s:t{at}" for at in range(9))) for n in range(1, 4)))
    traces = lessons.newest(site.api.db, site.owner.tenant_id)
    assert traces[0].tools == {f"s:t{at}" for at in range(8)}


def test_a_question_is_answered_with_evidence(site: Site) -> None:
    """F48: capability, next tool and way to a goal, with rate, interval, count, links; silence where nothing fits."""
    site.teach(*(ran(n, "git:log", "mail:send", intent="notes of the release") for n in range(1, 7)))
    client = site.login()
    page = client.get("/learning?intent=release+notes&context=git:log&goal=mail:send")
    words = seen(page)
    answer = words[words.index("Suggestion Success") : words.index("Who answers")]
    assert "local.default.git.release_notes.abab capability 100% 61%–100% 6" in answer
    assert "mail:send tool 100%" in answer
    assert "The way to it" in answer
    assert f'href="/traces/{trace_id(6)}"' in page.text
    assert "abstains" in seen(client.get("/learning?intent=quantum+chromodynamics"))
    for query in (f"intent={'x' * 2001}", "goal=%00", f"context={','.join(['a:b'] * 65)}"):
        assert client.get(f"/learning?{query}").status_code == 400


def test_a_question_costs_the_same_among_many(site: Site) -> None:
    """F85: how many statements a suggestion takes does not follow from how many capabilities there are."""
    client, asked = site.login(), list[int]()
    for some in (range(2), range(2, 60)):
        site.teach(*(ran(n, "s:t", intent="release notes", capabilityId=f"o.p.git.c{n}.abab") for n in some))
        with recorded() as statements:
            assert "o.p.git.c1" in client.get("/learning?intent=release+notes").text
        asked.append(len(statements))
    assert asked[1] <= asked[0] + 3  # evidence of five capabilities, not two


def test_an_evaluation_is_shown_with_who_won(site: Site) -> None:
    """F49: every scorer's figures by task, who answers and why, the last checkpoint, and how held-out runs came out."""
    site.teach(*(ran(n, "git:log", "mail:send", intent="notes") for n in range(1, 4)))
    ran_before = [Run(n, f"o.p.n.c{n % 3}", f"do {n % 3}", ("a:b", f"c:{n % 3}"), n % 4 > 0) for n in range(1, 101)]
    evaluation = hold_out(ran_before, {}, BASELINES)
    blob = NewModel(
        trained_at=datetime.now(UTC),
        traces=80,
        last_row=80,
        seed=0,
        seconds=1.5,
        embedder="hashed",
        dimensions=8,
        config={},
        evaluation=evaluation.to_wire(),
        uses=dict.fromkeys(evaluation.winners, False),
        blob=b"not looked at: it won nothing",
    )
    client = site.login()
    assert "Held out" not in seen(client.get("/learning"))
    models.save(site.api.db, site.owner.tenant_id, blob)
    page = client.get("/learning")
    words = seen(page)
    assert "Trained model version 1 of 80 traces" in words
    assert "Held out were the newest 20 traces" in words
    assert "Why: the model won nothing: counts answer" in words
    for task in (evaluation.capabilities, evaluation.tools, evaluation.chance):
        assert f"{task.winner} best" in words
        assert set(task.scorers) <= set(words.split())
    # Whoever of the simple ones is best: what the server can ask is counts.
    assert words.count("counts answers") + words.count("counts best answers") == 3
    assert f"{evaluation.capabilities.scorers['popularity'].hit1:.3f}" in words
    assert page.text.count('<tr class="winner">') == 3
    held_out = page.text[page.text.index("h-held-out") : page.text.index("h-surprise")]
    assert held_out.count("<circle") == len(evaluation.chance.scorers[evaluation.chance.winner].bins)


def test_tenants_learn_apart(site: Site) -> None:
    """Another tenant's page knows nothing, and names nobody."""
    site.teach(ran(1, "s:secret"))
    other = site.login(site.api.key("globex", "admin"))
    page = other.get("/learning?intent=release+notes")
    assert "Nothing is known yet" in seen(page)
    assert "s:secret" not in page.text
