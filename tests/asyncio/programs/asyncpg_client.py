"""asyncpg against PostgreSQL, on the socket in the folder given: pool, transactions, cursor, COPY, LISTEN, cancel."""

import asyncio
import io
import sys

import asyncpg
import seen


async def transfer(pool: asyncpg.Pool, number: int) -> None:
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE account SET balance = balance - 1 WHERE id = $1", number % 10)
        await connection.execute("UPDATE account SET balance = balance + 1 WHERE id = $1", 10)


async def main() -> None:
    seen.loop()
    where = {"host": sys.argv[1], "user": "plait", "database": "postgres"}
    async with asyncpg.create_pool(**where, min_size=2, max_size=8) as pool:
        await pool.execute(
            "DROP TABLE IF EXISTS account; CREATE TABLE account (id int PRIMARY KEY, balance int)"
        )
        await pool.executemany("INSERT INTO account VALUES ($1, $2)", [(number, 100) for number in range(11)])
        await asyncio.gather(*[transfer(pool, number) for number in range(100)])
        print(
            "balances:",
            [row["balance"] for row in await pool.fetch("SELECT balance FROM account ORDER BY id")],
        )

        async with pool.acquire() as connection:
            async with connection.transaction():
                rows = [r[0] async for r in connection.cursor("SELECT generate_series(1, 10000)")]
            print("cursor:", len(rows), sum(rows))
            try:
                async with connection.transaction():
                    await connection.execute("DELETE FROM account")
                    raise LookupError
            except LookupError:
                print("rolled back:", await connection.fetchval("SELECT count(*) FROM account"))
            for statement in ("SELECT 1 / 0", "SELEC"):
                try:
                    await connection.fetch(statement)
                except asyncpg.PostgresError as error:
                    print(type(error).__name__, error)
            await connection.execute("CREATE TEMP TABLE copied (n int, t text)")
            print(
                await connection.copy_records_to_table(
                    "copied", records=[(n, "é" * (n % 50)) for n in range(20_000)]
                )
            )
            buffer = io.BytesIO()
            print(
                await connection.copy_from_query(
                    "SELECT * FROM copied ORDER BY n", output=buffer, format="csv"
                )
            )
            print("copied bytes:", len(buffer.getvalue()))

            try:
                async with asyncio.timeout(0.2):
                    await connection.execute("SELECT pg_sleep(60)")
            except TimeoutError:
                print("cancelled; the connection goes on:", await connection.fetchval("SELECT 7"))
            task = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
            await asyncio.sleep(0.05)
            task.cancel()
            print(
                "task:",
                [type(result).__name__ for result in await asyncio.gather(task, return_exceptions=True)],
            )
            print("again:", await connection.fetchval("SELECT $1::text || $2", "str", "and"))

        async with pool.acquire() as listening:
            told = asyncio.get_running_loop().create_future()
            await listening.add_listener("strand", lambda *a: told.done() or told.set_result(a[2:]))
            await pool.execute("NOTIFY strand, 'third'")
            print("told:", await asyncio.wait_for(told, 10))
            await listening.reset()


asyncio.run(main())
