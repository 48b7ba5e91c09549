"""The hypergraph: who calls whom, whatever names and circles come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from belljar.learning.hypergraph import Hypergraph, LeftOut, build
from belljar.learning.runs import Run
from tests.learning.small_worlds import run

names = st.text(max_size=6) | st.sampled_from(["s:a", "s:b", "capability:n:a", "capability:o.p.n.b", "capability:"])
paths = st.lists(names, max_size=6).map(tuple)
runs = st.lists(
    st.builds(Run, st.integers(1), st.sampled_from(["o.p.n.a", "o.p.n.b", "x"]) | names, names, paths, st.booleans())
)


def pairs(graph: Hypergraph) -> set[tuple[str, str, float]]:
    """Incidences by name."""
    vertices, nested = graph.vertices, graph.nested
    of_tools = zip(vertices.around, vertices.members, vertices.runs, strict=True)
    of_nested = zip(nested.around, nested.members, nested.runs, strict=True)
    called = {(graph.capabilities[a], graph.tools[m], float(n)) for a, m, n in of_tools}
    return called | {(graph.capabilities[a], graph.capabilities[m], float(n)) for a, m, n in of_nested}


def test_capabilities_lie_around_what_they_called() -> None:
    """Members and in how many runs; a nested run is the capability of that name, by either form of it."""
    graph = build(
        [
            run(1, "o.p.git.notes", "", ("git:log", "git:log", "git:tag")),
            run(2, "o.p.git.notes", "", ("git:log",), success=False),
            run(3, "o.p.day.report", "", ("capability:git:notes", "mail:send")),
            run(4, "o.p.day.report", "", ("capability:o.p.git.notes",)),
            run(5, "o.p.empty.one", "", ()),
        ]
    )
    assert pairs(graph) == {
        ("o.p.git.notes", "git:log", 2.0),
        ("o.p.git.notes", "git:tag", 1.0),
        ("o.p.day.report", "mail:send", 1.0),
        ("o.p.day.report", "o.p.git.notes", 2.0),
    }
    notes = len(graph.tools) + graph.capabilities.index("o.p.git.notes")
    assert graph.calls["capability:git:notes"] == graph.calls["capability:o.p.git.notes"] == notes
    assert "o.p.empty.one" in graph.capabilities


def test_a_nested_run_nobody_has_seen_is_a_tool() -> None:
    """Its name is all that is known of it."""
    graph = build([run(1, "o.p.a.b", "", ("capability:far:away",))])
    assert graph.tools == ("capability:far:away",)
    assert pairs(graph) == {("o.p.a.b", "capability:far:away", 1.0)}


def test_circles_of_nesting_are_kept_and_nobody_lies_around_itself() -> None:
    """a runs b, b runs a, and a runs itself: two incidences."""
    graph = build(
        [run(1, "o.p.n.a", "", ("capability:n:b", "capability:n:a")), run(2, "o.p.n.b", "", ("capability:n:a",))]
    )
    assert pairs(graph) == {("o.p.n.a", "o.p.n.b", 1.0), ("o.p.n.b", "o.p.n.a", 1.0)}


def test_the_most_used_are_kept_and_the_rest_is_counted() -> None:
    """Bounded in nodes of both kinds and in incidences; a name of a thousand characters is left out."""
    history = [run(i, f"o.p.n.c{i % 5}", "", ("s:every", f"s:t{i}")) for i in range(1, 21)]
    history += [run(30 + i, "o.p.n.c0", "", ("s:t1", "x" * 1000)) for i in range(3)]
    graph = build(history, most_tools=2, most_capabilities=3, most_incidences=2)
    assert graph.tools == ("s:every", "s:t1")
    assert graph.capabilities == ("o.p.n.c0", "o.p.n.c1", "o.p.n.c2")
    assert graph.left_out == LeftOut(tools=20, capabilities=2, incidences=3 + 1 + 1 - 2)
    assert len(graph.vertices.around) == 2


@given(runs)
def test_any_history_makes_a_hypergraph(history: list[Run]) -> None:
    """Whatever the names are: places are in range, and the order of the runs makes no difference."""
    graph = build(history)
    assert build(history[::-1]).tools == graph.tools
    assert pairs(build(history[::-1])) == pairs(graph)
    assert all(0 <= node < len(graph) for node in graph.calls.values())
    assert len(graph.node_texts({})) == len(graph)
    for some in (graph.vertices, graph.nested):
        assert (some.runs >= 1).all()
        assert len(set(zip(some.around.tolist(), some.members.tolist(), strict=True))) == len(some.around)
