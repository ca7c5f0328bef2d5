"""redis-py's asyncio client."""

import asyncio

import redis.asyncio


def test_many_tasks(server, protocol):
    async def main():
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            f"redis://127.0.0.1:{server.port}/2?protocol={protocol}", max_connections=20, decode_responses=True)
        async with redis.asyncio.Redis(connection_pool=pool) as client:
            await client.flushdb()

            async def work(task):
                for turn in range(50):
                    await client.set(f"{task}:{turn}", turn, ex=1000)
                    assert await client.get(f"{task}:{turn}") == str(turn)
                    await client.incr("n")

            await asyncio.gather(*(work(task) for task in range(40)))
            assert await client.get("n") == "2000"
            assert await client.dbsize() == 2001
            async with client.pipeline(transaction=False) as pipeline:
                replies = await pipeline.set("k", "v").get("k").ttl("k").execute()
            assert replies == [True, "v", -1]
            found = [key async for key in client.scan_iter(match="7:*", count=500)]
            assert len(set(found)) == 50
            assert await client.mget(["7:1", "missing"]) == ["1", None]
            await client.flushdb()
        await pool.disconnect()

    asyncio.run(main())
