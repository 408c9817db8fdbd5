"""The event loop: what is hot is native (`plait._engine.asyncio.LoopCore`), the rest is the running version's own.

`EventLoop` derives from the native half first and from the selector loop of the standard library second, so arguments,
checks and texts of what is inherited are always those of the running version. See docs/design/loop.md.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import threading
from asyncio import base_events, events, format_helpers, tasks
from asyncio.unix_events import SelectorEventLoop as _StandardLoop

from plait._engine.asyncio import LoopCore, Transports
from plait.asyncio._net import Net
from plait.asyncio._tls import Tls
from plait.asyncio._work import Work

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from plait.asyncio._stall import Stall

__all__ = ["EventLoop"]


class _Watched(selectors.BaseSelector):
    """What the loop watches, as a selector shows it. The loop itself polls natively."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop: EventLoop | None = loop

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        raise NotImplementedError("plait's loop polls natively: use add_reader() and add_writer()")

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        raise NotImplementedError("plait's loop polls natively: use remove_reader() and remove_writer()")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        raise NotImplementedError("plait's loop polls natively")

    def close(self) -> None:
        self._loop = None

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        watched = self.get_map()
        if watched is None:
            raise RuntimeError("Selector is closed")
        try:
            return watched[fileobj if isinstance(fileobj, int) else fileobj.fileno()]
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        if self._loop is None:
            return None  # type: ignore[return-value]  # as the selectors of the standard library
        return {
            fd: selectors.SelectorKey(
                fd,
                fd,
                (selectors.EVENT_READ if reader else 0) | (selectors.EVENT_WRITE if writer else 0),
                (reader, writer),
            )
            for fd, (reader, writer) in self._loop._watched().items()
        }


class _Queued:
    """What is ready, or scheduled, as far as the standard library's code looks at it."""

    def __init__(self, loop: EventLoop, count: str) -> None:
        self._loop = loop
        self._count = count

    def __len__(self) -> int:
        count: int = getattr(self._loop, self._count)()
        return count

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def append(self, handle: Any) -> None:
        self._loop._add_callback(handle)

    def clear(self) -> None:
        self._loop._drop_all()


class EventLoop(Net, Tls, Work, LoopCore, _StandardLoop):
    """An event loop, as `asyncio.EventLoop`.

    With a `selector` of the program's own it is the standard library's loop: plait's polls natively.
    """

    if TYPE_CHECKING:  # what the standard library's loop has, and typeshed does not tell
        _csock: Any
        _signal_handlers: Any
        _task_factory: Any
        _old_agen_hooks: Any
        _check_closed: Any
        _check_running: Any
        _set_coroutine_origin_tracking: Any
        _asyncgen_firstiter_hook: Any
        _asyncgen_finalizer_hook: Any
        _add_callback: Any

    _stall: Stall | None = None  # while it runs, if asked for

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        if cls is EventLoop and (args or kwargs) and (*args, *kwargs.values()) != (None,):
            return _StandardLoop(*args, **kwargs)
        return super().__new__(cls)

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        if selector is not None:
            raise NotImplementedError("plait's loop polls natively: a subclass of it cannot have a selector")
        super().__init__(_Watched(self))
        self._transports = Transports()
        self._ps = None
        if os.environ.get("PLAIT_PS", "0") not in ("", "0"):
            from plait.asyncio import _ps

            self._ps = _ps.listen(self)

    def close(self) -> None:
        """Close the event loop."""
        if self._ps is not None and not self.is_running():
            self.remove_reader(self._ps)
            self._ps.close()
            self._ps = None
        super().close()

    # --- what the standard library keeps in lists ---------------------------------------------------

    @property
    def _ready(self) -> _Queued:
        return _Queued(self, "_ready_count")

    @_ready.setter
    def _ready(self, queue: object) -> None:
        pass

    @property
    def _scheduled(self) -> _Queued:
        return _Queued(self, "_timer_count")

    @_scheduled.setter
    def _scheduled(self, queue: object) -> None:
        pass

    # --- running ------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until stop() is called."""
        self._run_forever_setup()
        try:
            self._run()
        finally:
            self._run_forever_cleanup()

    def _run_forever_setup(self) -> None:
        self._check_closed()
        self._check_running()
        self._watch_stalls()  # first: it may refuse what the environment says
        self._set_coroutine_origin_tracking(self._debug)
        self._old_agen_hooks = sys.get_asyncgen_hooks()
        self._thread_id = threading.get_ident()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_firstiter_hook, finalizer=self._asyncgen_finalizer_hook)
        self._old_wakeup = self._watch_signals()
        events._set_running_loop(self)

    def _run_forever_cleanup(self) -> None:
        if self._stall is not None:
            self._stall.end()
            self._stall = None
        self._stopping = False
        self._thread_id = None
        events._set_running_loop(None)
        self._unwatch_signals(self._old_wakeup)
        self._set_coroutine_origin_tracking(False)
        if self._old_agen_hooks is not None:
            sys.set_asyncgen_hooks(*self._old_agen_hooks)
            self._old_agen_hooks = None

    def set_debug(self, enabled: bool) -> None:
        """Enable or disable the debug mode of the loop."""
        super().set_debug(enabled)
        if self.is_running():
            self._watch_stalls()

    def _watch_stalls(self) -> None:
        """Have a callback that holds the loop for too long named while it does so, if that is asked for."""
        asked = os.environ.get("PLAIT_STALL")
        if self._stall is None and (self._debug or asked):
            from plait.asyncio._stall import Stall

            self._stall = Stall(self, asked)

    # --- signals ------------------------------------------------------------------------------------
    # A signal between the last look at signals and the sleep would be slept over: so it writes to the self-pipe.

    def _watch_signals(self) -> int | None:
        """Have signals end the loop's sleep. What they wrote to before; None outside of the main thread."""
        if threading.current_thread() is not threading.main_thread() or self._csock is None:
            return None
        return signal.set_wakeup_fd(self._csock.fileno(), warn_on_full_buffer=False)

    def _unwatch_signals(self, before: int | None) -> None:
        if before is None or self._csock is None or self._signal_handlers:
            return
        now = signal.set_wakeup_fd(before)
        if now != self._csock.fileno():
            signal.set_wakeup_fd(now)  # somebody else's, put there meanwhile

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove a handler for a signal. Return True if a signal handler was removed, False if not."""
        removed = super().remove_signal_handler(sig)
        if removed and not self._signal_handlers and self.is_running():
            self._watch_signals()
        return removed

    # --- tasks --------------------------------------------------------------------------------------

    _create_task_by_factory = _StandardLoop.create_task

    # --- reports ------------------------------------------------------------------------------------

    def _callback_failed(self, handle: Any, error: BaseException) -> None:
        source = format_helpers._format_callback_source(handle._callback, handle._args)
        context = {"message": f"Exception in callback {source}", "exception": error, "handle": handle}
        if handle._source_traceback:
            context["source_traceback"] = handle._source_traceback
        self.call_exception_handler(context)

    def _native_callback_failed(self, thing: Any, error: BaseException) -> None:
        self.call_exception_handler({"message": f"Exception in callback {thing!r}", "exception": error})

    def _callback_was_slow(self, thing: Any, seconds: float) -> None:
        callback = getattr(thing, "_callback", None)
        task = getattr(callback, "__self__", None)
        base_events.logger.warning(  # type: ignore[attr-defined]  # where the standard library's loop has it
            "Executing %s took %.3f seconds", repr(task) if isinstance(task, tasks.Task) else str(thing), seconds
        )
