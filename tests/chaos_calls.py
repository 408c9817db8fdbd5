"""The calls of `chaos`, in a module that imports little: a worker that is killed every 40 ms has no time for more."""

import os
import signal
import time
import zlib


def square(number: int, seconds: float) -> int:
    """A call with simple values."""
    burn(seconds)
    return number * number


def checksum(number: int, data: bytes) -> tuple[int, bytes]:
    """A call with bytes, which come back turned round."""
    return zlib.crc32(data) + number, data[::-1]


def listing(number: int, things: dict[str, object]) -> dict[str, object]:
    """A call that needs pickle."""
    return {**things, "number": number}


def large(number: int, data: bytearray) -> bytearray:
    """A call whose argument and value go by segment."""
    data = bytearray(data)
    data[0] = number % 251
    return data


def dies_sometimes(number: int, odds: float) -> int:
    """A call that ends its own process, now and then, in one of the ways that there are."""
    dice = os.urandom(3)
    if int.from_bytes(dice[:2], "little") < odds * 65536:
        way = dice[2] % 3
        if way == 0:
            os._exit(3)
        if way == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        import ctypes

        ctypes.string_at(0)
    return -number


def burn(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
