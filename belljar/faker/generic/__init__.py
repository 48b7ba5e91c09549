"""A model for any server: things with an identity, found in arguments and answers, kept in the overlay."""

from belljar.faker.generic.model import GenericModel

__all__ = ["GenericModel"]
