"""A Semaphore of 2: a hundred tasks call an API that bans whoever calls it three times at once.

Prints:

    answers: 100
    never more than 2 at once: True
    without the semaphore: banned
"""

import asyncio


class Api:
    """Counts who is inside."""

    def __init__(self) -> None:
        self.inside = self.most = 0

    async def call(self, number: int) -> int:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            if self.inside > 2:
                raise ConnectionRefusedError("banned")
            await asyncio.sleep(0.001)
            return number
        finally:
            self.inside -= 1


async def main() -> None:
    api, semaphore = Api(), asyncio.Semaphore(2)

    async def call(number: int) -> int:
        async with semaphore:
            return await api.call(number)

    answers = await asyncio.gather(*[call(number) for number in range(100)])
    print("answers:", len(set(answers)))
    print("never more than 2 at once:", api.most == 2)
    try:
        await asyncio.gather(*[api.call(number) for number in range(100)])
    except ConnectionRefusedError as error:
        print("without the semaphore:", error)


asyncio.run(main())
