"""redis-py, its newest release, unmodified: MULTI, EXEC and WATCH through its pipelines, in both protocols."""

import threading

import pytest
import redis

from conftest import wait_until


def test_a_transaction_of_several_types(text_client):
    with text_client.pipeline() as pipeline:
        pipeline.set("s", 1).incr("s").rpush("l", "a", "b").sadd("t", "x").hset("h", mapping={"f": "v"}).zadd("z", {"m": 2})
        pipeline.xadd("x", {"n": 1}, id="1-1").lrange("l", 0, -1).smembers("t").hgetall("h").zscore("z", "m").xlen("x")
        assert pipeline.execute() == [
            True, 2, 2, 1, 1, 1, "1-1", ["a", "b"], {"x"}, {"f": "v"}, 2.0, 1]


def test_an_error_within_leaves_the_rest_done(client):
    client.set("s", "text")
    with client.pipeline() as pipeline:
        replies = pipeline.set("a", 1).lpush("s", "x").incr("a").execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == 2
    assert "WRONGTYPE" in str(replies[1])


def test_a_refused_command_undoes_all(client):
    with client.pipeline() as pipeline:
        pipeline.set("a", 1).execute_command("NONSENSE")
        with pytest.raises(redis.ResponseError, match="unknown command"):
            pipeline.execute()
    assert client.exists("a") == 0


def test_a_watched_key_that_changes(make_client):
    client, other = make_client(decode_responses=True), make_client()
    client.hset("h", "n", 1)
    with client.pipeline() as pipeline:
        pipeline.watch("h", "missing")
        assert pipeline.hget("h", "n") == "1"
        pipeline.multi()
        pipeline.hset("h", "n", 2)
        other.hincrby("h", "n", 10)
        with pytest.raises(redis.WatchError):
            pipeline.execute()
        # Whoever forgets what it watched, or is not disturbed, succeeds.
        pipeline.watch("h")
        other.hincrby("h", "n", 10)
        pipeline.unwatch()
        pipeline.watch("h")
        pipeline.multi()
        pipeline.hincrby("h", "n", 1)
        other.set("elsewhere", 1)
        assert pipeline.execute() == [22]


def test_a_watched_key_whose_time_comes(make_client):
    client, other = make_client(), make_client()
    client.set("k", "v", px=30)
    with client.pipeline() as pipeline:
        pipeline.watch("k")
        wait_until(lambda: other.exists("k") == 0, what="the end of a key")
        pipeline.multi()
        pipeline.set("k", "w")
        with pytest.raises(redis.WatchError):
            pipeline.execute()


def test_no_change_is_lost(make_client):
    """Several threads add to a counter by reading and writing it: `transaction` tries again until nobody was in between."""

    def work(client):
        def step(pipeline):
            number = int(pipeline.hget("account", "balance") or 0)
            pipeline.multi()
            pipeline.hset("account", "balance", number + 1)
            pipeline.rpush("log", number)

        for _ in range(25):
            client.transaction(step, "account")

    clients = [make_client(decode_responses=True) for _ in range(4)]
    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert clients[0].hget("account", "balance") == "100"
    assert clients[0].lrange("log", 0, -1) == [str(number) for number in range(100)]


def test_nobody_waits_within(make_client):
    client, other = make_client(decode_responses=True), make_client(decode_responses=True)
    with client.pipeline() as pipeline:
        assert pipeline.blpop(["l"], timeout=0).rpush("l", "a", "b").blpop(["l"], timeout=0).execute()[:2] == [None, 2]
    assert client.lrange("l", 0, -1) == ["b"]
    # A client that waits is served once the transaction is over, with what it left.
    taken = []
    thread = threading.Thread(target=lambda: taken.append(other.bzpopmin("z", timeout=20)))
    thread.start()
    wait_until(lambda: client.info("clients")["blocked_clients"] == 1, what="somebody who waits")
    with client.pipeline() as pipeline:
        pipeline.zadd("z", {"a": 2}).zadd("z", {"b": 1}).zrem("z", "b").execute()
    thread.join(20)
    assert [list(one) for one in taken] == [["z", "a", 2.0]]
