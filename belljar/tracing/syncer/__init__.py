"""The syncer: a process of its own, owned by the jar, that sends what the spool holds."""

from belljar.tracing.syncer.handle import SyncerProcess
from belljar.tracing.syncer.now import sync_now
from belljar.tracing.syncer.settings import Pace, SyncSettings

__all__ = ["Pace", "SyncSettings", "SyncerProcess", "sync_now"]
