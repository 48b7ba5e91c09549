"""From a name to a code that may be run: this machine's store first, then the registry, and the user's word for what
is new under a known name.

A registry is asked once: what it gives is kept, and from then on the name is answered here. A name that is not known
yet is pinned when it is first seen. Another code under a known name - another version, or a registry that changed its
mind - is kept as well, but comes back with `pinned` False and what was pinned before it: whoever runs it asks a person
first, and tells the store of a lasting yes.

The organisation `local` is this machine's: no registry is asked for what is in it, so that nobody can answer for a name
that was never published. What is asked of a registry is only ever what the user named or what a code declares before
it runs, never what running code says: a name would be a letter that it could send.
"""

from __future__ import annotations

from dataclasses import dataclass

from belljar import fqdn
from belljar.errors import ValidationError
from belljar.fqdn import Fqdn
from belljar.registry.capabilities import CapabilityStore, Kept
from belljar.registry.remote import Registry

__all__ = ["Resolved", "Resolver"]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A code whose hash was just taken and is the one its name says."""

    kept: Kept
    code: str
    before: Kept | None
    """If it is not pinned: the version of that name that is."""


class Resolver:
    """Finds capabilities by name. Without a `registry`, on this machine alone."""

    def __init__(self, store: CapabilityStore, registry: Registry | None = None) -> None:
        self.store = store
        self._registry = registry

    def here(self, name: Fqdn) -> Resolved | None:
        """What this machine has under a name; asks nobody.

        Raises:
            ValidationError: four digits that two hashes share; a file that was changed.
            ConfigError: the store cannot be used.
        """
        kept = self.store.find(name)
        code = None if kept is None else self.store.code(kept)
        return None if kept is None or code is None else self._resolved(kept, code)

    async def find(self, name: Fqdn) -> Resolved:
        """What this machine has under a name, or what the registry has.

        Raises:
            ValidationError: nobody knows it; and as `here`.
            UpstreamError, ConfigError: as `Registry.fetch`.
        """
        return self.here(name) or await self.fetch(self._exactly(name))

    async def fetch(self, name: Fqdn) -> Resolved:
        """What the registry has under a name now; it is kept here.

        Raises:
            ValidationError: it has nothing of that name, or only what was withdrawn; there is no registry to ask.
            UpstreamError, ConfigError: as `Registry.fetch`.
        """
        if name.org == fqdn.LOCAL_ORG:
            raise ValidationError(f"no capability {name} is on this machine: `belljar capability add FILE` keeps one")
        if self._registry is None:
            raise ValidationError(
                f"no capability {name} is on this machine, and no registry is configured: set BELLJAR_CLOUD_URL"
            )
        fetched = await self._registry.fetch(name)
        if fetched is None:
            raise ValidationError(f"neither this machine nor {self._registry.origin} has a capability {name}")
        if fetched.withdrawn:
            self._refuse_unless_pinned(fetched.fqdn)
        kept = self.store.add(fetched.fqdn, fetched.code, origin=fetched.origin)
        return self._resolved(kept, fetched.code)

    def _refuse_unless_pinned(self, name: Fqdn) -> None:
        kept = self.store.find(name)
        if kept is None or not kept.pinned:
            raise ValidationError(f"{name} was withdrawn by who published it: ask for another version")

    def _exactly(self, name: Fqdn) -> Fqdn:
        """The name with the hash that is known here: a file that is gone is fetched again, and nothing else for it."""
        kept = self.store.find(name)
        return name if kept is None else kept.fqdn

    def _resolved(self, kept: Kept, code: str) -> Resolved:
        return Resolved(kept, code, None if kept.pinned else self.store.find(kept.fqdn.at("")))
