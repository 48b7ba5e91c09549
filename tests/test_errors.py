from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from belljar import errors
from belljar.errors import EXIT, BelljarError, Code

TABLE = {
    "CAPABILITY_ERROR": 1,
    "SYNTAX_ERROR": 1,
    "RESULT_NOT_JSON": 1,
    "EXECUTION_TIMEOUT": 1,
    "MEMORY_LIMIT": 1,
    "RESULT_LIMIT": 1,
    "CALL_LIMIT": 1,
    "RPC_ERROR": 1,
    "RPC_TIMEOUT": 1,
    "UNKNOWN_TOOL": 1,
    "PERMISSION_DENIED": 1,
    "REPLAY_DIVERGENCE": 1,
    "PROTOCOL_ERROR": 1,
    "VALIDATION_ERROR": 2,
    "CONFIG_ERROR": 2,
    "APPROVAL_REQUIRED": 3,
    "WALL_MISSING": 4,
    "WORKER_CRASH": 4,
    "UPSTREAM_UNAVAILABLE": 4,
    "INTERRUPTED": 130,
}
CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, BelljarError)]


def test_codes_and_exits_are_the_contract() -> None:
    """The closed list, name by name, with the exit status of each."""
    assert {code.value: EXIT[code] for code in Code} == TABLE


@pytest.mark.parametrize("cls", CLASSES)
def test_each_error_has_a_code_of_the_list(cls: type[BelljarError]) -> None:
    """Whatever is raised can be told apart by its code."""
    assert cls.default_code in Code
    assert cls.__name__ in errors.__all__


def test_a_code_travels_as_itself() -> None:
    """F7: words in a message do not change what an error is."""
    error = errors.UpstreamError("timeout: EXECUTION_TIMEOUT", server="git")
    assert error.code is Code.RPC_ERROR
    assert (error.server, error.data) == ("git", None)
    assert errors.GuestError("x", code=Code.MEMORY_LIMIT, line=3).line == 3


def test_value_modules_are_cheap_to_import() -> None:
    """Codes, limits and names pull in nothing heavy."""
    heavy = "{'asyncio', 'mcp', 'pydantic', 'jsonschema', 'rich', 'wasmtime', 're2'}"
    script = (
        f"import sys, belljar.errors, belljar.limits, belljar.fqdn, belljar.show; print({heavy} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
