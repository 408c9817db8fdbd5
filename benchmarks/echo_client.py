"""The other side of the echo rows: a process of its own, blocking sockets, no loop, the same for every contender.

`python -m benchmarks.echo_client PORT SIZE [CERTIFICATES]` opens its connections and then reads numbers from
standard input: so many messages it sends on each connection, with one on its way at a time, and answers with the
number of bytes that came back.

Over TLS it encrypts and decrypts in memory, since OpenSSL on a socket makes two system calls for each record of
16 KiB: with them the client took longer than any server, and the row measured the client.
"""

import socket
import ssl
import sys

# Enough that the server always has work, few enough that each has a message on its way.
CONNECTIONS = 8
READ_AT_ONCE = 256 * 1024


def main() -> None:
    """Serve orders until standard input ends."""
    port, size = int(sys.argv[1]), int(sys.argv[2])
    connections = [_connect(port, sys.argv[3:]) for _ in range(CONNECTIONS)]
    message = (b"plait" * size)[:size]
    print("ready", flush=True)
    for order in sys.stdin:
        total = sum(_exchange(connections, message) for _ in range(int(order)))
        print(total, flush=True)


class _Tls:
    """A connection over TLS that reads and writes as much as there is."""

    def __init__(self, connection: socket.socket, certificates: str) -> None:
        context = ssl.create_default_context(cafile=certificates)
        self._socket = connection
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname="localhost")
        self._buffer = memoryview(bytearray(READ_AT_ONCE))
        while not self._has_shaken_hands():
            self._fetch()

    def _has_shaken_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._socket.sendall(self._leaving.read())
        return True

    def _fetch(self) -> int:
        got = self._socket.recv_into(self._buffer)
        self._arrived.write(self._buffer[:got])
        return got

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._socket.sendall(self._leaving.read())

    def recv_into(self, view: memoryview) -> int:
        while True:
            try:
                return self._tls.read(len(view), view)  # type: ignore[arg-type, return-value]
            except ssl.SSLWantReadError:
                if not self._fetch():
                    return 0


def _connect(port: int, certificates: list[str]) -> socket.socket | _Tls:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return _Tls(connection, certificates[0]) if certificates else connection


def _exchange(connections: list[socket.socket | _Tls], message: bytes) -> int:
    """One message on each connection, and its echo."""
    size = len(message)
    for connection in connections:
        connection.sendall(message)
    total = 0
    buffer = bytearray(size)
    for connection in connections:
        view = memoryview(buffer)
        while view:
            got = connection.recv_into(view)
            if not got:
                raise SystemExit("the server hung up")
            view = view[got:]
        if buffer[:64] != message[:64] or buffer[-64:] != message[-64:]:
            raise SystemExit("the echo is not what was sent")
        total += size
    return total


if __name__ == "__main__":
    main()
