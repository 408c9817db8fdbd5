"""A future for a call that is made elsewhere: by an executor with futures of its own, or by one yet to be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plait._engine import FutureCore
from plait.concurrent.futures import Future

if TYPE_CHECKING:
    from concurrent.futures import Future as AnyFuture

__all__ = ["Follower", "awaitable"]


def awaitable(future: AnyFuture[Any]) -> Future[Any]:
    """The future itself where it is plait's; else one of plait's, which can be awaited, that follows it."""
    if isinstance(future, FutureCore):
        return future  # type: ignore[return-value]
    follower = Follower()
    follower.follow(future)
    return follower


class Follower(Future):  # type: ignore[type-arg]
    """A future that ends as another one does, which is named later: with `follow`, once."""

    __slots__ = ("_followed",)
    _followed: AnyFuture[Any] | None

    def __init__(self) -> None:
        super().__init__()
        self._followed = None

    def follow(self, future: AnyFuture[Any]) -> None:
        """End as `future` does."""
        self._followed = future
        if self.cancelled():
            # It was cancelled before we said whom to ask.
            future.cancel()
        future.add_done_callback(self._settle)

    def fail(self, error: BaseException) -> None:
        """End with `error`: there is nothing to follow."""
        if self.set_running_or_notify_cancel():
            self.set_exception(error)

    def cancel(self) -> bool:
        """Cancel the call, if the executor that has it can."""
        followed = self._followed
        if followed is not None and not self.done() and not followed.cancel():
            return False
        cancelled: bool = super().cancel()
        return cancelled

    def running(self) -> bool:
        """Whether the call is being made."""
        followed = self._followed
        return super().running() if followed is None else followed.running()

    @property
    def telemetry(self) -> dict[str, Any] | None:
        """That of the call, where its executor tells it: as `plait.Future.telemetry`."""
        told: dict[str, Any] | None = getattr(self._followed, "telemetry", None)
        return told

    def _settle(self, followed: AnyFuture[Any]) -> None:
        if followed.cancelled():
            super().cancel()
        if not self.set_running_or_notify_cancel():
            return
        error = followed.exception()
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(followed.result())
