"""How a block of shared memory gets from one process of the family to another.

A process that is being started by `multiprocessing` inherits the descriptor. Any other finds it by the sender's process
and the descriptor's number, under /proc, which the system allows to processes of the same user: nothing is named, and
nobody serves. The sender keeps a block that is on its way until it has arrived; if it ends before, or a pickle that has
arrived is loaded a second time, there may be nothing to be found: FileNotFoundError.

A process maps a block once, however often it comes.
"""

from __future__ import annotations

import copyreg
import os
import threading
import weakref
from multiprocessing import context, reduction
from typing import Any

from plait._engine import Block

__all__ = ["Block", "new_block"]

_Identity = tuple[int, int]

_lock = threading.RLock()  # one that a finalizer may take again
_known: weakref.WeakValueDictionary[_Identity, Block] = weakref.WeakValueDictionary()
_sent: dict[_Identity, Block] = {}


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def new_block(size: int) -> Block:
    """A new block of `size` bytes, zeroed. Raises MemoryError where there is not so much."""
    block = Block(size)
    with _lock:
        _forget()
        _known[_identity(block.fileno())] = block
    return block


def _forget() -> None:
    """Let go of what has arrived."""
    for identity in [identity for identity, block in _sent.items() if not block._is_awaited()]:
        del _sent[identity]


def _reduce(block: Block) -> tuple[Any, ...]:
    identity = _identity(block.fileno())
    if context.get_spawning_popen() is not None:
        return _inherit, (reduction.DupFd(block.fileno()),)
    with _lock:
        _forget()
        block._send()
        _sent[identity] = block
    return _find, (os.getpid(), block.fileno(), identity)


copyreg.pickle(Block, _reduce)  # type: ignore[arg-type]


def _inherit(passed: Any) -> Block:
    return _open(passed.detach())


def _open(descriptor: int) -> Block:
    identity = _identity(descriptor)
    with _lock:
        block = _known.get(identity)
        if block is None:
            block = _known[identity] = Block._open(descriptor)
    return block


def _find(process: int, number: int, identity: _Identity) -> Block:
    with _lock:
        block = _known.get(identity)
    if block is None:
        gone = f"process {process} has let go of shared memory before it was received"
        try:
            descriptor = os.open(f"/proc/{process}/fd/{number}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise FileNotFoundError(gone) from error
        try:
            if _identity(descriptor) != identity:
                raise FileNotFoundError(gone)
            block = _open(descriptor)
        finally:
            os.close(descriptor)
    block._receive()
    return block


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _sent.clear()  # the parent's to keep


os.register_at_fork(after_in_child=_after_fork)
