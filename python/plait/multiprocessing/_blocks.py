"""How a block of shared memory gets from one process of the family to another.

A process that is being started by `multiprocessing` inherits the descriptor. Any other finds it in the sender's
process, under /proc, which the system allows to processes of the same user: nothing is named, and nobody serves. The
sender keeps a block that is on its way until it has arrived; if it ends before, or a pickle that has arrived is loaded
a second time, there may be nothing to be found: OSError.

A process maps a block once, however often it comes.
"""

from __future__ import annotations

import copyreg
import os
import threading
import weakref
from multiprocessing import context
from typing import Any

from plait._engine import Block
from plait.multiprocessing._passing import Reopened, duplicate

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
        return _inherit, (duplicate(block.fileno()),)
    with _lock:
        _forget()
        block._send()
        _sent[identity] = block
    return _find, (identity, Reopened(block.fileno()))


copyreg.pickle(Block, _reduce)


def _inherit(passed: Any) -> Block:
    descriptor = passed.detach()
    block = _open(descriptor)
    if isinstance(passed, Reopened):
        os.close(descriptor)
    return block


def _open(descriptor: int) -> Block:
    identity = _identity(descriptor)
    with _lock:
        block = _known.get(identity)
        if block is None:
            block = _known[identity] = Block._open(descriptor)
    return block


def _find(identity: _Identity, sender: Reopened) -> Block:
    with _lock:
        block = _known.get(identity)
    if block is None:
        block = _inherit(sender)
    block._receive()
    return block


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()
    _sent.clear()  # the parent's to keep


os.register_at_fork(after_in_child=_after_fork)
