"""redis-py, its newest release, unmodified: a tour of all data types through its API, in both protocols."""

import threading

import pytest
import redis

from conftest import wait_until


def pairs(reply):
    """Members with scores: RESP2 has tuples, RESP3 lists."""
    return [tuple(pair) for pair in reply]


def test_lists(text_client):
    client = text_client
    assert client.rpush("l", "a", "b", "c") == 3 and client.lpush("l", "z") == 4
    assert client.lpushx("missing", "x") == 0 and client.rpushx("l", "d") == 5
    assert client.lrange("l", 0, -1) == ["z", "a", "b", "c", "d"]
    assert client.lindex("l", -1) == "d" and client.llen("l") == 5
    assert client.linsert("l", "BEFORE", "b", "between") == 6
    assert client.lpos("l", "b") == 3 and client.lpos("l", "nothing", count=0) == []
    assert client.lset("l", 0, "first") is True
    assert client.lrem("l", 0, "between") == 1
    assert client.lpop("l") == "first" and client.rpop("l", 2) == ["d", "c"]
    assert client.lmove("l", "m", "LEFT", "RIGHT") == "a"
    assert client.lmpop(2, "l", "m", direction="RIGHT", count=5) == ["l", ["b"]]
    assert client.ltrim("m", 1, 0) is True and client.exists("m") == 0
    assert client.lpop("m") is None
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.set("s", 1) and client.lpush("s", 1)


def test_blocking_lists(make_client):
    client, other = make_client(decode_responses=True), make_client(decode_responses=True)
    assert client.blpop(["l"], timeout=0.01) is None
    taken = []
    thread = threading.Thread(target=lambda: taken.append(other.blpop(["l", "m"], timeout=20)))
    thread.start()
    wait_until(lambda: client.info("clients")["blocked_clients"] == 1, what="somebody who waits")
    assert client.rpush("m", "one", "two") == 2
    thread.join(20)
    assert [tuple(one) for one in taken] == [("m", "one")]
    assert client.blmove("m", "n", timeout=1, src="LEFT", dest="LEFT") == "two"
    assert client.blmpop(1, 1, "n", direction="LEFT") == ["n", ["two"]]


def test_sets(text_client):
    client = text_client
    assert client.sadd("s", 1, 2, 3) == 3 and client.object("encoding", "s") == "intset"
    assert client.sadd("s", "x") == 1 and client.sadd("t", "x", "y") == 2
    assert client.smembers("s") == {"1", "2", "3", "x"} and client.scard("s") == 4
    assert client.sismember("s", "x") == 1 and client.smismember("s", ["x", "q"]) == [1, 0]
    assert client.sinter("s", "t") == {"x"} and client.sdiff("s", "t") == {"1", "2", "3"}
    assert client.sunionstore("u", "s", "t") == 5 and client.sintercard(2, ["s", "t"], limit=1) == 1
    assert client.smove("t", "s", "y") == 1 and client.srem("s", "y", "q") == 1
    assert client.srandmember("s") in client.smembers("s") and len(client.srandmember("s", -20)) == 20
    assert client.spop("u") not in client.smembers("u")
    many = {str(number) for number in range(2000)}
    client.sadd("many", *many)
    assert set(client.sscan_iter("many", count=50)) == many


def test_hashes(text_client):
    client = text_client
    assert client.hset("h", mapping={"name": "ada", "age": 36}) == 2 and client.hset("h", "age", 37) == 0
    assert client.hgetall("h") == {"name": "ada", "age": "37"} and client.hmget("h", "age", "no") == ["37", None]
    assert client.hincrby("h", "age", 5) == 42 and client.hincrbyfloat("h", "age", 0.5) == 42.5
    assert client.hsetnx("h", "name", "x") in (False, 0) and client.hexists("h", "name") and client.hlen("h") == 2
    assert client.hkeys("h") == ["name", "age"] and client.hvals("h") == ["ada", "42.5"] and client.hstrlen("h", "name") == 3
    assert client.hdel("h", "age", "no") == 1
    assert client.hrandfield("h") == "name"
    assert dict(client.hscan_iter("h")) == {"name": "ada"}


def test_expiry_of_fields(text_client):
    client = text_client
    client.hset("h", mapping={"a": 1, "b": 2, "c": 3})
    assert client.hexpire("h", 100, "a", "missing") == [1, -2]
    assert client.hpexpire("h", 20, "b") == [1]
    left = client.httl("h", "a", "c")
    assert 90 < left[0] <= 100 and left[1] == -1
    wait_until(lambda: client.hlen("h") == 2, what="the end of a field")
    assert client.hpersist("h", "a") == [1] and client.httl("h", "a") == [-1]
    assert client.hsetex("h", "d", 4, ex=100) == 1 and client.hgetex("h", "d", persist=True) == ["4"]
    assert client.hgetdel("h", "d", "c") == ["4", "3"] and client.hgetall("h") == {"a": "1"}


def test_sorted_sets(text_client):
    client = text_client
    assert client.zadd("z", {"a": 1, "b": 2, "c": 3.5}) == 3 and client.zadd("z", {"a": 5}, gt=True, ch=True) == 1
    assert pairs(client.zrange("z", 0, -1, withscores=True)) == [("b", 2), ("c", 3.5), ("a", 5)]
    assert client.zrange("z", "(2", "inf", byscore=True) == ["c", "a"] and client.zrevrange("z", 0, 0) == ["a"]
    assert client.zscore("z", "c") == 3.5 and client.zmscore("z", ["a", "q"]) == [5, None]
    assert client.zrank("z", "a") == 2 and client.zrevrank("z", "a") == 0 and client.zrank("z", "q") is None
    assert client.zincrby("z", -10, "a") == -5 and client.zcount("z", "-inf", 0) == 1
    assert client.zpopmin("z")[0] in ("a", ("a", -5.0), ["a", -5.0])
    client.zadd("y", {"b": 10, "d": float("inf")})
    assert pairs(client.zunion(["z", "y"], aggregate="MAX", withscores=True)) == [
        ("c", 3.5), ("b", 10), ("d", float("inf"))]
    assert client.zinterstore("x", {"z": 2, "y": 1}) == 1 and client.zscore("x", "b") == 14
    assert client.zdiff(["z", "y"]) == ["c"] and client.zintercard(2, ["z", "y"]) == 1
    client.zadd("lex", dict.fromkeys("abcde", 0))
    assert client.zrangebylex("lex", "[b", "(d") == ["b", "c"] and client.zlexcount("lex", "-", "+") == 5
    assert client.zremrangebyrank("lex", 0, 1) == 2 and client.zrem("lex", "e", "q") == 1
    assert client.bzpopmax(["nothing", "lex"], timeout=1)[1] == "d"
    assert {member for member, _ in client.zscan_iter("z")} == {"b", "c"}


def test_streams(text_client):
    client = text_client
    ids = [client.xadd("s", {"n": number}) for number in range(5)]
    assert client.xlen("s") == 5 and [entry[0] for entry in client.xrange("s")] == ids
    assert client.xrevrange("s", count=1)[0][1] == {"n": "4"}
    assert client.xadd("s", {"n": 5}, id="99999999999999-1", maxlen=4, approximate=False) == "99999999999999-1"
    assert client.xlen("s") == 4 and client.xdel("s", ids[3]) == 1
    assert client.xgroup_create("s", "g", id="0") is True
    taken = client.xreadgroup("g", "alice", {"s": ">"}, count=2)
    entries = taken["s"][0] if isinstance(taken, dict) else taken[0][1]
    assert [entry[0] for entry in entries] == [ids[2], ids[4]]
    assert client.xack("s", "g", ids[2]) == 1
    assert client.xpending("s", "g")["pending"] == 1
    assert client.xpending_range("s", "g", "-", "+", 10)[0]["consumer"] == "alice"
    assert client.xautoclaim("s", "g", "bob", 0)[1][0][0] == ids[4]
    assert client.xclaim("s", "g", "carol", 0, [ids[4]], justid=True) == [ids[4]]
    assert client.xinfo_stream("s")["length"] == 3 and client.xinfo_groups("s")[0]["name"] == "g"
    assert client.xinfo_consumers("s", "g")[0]["name"] == "alice"
    assert client.xtrim("s", maxlen=1, approximate=False) == 2
    assert not client.xread({"s": "$"}, block=10)
    assert client.xgroup_destroy("s", "g") == 1


def test_a_group_waits_for_entries(make_client):
    client, other = make_client(decode_responses=True), make_client(decode_responses=True)
    client.xgroup_create("s", "g", id="$", mkstream=True)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(other.xreadgroup("g", "alice", {"s": ">"}, block=20_000)))
    thread.start()
    wait_until(lambda: client.info("clients")["blocked_clients"] == 1, what="somebody who waits")
    entry = client.xadd("s", {"n": 1})
    thread.join(20)
    found = taken[0]["s"][0] if isinstance(taken[0], dict) else taken[0][0][1]
    assert [tuple(one) for one in found] == [(entry, {"n": "1"})]
    assert client.xpending("s", "g")["consumers"] == [{"name": "alice", "pending": 1}]


def test_bitmaps(client):
    assert client.setbit("b", 7, 1) == 0 and client.getbit("b", 7) == 1 and client.setbit("b", 100, 1) == 0
    assert client.bitcount("b") == 2 and client.bitcount("b", 0, 7, "BIT") == 1 and client.bitpos("b", 1) == 7
    client.set("c", b"\xff")
    assert client.bitop("AND", "d", "b", "c") == 13 and client.get("d") == b"\x01" + bytes(12)
    operations = client.bitfield("f", default_overflow="SAT")
    assert operations.set("u8", 0, 250).incrby("u8", 0, 10).get("i4", 0).execute() == [0, 255, -1]


def test_hyperloglogs(client):
    assert client.pfadd("h", *range(1000)) == 1 and client.pfadd("h", 5) == 0
    assert 950 < client.pfcount("h") < 1050
    client.pfadd("g", *range(1000, 2000))
    assert client.pfmerge("u", "h", "g") is True and 1900 < client.pfcount("u") < 2100
    assert client.get("h")[:4] == b"HYLL"


def test_places(text_client):
    client = text_client
    assert client.geoadd("g", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")) == 2
    assert client.geodist("g", "Palermo", "Catania", "km") == 166.2742
    assert client.geohash("g", "Palermo") == ["sqc8b49rny0"] and client.geopos("g", "nowhere") == [None]
    assert client.geosearch("g", longitude=15, latitude=37, radius=200, unit="km", sort="ASC") == ["Catania", "Palermo"]
    assert client.geosearchstore("near", "g", member="Palermo", width=10, height=10, unit="km") == 1


def test_sort(text_client):
    client = text_client
    client.rpush("l", 3, 10, 1)
    client.mset({"w_3": 1, "w_10": 0, "w_1": 2})
    assert client.sort("l") == ["1", "3", "10"] and client.sort("l", alpha=True, desc=True) == ["3", "10", "1"]
    assert client.sort("l", by="w_*", get=["#", "w_*"]) == ["10", "0", "3", "1", "1", "2"]
    assert client.sort("l", start=0, num=2, store="sorted") == 2 and client.lrange("sorted", 0, -1) == ["1", "3"]
    assert client.sort_ro("l", start=2, num=1) == ["10"]
