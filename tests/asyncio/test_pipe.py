"""Pipes: both ends as transports."""

import asyncio
import os
import pty
import socket
import tty
from typing import Any

import pytest
from peers import Recorder, run, taken, turns

MANY = 1_000_000


async def reader(file: Any) -> tuple[Any, Recorder]:
    return await asyncio.get_running_loop().connect_read_pipe(Recorder, file)


async def writer(file: Any) -> tuple[Any, Recorder]:
    return await asyncio.get_running_loop().connect_write_pipe(Recorder, file)


def ends() -> tuple[Any, Any]:
    read, write = os.pipe()
    return os.fdopen(read, "rb", 0), os.fdopen(write, "wb", 0)


def test_from_one_end_to_the_other() -> None:
    async def main() -> None:
        read, write = ends()
        into, told = await writer(write)
        out, got = await reader(read)
        assert isinstance(out, asyncio.ReadTransport)
        assert isinstance(into, asyncio.WriteTransport)
        assert repr(out) == f"<_UnixReadPipeTransport fd={read.fileno()} polling>"
        assert repr(into) == f"<_UnixWritePipeTransport fd={write.fileno()} idle bufsize=0>"
        assert out.get_extra_info("pipe") is read
        into.write(b"a")
        into.write(bytearray(b"b"))
        into.writelines([b"c", b"d"])
        assert await got.got(4) == b"abcd"
        into.write(bytes(MANY))
        assert "pause" in told.calls
        await got.got(MANY + 4)
        assert told.calls == ["made", "pause", "resume"]
        assert into.can_write_eof()
        into.write_eof()
        assert await got.ended is None
        assert await told.ended is None
        assert got.calls == ["made", "eof", "lost"]
        await turns(1)
        assert "closed" in repr(out)
        assert "closed" in repr(into)
        assert read.closed
        assert write.closed

    run(main())


def test_closing_lets_what_waits_leave() -> None:
    async def main() -> None:
        read, write = ends()
        into, told = await writer(write)
        into.write(bytes(MANY))
        into.close()
        assert into.is_closing()
        into.write(b"too late")
        out, got = await reader(read)
        await got.ended
        assert len(got.data) == MANY
        assert await told.ended is None
        assert out.is_closing()

    run(main())


@pytest.mark.parametrize("waiting", [False, True])
def test_the_reader_goes(waiting: bool) -> None:
    async def main() -> None:
        read, write = ends()
        into, told = await writer(write)
        if waiting:
            into.write(bytes(MANY))
        read.close()
        error = await told.ended
        assert isinstance(error, BrokenPipeError) if waiting else error is None
        for _ in range(7):
            into.write(b"x")

    run(main())


def test_pausing() -> None:
    async def main() -> None:
        read, write = ends()
        out, got = await reader(read)
        out.pause_reading()
        assert not out.is_reading()
        write.write(b"x")
        await asyncio.sleep(0.01)
        assert got.data == b""
        out.resume_reading()
        assert await got.got(1) == b"x"
        out.close()
        assert await got.ended is None
        write.close()

    run(main())


def test_a_terminal() -> None:
    async def main() -> None:
        primary, secondary = pty.openpty()
        tty.setraw(secondary)
        out, got = await reader(os.fdopen(primary, "rb", 0))
        into, told = await writer(os.fdopen(secondary, "wb", 0))
        into.write(b"to the terminal")
        assert await got.got(15) == b"to the terminal"
        into.close()
        await told.ended
        # The other end of a terminal that is gone is an error, of which nothing is said.
        assert isinstance(await got.ended, OSError)
        assert out.is_closing()

    run(main())


def test_a_socket_as_a_pipe() -> None:
    async def main() -> None:
        ours, peer = socket.socketpair()
        into, told = await writer(ours)
        into.write(b"x" * MANY)
        await taken(peer, MANY)
        peer.close()
        assert await told.ended is None

    run(main())


def test_a_file_is_no_pipe(tmp_path: Any) -> None:
    async def main() -> None:
        with (tmp_path / "file").open("wb") as file:
            with pytest.raises(ValueError, match=r"Pipe transport is for pipes/sockets only\."):
                await reader(file)
            with pytest.raises(
                ValueError, match="Pipe transport is only for pipes, sockets and character devices"
            ):
                await writer(file)

    run(main())


def test_an_end_that_is_dropped_open_warns() -> None:
    async def main() -> None:
        read, write = ends()
        out, got = await reader(read)
        out.pause_reading()
        got.transport = None
        held = [out]
        del out
        with pytest.warns(ResourceWarning, match="unclosed transport <_UnixReadPipeTransport fd="):
            held.clear()
        assert read.closed
        write.close()

    run(main())


def test_a_subprocess() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
        data = os.urandom(1000) * 1000
        assert await process.communicate(data) == (data, None)
        assert process.returncode == 0

    run(main())
