"""What a worker does between its request and its first result, done once for nothing by a child that waits for one."""

from __future__ import annotations

from plait._processes import worker

__all__ = ["rehearse"]


def rehearse() -> None:
    """Begin as a worker does, as far as that goes without a parent. Nothing of it remains but what is set anew then."""
    worker.rehearse_listening()
