"""The other side of the echo rows: a process of its own, blocking sockets, no loop, the same for every contender.

`python -m benchmarks.echo_client PORT SIZE [CERTIFICATES]` opens its connections and then reads numbers from
standard input: so many messages it sends on each connection, with one on its way at a time, and answers with the
number of bytes that came back.
"""

import socket
import ssl
import sys

# Enough that the server always has work, few enough that each has a message on its way.
CONNECTIONS = 8


def main() -> None:
    """Serve orders until standard input ends."""
    port, size = int(sys.argv[1]), int(sys.argv[2])
    connections = [_connect(port, sys.argv[3:]) for _ in range(CONNECTIONS)]
    message = (b"plait" * size)[:size]
    print("ready", flush=True)
    for order in sys.stdin:
        total = sum(_exchange(connections, message) for _ in range(int(order)))
        print(total, flush=True)


def _connect(port: int, certificates: list[str]) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not certificates:
        return connection
    context = ssl.create_default_context(cafile=certificates[0])
    return context.wrap_socket(connection, server_hostname="localhost")


def _exchange(connections: list[socket.socket], message: bytes) -> int:
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
