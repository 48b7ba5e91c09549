"""What this user keeps about capabilities and servers here on this machine, and the way to a registry of them."""

from belljar.registry.capabilities import HERE, CapabilityStore, Kept
from belljar.registry.resolve import Resolved, Resolver
from belljar.registry.trust import TrustStore, identity

__all__ = ["HERE", "CapabilityStore", "Kept", "Resolved", "Resolver", "TrustStore", "identity"]
