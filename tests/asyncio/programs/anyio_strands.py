"""anyio on its asyncio backend: task groups, cancel scopes, memory streams, threads, TCP, a process, errors."""

import anyio
import anyio.to_thread
import seen


async def serve(task_status) -> None:
    async def handle(stream) -> None:
        async with stream:
            async for data in stream:
                await stream.send(data.upper())

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    task_status.started(listener.extra(anyio.abc.SocketAttribute.local_port))
    await listener.serve(handle)


async def ask(port: int, number: int, answers: list) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"strand {number}".encode())
        answers.append(await stream.receive())


async def main() -> None:
    seen.loop()
    answers: list[bytes] = []
    async with anyio.create_task_group() as group:
        port = await group.start(lambda *, task_status: serve(task_status))
        async with anyio.create_task_group() as asking:
            for number in range(50):
                asking.start_soon(ask, port, number, answers)
        group.cancel_scope.cancel()
    print("answers:", len(answers), sorted(answers)[0])

    send, receive = anyio.create_memory_object_stream(3)
    got: list[int] = []

    async def consume(stream) -> None:
        async with stream:
            async for item in stream:
                got.append(item)

    async with anyio.create_task_group() as group:
        group.start_soon(consume, receive.clone())
        group.start_soon(consume, receive)
        async with send:
            for number in range(100):
                await send.send(number)
    print("items:", len(got), sum(got))

    with anyio.move_on_after(0.05) as scope:
        await anyio.sleep(60)
    print("moved on:", scope.cancelled_caught)
    try:
        with anyio.fail_after(0.05):
            await anyio.Event().wait()
    except TimeoutError:
        print("failed after a while")

    async def fail(number: int) -> None:
        await anyio.sleep(0.001)
        raise ValueError(number)

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(fail, 1)
            group.start_soon(anyio.sleep, 60)
    except* ValueError as errors:
        print("errors:", [error.args for error in errors.exceptions])

    limiter = anyio.CapacityLimiter(3)
    total = 0

    async def count() -> None:
        nonlocal total
        total += await anyio.to_thread.run_sync(sum, range(1000), limiter=limiter)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(count)
    print("in threads:", total)
    done = await anyio.run_process(["tr", "a-z", "A-Z"], input=b"process")
    print("process:", done.stdout)
    with anyio.CancelScope(shield=True):
        await anyio.lowlevel.checkpoint()
    lock, inside = anyio.Lock(), 0

    async def enter() -> None:
        nonlocal inside
        async with lock:
            before = inside
            await anyio.sleep(0)
            inside = before + 1

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(enter)
    print("inside:", inside)


anyio.run(main)
