"""Which tools write: names, annotations, overrides, descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from belljar.errors import ConfigError
from belljar.faker.calls import Operation, Tool
from belljar.faker.classify import ClassifyOptions, Override, classify, overrides_of
from belljar.faker.patterns import fits

_LABELLED = Path(__file__).with_name("tools_labelled.txt")
_OPERATION: dict[str, Operation] = {"r": "read", "w": "write"}


def _tool(name: str, description: str = "", **listed: object) -> Tool:
    return Tool(name, {"name": name, "description": description, **listed})


def _labelled() -> Iterator[tuple[str, Tool, Operation]]:
    for line in _LABELLED.read_text().splitlines():
        if not line.startswith("#"):
            server, rest = line.split(": ", 1)
            name, label, *description = rest.split(" ", 2)
            yield server, _tool(name, *description), _OPERATION[label]


def test_every_write_of_real_servers_is_found() -> None:
    """F53: of hundreds of tools of real servers, by name, no write is taken for a read, and few reads for a write."""
    labelled = list(_labelled())
    assert len(labelled) > 400
    missed = [tool.name for _, tool, label in labelled if label == "write" and classify(tool).operation == "read"]
    assert missed == []
    reads = [tool for _, tool, label in labelled if label == "read"]
    careful = [tool.name for tool in reads if classify(tool).operation == "write"]
    assert len(careful) <= len(reads) * 0.05, careful


_MISLEADING = """
    get_or_create getOrCreate list_and_delete read_write_file readWriteFile search_replace find-and-replace
    run_query execute_sql query sql_query fetch_and_store fetch_to_file set_config mark_read mark_as_read unread
    check_in checkIn checkout check-out post put reset sync import export open_issue close lock call invoke navigate
    click findOneAndUpdate getAndSet compare_and_swap peek_and_pop snapshot_restore poll_close query_run
    list_item_add view_create git_fetch read_and_then_purge preview_and_send lookup_or_provision list.append kv.set
    users/delete DELETE_USER deleteUser undelete toggle_light do_thing xyzzy gеt_user ... 42 str_replace_editor
    terminal batchDelete get_\u200bdelete explain_analyze explainAnalyzeQuery echo_to_slack scan_to_email show_to_user
    verify_payment verify-email get_unlock getLock get_refund compute_start compute_instances_start query_post
    get_reboot_now compute_launch fetch_into_queue

"""
_READING = """
    get_update_status list_delete_markers list_updates getUserById list_orders list_deleted_items
    get_issue_and_comments read-file readFile files.read fs/list kv.get user.getName users/list pull_request_read
    list_open_issues get_lock_status has_permission is_enabled describe_table get_order search_posts
    get_edit_history list_commits list_runs get_call_logs branch_list order_get take_screenshot resolve-library-id
    convert_time git_log pods_log conversations_history get_post get_content_type read_process_output get_restart_count
    get_exchange_rate verify_signature get_lock_status compare_branches explain_query

"""


def test_misleading_names_are_writes() -> None:
    """A verb that writes is found behind others, at the end, in any spelling; a name that says nothing is a write."""
    assert [n for n in _MISLEADING.split() if classify(_tool(n)).operation == "read"] == []


def test_things_named_like_verbs_are_read() -> None:
    """What a name reads may be called like a verb: an update's status, deleted items, a pull request."""
    assert [n for n in _READING.split() if classify(_tool(n)).operation == "write"] == []


@pytest.mark.parametrize(
    ("name", "risk"),
    [
        ("edit_file", "medium"),
        ("create_directory", "medium"),
        ("move_file", "medium"),
        ("write_file", "high"),
        ("delete_file", "high"),
        ("run_query", "high"),
        ("send_message", "high"),
        ("create_payment", "medium"),
        ("pay_invoice", "high"),
        ("create_pull_request", "medium"),
        ("list_and_delete", "high"),
        ("toggle_light", "low"),
        ("xyzzy", "low"),
        ("list_files", "low"),
    ],
)
def test_risk_comes_from_the_verb(name: str, risk: str) -> None:
    """F54: the riskiest verb decides; an annotation that says "write" leaves the risk to it."""
    assert classify(_tool(name)).risk == risk
    if classify(_tool(name)).operation == "write":
        assert classify(_tool(name, annotations={"readOnlyHint": False})).risk == risk


def test_an_annotation_wins_over_the_name() -> None:
    """`readOnlyHint` says what it is, either way; `destructiveHint` says write; both at once are a write."""
    reads = _tool("purge_cache_report", annotations={"readOnlyHint": True})
    assert (classify(reads).operation, classify(reads).reason) == ("read", "annotation readOnlyHint")
    assert classify(_tool("get_user", annotations={"readOnlyHint": False})).operation == "write"
    assert classify(_tool("get_user", annotations={"destructiveHint": True})).operation == "write"
    both = _tool("get_user", annotations={"readOnlyHint": True, "destructiveHint": True})
    assert classify(both).operation == "write"
    for nonsense in ("true", 1, None, {"a": 1}):
        assert classify(_tool("delete_user", annotations={"readOnlyHint": nonsense})).operation == "write"
    assert classify(reads, ClassifyOptions(annotations=False)).operation == "write"
    for warning in ({"readOnlyHint": False}, {"destructiveHint": True}):  # heeded even from who is not believed
        warned = _tool("get_user", annotations=warning)
        assert classify(warned, ClassifyOptions(annotations=False)).operation == "write"


def test_an_override_wins_over_all() -> None:
    """F54: what the user says stands above the annotation, by tool, by pattern, by server; the first one counts."""
    options = ClassifyOptions(overrides_of({"git:get_*": {"operation": "write", "risk": "high"}, "send": "read"}))
    tool = _tool("get_user", annotations={"readOnlyHint": True})
    assert classify(tool, options, server="git").risk == "high"
    assert classify(tool, options, server="svn").operation == "read"
    assert classify(_tool("send"), options).operation == "read"
    assert options.overrides[0] == Override("git:get_*", "write", "high")


@pytest.mark.parametrize("pattern", ["git:*", "*:wipe_all", "evil:wipe_all", "gi*:wipe*"])
def test_a_tool_cannot_call_itself_another_server_s(pattern: str) -> None:
    """F54: what is allowed of `git` is not taken by a tool that a server `evil` lists as `git:wipe_all`."""
    options = ClassifyOptions(overrides_of({pattern: "read"}))
    assert classify(_tool("git:wipe_all"), options, server="evil").operation == "write"
    for fitting in ("git:*", "*:git:wipe_all", "evil:git:*", "*"):
        assert fits(fitting, "git" if fitting == "git:*" else "evil", "git:wipe_all")
    assert fits("my:git:get_*", "my:git", "get_user")


@pytest.mark.parametrize("bad", [[], {"a": "maybe"}, {"a": {"operation": "read", "x": 1}}, {"a": {"risk": "low"}}])
def test_overrides_that_are_none(bad: object) -> None:
    """What is no override is refused by name, not passed over."""
    with pytest.raises(ConfigError):
        overrides_of(bad)


@pytest.mark.parametrize(
    ("name", "description", "operation"),
    [
        ("get_data", "Deletes every row.", "write"),
        ("get_thread", "Get or create a thread", "write"),
        ("search_things", "Search for things and remove those found.", "write"),
        ("analyze_table", "Collects statistics. Will update the catalog.", "write"),
        ("analyze_table", "Collects statistics. Does not modify anything.", "read"),
        ("query", "Run a read-only SQL query", "read"),
        ("query", "Run SQL", "write"),
        ("query_prometheus", "Query Prometheus using a PromQL expression", "read"),
        ("d1_query", "Query a database with any SQL statement", "write"),
        ("delete_user", "Only reads. This tool is read-only and safe.", "write"),
        ("xyzzy", "Gets the weather", "write"),
        ("get_users", "List users, with filters and updates since a date", "read"),
    ],
)
def test_a_description_only_makes_a_write(name: str, description: str, operation: Operation) -> None:
    """A description turns what looked like a read into a write, and never the other way."""
    assert classify(_tool(name, description)).operation == operation


def test_an_explanation_that_runs_the_statement_writes() -> None:
    """F53: `EXPLAIN ANALYZE` carries out what it explains."""
    schema = {"type": "object", "properties": {"sql": {"type": "string"}, "analyze": {"type": "boolean"}}}
    assert classify(_tool("explain_query", inputSchema=schema)).operation == "write"


def test_a_query_that_takes_any_statement_writes() -> None:
    """F53: a tool that runs the SQL it is given may do anything, unless it says that it only reads."""
    schema = {"type": "object", "properties": {"sql": {"type": "string"}}}
    assert classify(_tool("warehouse_query", inputSchema=schema)).operation == "write"
    assert classify(_tool("warehouse_query", "Read-only query", inputSchema=schema)).operation == "read"


@given(st.text(), st.text(), st.dictionaries(st.text(), st.integers() | st.text() | st.none()))
def test_no_listed_tool_breaks_it(name: str, description: str, annotations: dict[str, object]) -> None:
    """Whatever a server lists gets a verdict, and a name without a verb that reads is never a read."""
    verdict = classify(_tool(name, description, annotations=annotations))
    assert verdict.operation in ("read", "write")
    assert verdict.reason.isprintable()
