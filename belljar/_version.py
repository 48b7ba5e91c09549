"""The version, here and nowhere else: the build reads it from this file, and so do traces, without a look-up."""

from __future__ import annotations

__version__ = "0.1.0"
