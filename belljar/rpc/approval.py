"""Approvals: a person's yes to one call, bound to everything it was said about.

A request shows the complete canonical arguments. The approval that answers it is good for exactly that run, call, tool,
arguments, code, policy and tool definition, once, for 24 hours; if any of them is another when it is to be used, it is
not an approval for that. `Approver` is the seam to whoever can ask a person: a terminal, a program, nobody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from belljar.rpc.world import ToolInfo

__all__ = ["LIFETIME_S", "Approval", "ApprovalRequest", "Approvals", "Approver", "Subject", "Word"]

LIFETIME_S = 24 * 3600
"""Seconds after which an approval is void, and after which nobody is waited for any longer."""

Word = Literal["once", "always", "deny"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What an approval is about; equal in every field, or it is another."""

    run: str
    call_id: int
    server: str
    tool: str
    args_sha256: str
    code_sha256: str
    policy_digest: str
    tool_digest: str


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """What a person is asked. Names, arguments and description are foreign text: show them through `belljar.show`."""

    subject: Subject
    tool: ToolInfo
    args: str
    """The complete arguments, canonical JSON."""
    rule: str
    """Why it is asked: `default`, `ask git:*`, `changed since pinned`."""
    line: int


@dataclass(frozen=True, slots=True)
class Approval:
    """A yes, and until when."""

    subject: Subject
    expires_at_ns: int

    @staticmethod
    def given(subject: Subject, now_ns: int) -> Approval:
        return Approval(subject, now_ns + LIFETIME_S * 1_000_000_000)

    def holds(self, subject: Subject, now_ns: int) -> bool:
        return self.subject == subject and now_ns < self.expires_at_ns


class Approvals:
    """Approvals not yet used. Each can be taken once."""

    def __init__(self, *approvals: Approval) -> None:
        self._unused = {approval.subject: approval for approval in approvals}

    def add(self, approval: Approval) -> None:
        self._unused[approval.subject] = approval

    def take(self, subject: Subject, now_ns: int) -> bool:
        """Whether there is a valid approval for exactly this; it is used up by asking."""
        approval = self._unused.pop(subject, None)
        return approval is not None and approval.holds(subject, now_ns)


class Approver(Protocol):
    """Can ask a person."""

    async def ask(self, request: ApprovalRequest) -> Word | None:
        """`once`: this call. `always`: this tool as it is now. `deny`: not this tool. None: nobody is there."""
        ...
