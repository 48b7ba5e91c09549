"""The difference of two sessions: what was added, removed, changed, moved; and that it does not take long."""

from __future__ import annotations

import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from belljar.faker.calls import CallEvent
from belljar.faker.sessions import FILE, SessionStore
from belljar.faker.sessions.compare import Difference, Row, compare
from tests.faker.sessions.making import READ, WRITE, event, record


def _diff(folder: Path, before: list[CallEvent], after: list[CallEvent]) -> Difference:
    path = folder / FILE
    one, two = record(path, *before), record(path, *after)
    with SessionStore(path) as store:
        return compare(store.outcomes(one), store.outcomes(two), store.tools(one), store.tools(two))


def _read(path: str, text: str = "x") -> CallEvent:
    return event(READ, {"path": path}, text)


def test_equal_sessions_have_no_difference(tmp_path: Path) -> None:
    """F69: the same calls with the same answers are the same, whatever their times and `_meta`."""
    with_meta = _read("/a")
    with_meta.reply.result["_meta"] = {"took": 7}  # pyright: ignore[reportIndexIssue]
    found = _diff(tmp_path, [_read("/a"), _read("/b"), _read("/a")], [with_meta, _read("/b"), _read("/a")])
    assert not found
    assert found.same == 3


def test_added_removed_and_changed_calls_are_told_apart(tmp_path: Path) -> None:
    """F69: a call that is new, one that is gone, one with another answer, one with other arguments."""
    found = _diff(
        tmp_path,
        [_read("/a"), _read("/gone"), event(WRITE, {"path": "/w", "content": "1"}), _read("/b", "old")],
        [_read("/a"), event(WRITE, {"path": "/w", "content": "2"}), _read("/b", "new"), event(WRITE, {"path": "/n"})],
    )
    assert [row["arguments"] for row in found.removed] == ['{"path":"/gone"}']
    assert [row["arguments"] for row in found.added] == ['{"path":"/n"}']
    assert [(each.before["sequence"], each.after["sequence"], each.what) for each in found.changed] == [
        (3, 2, "arguments"),
        (4, 3, "answer"),
    ]
    assert found.same == 1
    assert found


def test_an_error_in_place_of_an_answer_is_a_change(tmp_path: Path) -> None:
    """The same call that failed now is changed."""
    found = _diff(tmp_path, [_read("/a")], [event(READ, {"path": "/a"}, error={"code": 1, "message": "no"})])
    assert [each.what for each in found.changed] == ["answer"]


def test_calls_in_another_order_are_moved(tmp_path: Path) -> None:
    """The same calls in another order are a difference, and only that."""
    found = _diff(tmp_path, [_read("/a"), _read("/b"), _read("/c")], [_read("/c"), _read("/a"), _read("/b")])
    assert (found.moved, found.added, found.removed, found.changed) == (1, [], [], [])
    assert found


def _row(sequence: int, key: str, answer: str) -> Row:
    return {
        "sequence": sequence, "server": "s", "tool": key[0], "key": key, "arguments": "{}",
        "response": f'{{"a":"{answer}"}}', "error": None,
    }  # fmt: skip


_ROWS = st.lists(st.tuples(st.sampled_from(["a1", "a2", "b1"]), st.sampled_from("xy")), max_size=12).map(
    lambda made: [_row(n, key, answer) for n, (key, answer) in enumerate(made)]
)


@given(_ROWS, _ROWS)
def test_every_call_is_counted_once(before: list[Row], after: list[Row]) -> None:
    """Each call of both is the same, changed, added or removed, and exactly one of these."""
    found = compare(before, after)
    assert found.same + len(found.changed) + len(found.removed) == len(before)
    assert found.same + len(found.changed) + len(found.added) == len(after)
    assert not compare(before, before)


def test_ten_thousand_calls_are_listed_and_compared_at_once(tmp_path: Path) -> None:
    """Figures: with 2 x 10,000 calls, list takes <= 50 ms and diff <= 1 s, reading them included."""
    path = tmp_path / FILE
    one = record(path, *(_read(f"/{n}", "x" * 500) for n in range(10_000)))
    two = record(path, *(_read(f"/{n}", "x" * 500 + ("!" if n % 100 == 0 else "")) for n in range(1, 10_001)))
    with SessionStore(path) as store:
        start = time.process_time()
        assert len(store.sessions()) == 2
        listed = time.process_time() - start
        start = time.process_time()
        found = compare(store.outcomes(one), store.outcomes(two), store.tools(one), store.tools(two))
        compared = time.process_time() - start
    assert (len(found.added), len(found.removed), len(found.changed), found.moved) == (1, 1, 99, 0)
    assert listed <= 0.05
    assert compared <= 1.0
    print(f"list {listed * 1e3:.2f} ms, diff {compared * 1e3:.0f} ms")
