"""redis-py's asyncio client against redis-server, on the socket given: pipelines, a lock, blocking pops, pub/sub."""

import asyncio
import sys

import redis.asyncio as redis
import seen


async def main() -> None:
    seen.loop()
    pool = redis.BlockingConnectionPool.from_url(
        f"unix://{sys.argv[1]}", decode_responses=True, max_connections=10
    )
    async with redis.Redis(connection_pool=pool) as client:
        await client.flushall()
        await asyncio.gather(*[client.incr("count") for _ in range(500)])
        print("count:", await client.get("count"))
        async with client.pipeline(transaction=True) as pipe:
            for number in range(100):
                pipe.rpush("numbers", number)
            pipe.lrange("numbers", -3, -1)
            print("pipeline:", (await pipe.execute())[-1])

        await client.set("shared", 0)

        async def careful() -> None:
            async with client.lock("guard", sleep=0.001):
                value = int(await client.get("shared"))
                await asyncio.sleep(0)
                await client.set("shared", value + 1)

        await asyncio.gather(*[careful() for _ in range(30)])
        print("under the lock:", await client.get("shared"))

        async def consume() -> list[str]:
            return [(await client.blpop("work", timeout=10))[1] for _ in range(50)]

        consumer = asyncio.create_task(consume())
        for number in range(50):
            await client.rpush("work", number)
        print("work in order:", await consumer == [str(number) for number in range(50)])
        print("nothing more:", await client.blpop("work", timeout=0.1))

        async with client.pubsub() as pubsub:
            await pubsub.subscribe("strands")
            confirmed = await pubsub.get_message(timeout=10)
            print(confirmed["type"], confirmed["channel"])
            heard = []

            async def listen() -> None:
                async for message in pubsub.listen():
                    heard.append(message["data"])
                    if message["data"] == "end":
                        return

            listening = asyncio.create_task(listen())
            for number in range(100):
                await client.publish("strands", f"m{number}")
            await client.publish("strands", "end")
            await asyncio.wait_for(listening, 30)
            print("heard:", len(heard), heard[0], heard[-1])
        try:
            await client.lpush("count", 1)
        except redis.ResponseError as error:
            print(type(error).__name__, str(error).split()[0])
        big = "x" * 5_000_000
        await client.set("big", big)
        print("big:", await client.get("big") == big)


asyncio.run(main())
