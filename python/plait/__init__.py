"""plait: Python's threads, processes and coroutines on one Rust engine."""

from plait._engine import __version__

__all__ = ["__version__"]
