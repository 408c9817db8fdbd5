"""What the watch over waits asks of Python: which threads there are, and the text of a report.

Called by the engine from the thread that looks, which is in the midst of a wait of its own and may hold any lock. So
nothing here waits, and no code of the user's runs, but for what `warnings` may be told to do.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` takes its time to make enums
import os
import sys
import threading

# Nothing is imported here that a program has not imported before: the first look comes in the midst of a wait, while
# other threads may be in the midst of importing (what shows a traceback, above all). Where two threads wait
# for each other's imports, the interpreter hands out half a module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

__all__: list[str] = []

_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MOST_LINES = 20  # threads in a report; of a pool with hundreds the first few say enough
_MOST_STACKS = 8

Line = tuple[int, str, object, str, list[int]]
"""A wait: the thread's ident, the action, the object, what it is to those who could end the wait, and these."""

# What the stubs do not know of.
_active: dict[int, threading.Thread] = threading._active  # type: ignore[attr-defined]
_limbo: dict[threading.Thread, threading.Thread] = threading._limbo  # type: ignore[attr-defined]


def threads(waiting: int, but_for: int | None = None) -> list[int] | None:
    """The idents of all Python threads, if no more than `waiting`, and if nothing else can wake one of them.

    Something else is a Python signal handler, a thread that is being started, a thread that is not Python's (it may
    come to be), or the main thread on its way out. If the question is asked for the sake of one thread (`but_for`) that
    waits for itself, threads that are not Python's do not count, and a main thread that waits for this one to end is
    left out.
    """
    main = threading.main_thread()
    ending = not main.is_alive()
    if ending:
        thread = _active.get(but_for or 0)
        if thread is None or thread.daemon:
            return None
    if len(_active) - ending > waiting or _limbo or _handles_signals():
        return None
    if but_for is None and strangers():
        return None
    idents = set(sys._current_frames())
    if ending:
        idents.discard(main.ident or 0)
    return list(idents)


def _handles_signals() -> bool:
    """Whether a signal could run code of the program's in the main thread, in the midst of its wait."""
    for number in _signal.valid_signals():
        handler = _signal.getsignal(number)
        if callable(handler) and handler is not _signal.default_int_handler:
            return True
    return False


def runs(ident: int) -> bool:
    """Whether a Python thread has this ident."""
    return ident in _active or ident in sys._current_frames()


def strangers() -> bool:
    """Whether the process has threads that are not running Python: they may call into it."""
    try:
        return len(os.listdir("/proc/self/task")) > len(sys._current_frames())
    except OSError:
        return True


def is_alive(thread: threading.Thread, ident: int) -> bool:
    """Whether the thread is alive, and the ident its own."""
    return thread.ident == ident and threading.Thread.is_alive(thread)


def warn(text: str) -> None:
    """Warn, in the name of the line that waits."""
    import warnings

    from plait._engine import DeadlockWarning

    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_noise(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, DeadlockWarning, stacklevel=level)


def text(kind: str, certain: bool, lines: list[Line]) -> str:
    """The report: who waits for what, one line a thread, and then where."""
    what = [_headline(kind, certain, lines)]
    what += [f"  {_sentence(line, kind)}" for line in lines[:_MOST_LINES]]
    if len(lines) > _MOST_LINES:
        what.append(f"  ... and {len(lines) - _MOST_LINES} more")
    frames = sys._current_frames()
    for line in lines[:_MOST_STACKS]:
        stack = _stack(frames.get(line[0]))
        what += ["", f"{_name(line[0])}:", stack or "  (not in Python code)"]
    return "\n".join(what)


def _headline(kind: str, certain: bool, lines: list[Line]) -> str:
    if kind == "everyone":
        return "every thread of this program waits, and none is left that could wake another:"
    first = _name(lines[0][0])
    if kind == "ended":
        return f"{first} waits {'for ever' if certain else 'for a thread that has ended'}:"
    whom = f"{first} waits for itself" if len(lines) == 1 else f"{len(lines)} threads wait for each other"
    return f"{whom} for ever:" if certain else f"{whom}, and only another thread could end it:"


def _sentence(line: Line, kind: str) -> str:
    ident, action, thing, link, resolvers = line
    what = _name_of_thread(thing) if isinstance(thing, threading.Thread) else _repr(thing)
    sentence = f"{_name(ident)} waits " + (f"for {what}" if action == "wait for" else f"to {action} {what}")
    if not link or not resolvers:
        return sentence
    if kind == "ended":
        return f"{sentence}, {link} a thread that has ended"
    names = ["itself" if resolver == ident else _name(resolver) for resolver in resolvers[:4]]
    if len(resolvers) > 4:
        names.append(f"{len(resolvers) - 4} more")
    return f"{sentence}, {link} " + (
        " and ".join([", ".join(names[:-1]), names[-1]]) if names[1:] else names[0]
    )


def _name(ident: int) -> str:
    thread = _active.get(ident)
    return f"thread {ident}" if thread is None else _name_of_thread(thread)


def _name_of_thread(thread: threading.Thread) -> str:
    return str(getattr(thread, "_name", thread.ident))


def _repr(thing: object) -> str:
    """The object's repr, unless it is the user's: that could wait for the very same lock."""
    kind: Any = type(thing)
    while "__repr__" not in vars(kind):
        kind = kind.__base__
    module = str(getattr(kind, "__module__", ""))
    if module.partition(".")[0] in {"plait", "threading", "queue", "concurrent", "builtins", "_thread"}:
        try:
            return repr(thing)
        except Exception:
            pass
    return object.__repr__(thing)


def _stack(frame: FrameType | None) -> str:
    import traceback

    kept = []
    while frame is not None:
        if not _is_noise(frame):
            kept.append((frame, frame.f_lineno))
        frame = frame.f_back
    kept.reverse()
    if not hasattr(traceback, "StackSummary"):
        # A signal handler waits, in the midst of this very import.
        return "\n".join(f'  File "{f.f_code.co_filename}", line {n}, in {f.f_code.co_name}' for f, n in kept)
    summary = traceback.StackSummary.extract(iter(kept))
    return "".join(summary.format()).rstrip("\n")


def _is_noise(frame: FrameType) -> bool:
    """Whether the frame is plait's, or the bottom of every thread."""
    code = frame.f_code
    if code.co_filename == threading.__file__:
        return code is threading.Thread.run.__code__ or code.co_name.startswith("_bootstrap")
    return code.co_filename.startswith(_OURS)
