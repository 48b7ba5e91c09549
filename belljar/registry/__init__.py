"""What this user keeps about capabilities and servers: here, on this machine."""

from belljar.registry.trust import TrustStore, identity

__all__ = ["TrustStore", "identity"]
