"""The parent's side of one worker, in Python: speaks the records of docs/design/processes.md to a real worker process.

A second implementation of the protocol, slow and simple, with which tests see each record as it comes, and send
what no driver would. Words that both sides use are read and written as "@": else `struct` takes them byte for byte, and
the other side might see half of one.
"""

import ctypes
import fcntl
import mmap
import os
import pickle
import socket
import struct
import subprocess
import sys
import time
from typing import Any, NamedTuple

from plait._processes.pickling import dumps, dumps_function

RING = 256 << 10
PAGE = 4096
TAIL, HEAD, BELL, ROOM = 0, 64, 128, 192
CALL, FUNCTION, FORGET, RETIRE = 1, 2, 3, 4
RESULT, STARTED, READY, UNFIT, OUTPUT, LOG, LOADS = 1, 2, 3, 4, 5, 6, 7
SIMPLE, PICKLE = 0, 1
FREE, QUEUED, CLAIMED, WITHDRAWN = 0, 1, 2, 3
SECONDS = 20

_libc = ctypes.CDLL(None, use_errno=True)


def memory(size: int) -> int:
    """A sealed memfd."""
    fd: int = _libc.syscall(319 if os.uname().machine == "x86_64" else 279, b"test", 3)
    assert fd >= 0
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, 1033, 2 | 4)  # F_ADD_SEALS: shrink, grow
    return fd


class Record(NamedTuple):
    """One from the worker."""

    kind: int
    body: bytes


class Result(NamedTuple):
    """The body of a RESULT."""

    task: int
    took: int
    cpu: int
    peak: int
    how: int
    form: int
    value: bytes


def simple(*values: Any) -> bytes:
    """The arguments of a call, by the codec: int, str of ASCII, float, bool, None and bytes."""
    out = struct.pack("<HH", len(values), 0)
    for value in values:
        match value:
            case None:
                out += b"\0"
            case bool():
                out += b"\2" if value else b"\1"
            case int():
                out += struct.pack("<Bq", 3, value)
            case float():
                out += struct.pack("<Bd", 4, value)
            case bytes():
                out += struct.pack("<BI", 5, len(value)) + value
            case str():
                out += struct.pack("<BI", 6, len(value)) + value.encode("ascii")
    return out


def decoded(result: Result) -> Any:
    """What a result holds."""
    data = result.value
    if result.form == PICKLE:
        return pickle.loads(data)
    assert result.form == SIMPLE
    value, rest = _value(data)
    assert not rest
    return value


def _value(data: bytes) -> tuple[Any, bytes]:
    """The first value of what the codec has written, and what follows."""
    tag, rest = data[0], data[1:]
    match tag:
        case 0 | 1 | 2:
            return (None, False, True)[tag], rest
        case 3:
            return struct.unpack("<q", rest[:8])[0], rest[8:]
        case 4:
            return struct.unpack("<d", rest[:8])[0], rest[8:]
    (count,), rest = struct.unpack("<I", rest[:4]), rest[4:]
    match tag:
        case 5:
            return rest[:count], rest[count:]
        case 6:
            return rest[:count].decode("latin-1"), rest[count:]
        case 9 | 10 | 11:
            values = []
            for _ in range(count * (2 if tag == 11 else 1)):
                value, rest = _value(rest)
                values.append(value)
            if tag == 11:
                return dict(zip(values[::2], values[1::2], strict=True)), rest
            return (tuple(values) if tag == 9 else values), rest
    raise AssertionError(f"tag {tag}")


class Parent:
    """Starts a worker and speaks to it. To be used by `with`, which ends it."""

    def __init__(self, **hello: Any) -> None:
        self.down, self.up = memory(PAGE + RING), memory(PAGE + RING)
        self.board, self.bell = memory(PAGE), memory(PAGE)
        self.event = os.eventfd(0)
        self.maps = [mmap.mmap(fd, 0) for fd in (self.down, self.up, self.board, self.bell)]
        self.link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fds = [self.down, self.up, self.board, self.bell, self.event]
        socket.send_fds(self.link, [b"\0" + pickle.dumps(hello)], fds)
        code = f"from plait._processes.worker import main; main({theirs.fileno()})"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        theirs.close()
        self.tail = self.head = self.sequence = self.functions = 0

    def __enter__(self) -> "Parent":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        self.link.close()
        for fd in (self.down, self.up, self.board, self.bell, self.event):
            os.close(fd)

    def word(self, at: int, of: int = 0) -> int:
        """A u64 of the control of ring `of` (0 down, 1 up), or of the board (2)."""
        return int(struct.unpack_from("@Q", self.maps[of], at)[0])

    def push(self, kind: int, body: bytes) -> None:
        """Appends a record."""
        record = struct.pack("<II", len(body), kind) + body
        record += bytes(-len(record) % 8)
        down = self.maps[0]
        while self.tail + len(record) - self.word(HEAD) > RING:
            time.sleep(0.001)
        for at, byte in enumerate(record, self.tail):
            down[PAGE + at % RING] = byte
        self.tail += len(record)
        struct.pack_into("@Q", down, TAIL, self.tail)
        if struct.unpack_from("@I", down, BELL)[0]:
            struct.pack_into("@I", down, BELL, 0)
            address = ctypes.addressof(ctypes.c_char.from_buffer(down)) + BELL
            _libc.syscall(202 if os.uname().machine == "x86_64" else 98, ctypes.c_void_p(address), 1, 1)

    def function(self, fn: Any) -> int:
        """Sends a function; its number."""
        self.functions += 1
        self.push(FUNCTION, struct.pack("<I", self.functions) + dumps_function(fn))
        return self.functions

    def slot(self, sequence: int, state: int) -> None:
        """Writes a slot of the board."""
        word = (sequence << 2 | state) & 0xFFFFFFFF
        struct.pack_into("@I", self.maps[2], 128 + sequence % 512 * 4, word)

    def call(self, fn: Any, *args: Any, flags: int = 0, task: int = 0, state: int = QUEUED) -> int:
        """Sends a call: of a function's number, or of what can be called; its task."""
        self.sequence += 1
        task = task or self.sequence
        number = fn if isinstance(fn, int) else 0
        if number and all(type(arg) in (int, str, float, bool, bytes, type(None)) for arg in args):
            form, body = SIMPLE, simple(*args)
        else:
            form = PICKLE
            body, _ = dumps(((*args,) if number else (fn, *args), {}))
        self.slot(self.sequence, state)
        self.push(CALL, struct.pack("<QIIBBH", task, self.sequence, number, form, flags, 0) + body)
        return task

    def pop(self, seconds: float = SECONDS) -> Record:
        """The next record; waits for it."""
        up = self.maps[1]
        deadline = time.monotonic() + seconds
        while (tail := self.word(TAIL, 1)) == self.head:
            if time.monotonic() > deadline:
                raise TimeoutError(self.process.poll())
            if self.process.poll() is not None and self.word(TAIL, 1) == self.head:
                raise EOFError(self.process.returncode)
            time.sleep(0.0005)
        assert tail - self.head <= RING

        def read(at: int, length: int) -> bytes:
            return bytes(up[PAGE + (at + i) % RING] for i in range(length))

        length, kind = struct.unpack("<II", read(self.head, 8))
        body = read(self.head + 8, length)
        self.head += (8 + length + 7) // 8 * 8
        struct.pack_into("@Q", up, HEAD, self.head)
        if struct.unpack_from("@I", up, ROOM)[0]:
            struct.pack_into("@I", up, ROOM, 0)  # it looks by itself every half second
        return Record(kind, body)

    def result(self, seconds: float = SECONDS) -> Result:
        """The next record, which is a result."""
        kind, body = self.pop(seconds)
        assert kind == RESULT, (kind, body)
        return Result(*struct.unpack_from("<QQQIBBH", body)[:6], body[32:])

    def value(self, seconds: float = SECONDS) -> Any:
        """The next record's value; raises it, if it is an exception."""
        result = self.result(seconds)
        value = decoded(result)
        if result.how:
            raise value
        return value

    def ready(self) -> "Parent":
        """Waits for READY."""
        kind, body = self.pop()
        assert kind == READY, (kind, body)
        return self
