"""Too many coroutines: a bounded Queue and five workers, however many jobs there are.

Prints:

    jobs done: 1000
    at once: 5
    the queue never held more than 10: True
"""

import asyncio

inside = most = longest = 0


async def work(queue: asyncio.Queue[int], done: list[int]) -> None:
    global inside, most
    while True:
        number = await queue.get()
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        done.append(number)
        inside -= 1
        queue.task_done()


async def main() -> None:
    global longest
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=10)
    done: list[int] = []
    workers = [asyncio.create_task(work(queue, done)) for _ in range(5)]
    for number in range(1000):
        await queue.put(number)
        longest = max(longest, queue.qsize())
    await queue.join()
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    print("jobs done:", len(set(done)))
    print("at once:", most)
    print("the queue never held more than 10:", longest <= 10)


asyncio.run(main())
