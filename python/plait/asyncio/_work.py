"""What the loop hands to others: calls to threads, programs to processes."""

from __future__ import annotations

import os
from asyncio import events, threads, unix_events
from asyncio.log import logger

from plait._engine.asyncio import to_thread as to_thread
from plait._engine.asyncio import wrap_future

TYPE_CHECKING = False  # `typing` takes longer to import than the rest of this
if TYPE_CHECKING:
    from typing import Any

    from plait._engine.asyncio import LoopCore as _Loop
else:
    _Loop = object  # the loop's other bases have it


# What `inspect` and `unittest.mock` ask: a function of Python's would have it.
for _name in ("__name__", "__qualname__", "__doc__", "__module__", "__code__", "__defaults__", "__kwdefaults__"):
    setattr(to_thread, _name, getattr(threads.to_thread, _name))
setattr(to_thread, "__annotations__", {})  # noqa: B010 (it is no function to a type checker)


class Work(_Loop):
    """`run_in_executor` on plait's pool, and subprocesses without a thread for each."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Run `func(*args)` in a thread of `executor`, by default plait's own pool."""
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None:
            executor = self._default_executor
            self._check_default_executor()
            if executor is None:
                from plait.concurrent.futures import ThreadPoolExecutor  # only who needs a pool pays for it

                executor = self._default_executor = ThreadPoolExecutor(thread_name_prefix="asyncio")
        return wrap_future(executor.submit(func, *args), loop=self)

    # --- subprocesses -------------------------------------------------------------------------------

    async def _make_subprocess_transport(
        self,
        protocol: Any,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: Any = None,
        **kwargs: Any,
    ) -> Any:
        if _has_own_watcher():
            return await super()._make_subprocess_transport(
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
        waiter = self.create_future()
        transport = unix_events._UnixSubprocessTransport(  # type: ignore[attr-defined]
            self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
        )
        self._watch_child(transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await transport._wait()
            raise
        return transport

    def _watch_child(self, transport: Any) -> None:
        """Tell `transport` when its process has ended."""
        pid = transport.get_pid()
        try:
            descriptor = self._pidfd_open(pid)
        except OSError:  # Linux before 5.3, a sandbox, or no descriptor left
            _in_a_thread().add_child_handler(pid, self._child_ended, transport)
            return
        self._add_reader(descriptor, self._reap, descriptor, pid, transport)

    def _reap(self, descriptor: int, pid: int, transport: Any) -> None:
        self._remove_reader(descriptor)
        os.close(descriptor)
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            # Somebody else has waited for it, perhaps the Popen object in transport.close().
            code = transport._proc.returncode
            if code is None:
                code = 255
                logger.warning("child process pid %d exit status already read:  will report returncode 255", pid)
        else:
            code = os.waitstatus_to_exitcode(status)
        # At once: from waitpid() on the number may be another process's, and who sends a signal looks here.
        transport._process_exited(code)

    def _child_ended(self, pid: int, code: int, transport: Any) -> None:
        self.call_soon_threadsafe(transport._process_exited, code)


def _in_a_thread() -> Any:
    """The standard library's watcher that uses a thread for each child."""
    name = "_ThreadedChildWatcher" if hasattr(unix_events, "_ThreadedChildWatcher") else "ThreadedChildWatcher"
    global _threads
    if _threads is None:
        _threads = getattr(unix_events, name)()
    return _threads


_threads: Any = None


def _has_own_watcher() -> bool:
    """Whether the program has set a child watcher of its own, before 3.14."""
    if not hasattr(unix_events, "AbstractChildWatcher"):
        return False
    watcher = getattr(events._event_loop_policy, "_watcher", None)  # type: ignore[attr-defined]
    return watcher is not None and type(watcher).__name__ not in ("ThreadedChildWatcher", "PidfdChildWatcher")
