"""Streams of a program that had some of the standard library's names before `plait.install()`."""

import subprocess
import sys
import textwrap


def test_a_reader_made_before_install_goes_on() -> None:
    """The standard library's writer asks by the name that gave way whether its reader is one."""
    code = """
        import asyncio
        from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
        import plait
        plait.install()

        async def serve(reader, writer):
            writer.write(await reader.readline())
            writer.close()

        async def main():
            loop = asyncio.get_running_loop()
            server = await asyncio.start_server(serve, "127.0.0.1", 0)
            reader = StreamReader(loop=loop)
            assert isinstance(reader, asyncio.StreamReader) and type(reader) is not asyncio.StreamReader
            protocol = StreamReaderProtocol(reader, loop=loop)
            transport, _ = await loop.create_connection(lambda: protocol, *server.sockets[0].getsockname())
            writer = StreamWriter(transport, protocol, reader, loop)
            writer.write(b"line\\n")
            await writer.drain()
            print(await reader.read())
            writer.close()
            server.close()

        asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("b'line\\n'\n", "")
