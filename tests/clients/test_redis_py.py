"""redis-py, its newest release, unmodified: the connection, generic, string and server groups through its API."""

import datetime
import socket
import threading
import time

import pytest
import redis

from conftest import wait_until


class TestStrings:
    def test_set_and_its_options(self, client):
        assert client.set("k", "v") is True
        assert client.get("k") == b"v"
        assert client.set("k", "w", nx=True) is None
        assert client.set("new", "w", xx=True) is None
        assert client.set("k", "w", get=True) == b"v"
        assert client.set("k", "x", ex=100) and 90 < client.ttl("k") <= 100
        assert client.set("k", "y", keepttl=True) and client.ttl("k") > 90
        assert client.set("k", "z", px=datetime.timedelta(seconds=50)) and 40_000 < client.pttl("k") <= 50_000
        future = int(time.time()) + 1000
        assert client.set("k", "z", exat=future) and client.expiretime("k") == future
        assert client.set("k", "z", pxat=future * 1000 + 7) and client.pexpiretime("k") == future * 1000 + 7
        with pytest.raises(redis.ResponseError, match="syntax error"):
            client.execute_command("SET", "k", "v", "EX", "1", "PX", "1")

    def test_values_of_all_kinds(self, client):
        binary = bytes(range(256)) * 100
        assert client.set(b"\x00\xff", binary) and client.get(b"\x00\xff") == binary
        large = b"x" * (20 << 20)
        assert client.set("large", large) and client.get("large") == large
        assert client.set("empty", "") and client.get("empty") == b""
        assert client.set("float", 1.5) and client.get("float") == b"1.5"

    def test_numbers(self, client):
        assert client.incr("n") == 1
        assert client.incr("n", 41) == 42
        assert client.incrby("n", 8) == 50
        assert client.decr("n") == 49
        assert client.decrby("n", 9) == 40
        assert client.incrbyfloat("n", 0.5) == 40.5
        assert client.get("n") == b"40.5"
        with pytest.raises(redis.ResponseError, match="not an integer or out of range"):
            client.incr("n")

    def test_several_keys(self, client):
        assert client.mset({"a": 1, "b": 2}) is True
        assert client.mget("a", "missing", "b") == [b"1", None, b"2"]
        assert client.msetnx({"b": 3, "c": 3}) is False
        assert client.get("c") is None
        assert client.msetnx({"c": 3, "d": 4}) is True

    def test_parts(self, client):
        assert client.append("k", "Hello") == 5
        assert client.append("k", " World") == 11
        assert client.strlen("k") == 11
        assert client.getrange("k", -5, -1) == b"World"
        assert client.substr("k", 0, 4) == b"Hello"
        assert client.setrange("k", 6, "Redis") == 11
        assert client.get("k") == b"Hello Redis"

    def test_get_and_more(self, client):
        client.set("k", "v")
        assert client.getex("k", ex=50) == b"v" and client.ttl("k") > 40
        assert client.getex("k", persist=True) == b"v" and client.ttl("k") == -1
        assert client.getset("k", "w") == b"v"
        assert client.getdel("k") == b"w"
        assert client.get("k") is None
        assert client.setnx("k", 1) is True and client.setnx("k", 2) is False
        with pytest.warns(DeprecationWarning):
            assert client.setex("k", 100, "v") is True and client.psetex("k", 100_000, "v") is True

    def test_lcs(self, client):
        client.mset({"a": "ohmytext", "b": "mynewtext"})
        assert client.lcs("a", "b") == b"mytext"
        assert client.lcs("a", "b", len=True) == 6
        found = client.lcs("a", "b", idx=True, withmatchlen=True, minmatchlen=4)
        # RESP2 has it flat, RESP3 as a map.
        flat = [item for pair in found.items() for item in pair] if isinstance(found, dict) else found
        assert flat == [b"matches", [[[4, 7], [5, 8], 4]], b"len", 6]


class TestGeneric:
    def test_existence(self, client):
        client.mset({"a": 1, "b": 2, "c": 3})
        assert client.exists("a", "b", "a", "x") == 3
        assert client.touch("a", "x") == 1
        assert client.type("a") == b"string" and client.type("x") == b"none"
        assert client.delete("a", "x") == 1
        assert client.unlink("b", "c") == 2
        assert "a" not in client

    def test_names(self, client):
        client.set("a", 1)
        assert client.rename("a", "b") is True
        with pytest.raises(redis.ResponseError, match="no such key"):
            client.rename("a", "c")
        client.set("c", 2)
        assert client.renamenx("b", "c") is False
        assert client.copy("b", "d") is True and client.copy("b", "c") is False
        assert client.copy("b", "c", replace=True) is True
        assert client.copy("b", "far", destination_db=3) is True
        assert client.move("d", 3) is True
        assert sorted(client.keys()) == [b"b", b"c"]
        assert client.randomkey() in (b"b", b"c")

    def test_expiry(self, client):
        client.set("k", "v")
        assert client.expire("missing", 10) is False
        assert client.expire("k", 100) is True
        assert client.expire("k", 50, gt=True) is False and client.expire("k", 50, lt=True) is True
        assert client.expire("k", 50, nx=True) is False and client.expire("k", 60, xx=True) is True
        assert client.pexpire("k", 99_000) is True and 90 <= client.ttl("k") <= 99
        when = datetime.datetime.now() + datetime.timedelta(hours=1)
        assert client.expireat("k", when) is True and client.expiretime("k") == int(when.timestamp())
        assert client.pexpireat("k", when) is True and client.pexpiretime("k") // 1000 == int(when.timestamp())
        assert client.persist("k") is True and client.persist("k") is False
        assert client.ttl("k") == -1 and client.pttl("missing") == -2
        assert client.expire("k", -1) is True and client.exists("k") == 0

    def test_a_key_goes_by_itself(self, client):
        client.set("k", "v", px=30)
        wait_until(lambda: client.dbsize() == 0, what="active expiry")

    def test_object(self, client):
        client.set("k", 5)
        assert client.object("encoding", "k") == b"int"
        client.set("k", "text")
        assert client.object("encoding", "k") == b"embstr"
        assert client.object("refcount", "k") == 1
        assert 0 <= client.object("idletime", "k") < 10

    def test_scan(self, text_client):
        names = {f"key:{number}" for number in range(2500)}
        text_client.mset(dict.fromkeys(names, "v"))
        text_client.set("other", 1)
        assert set(text_client.scan_iter(match="key:*", count=100)) == names
        assert set(text_client.scan_iter(match="key:1*")) == {name for name in names if name.startswith("key:1")}
        assert len(set(text_client.scan_iter(_type="STRING"))) == 2501
        assert list(text_client.scan_iter(_type="list")) == []
        cursor, page = text_client.scan(0, count=10)
        assert cursor != 0 and page


class TestConnection:
    def test_basics(self, client):
        assert client.ping() is True
        assert client.echo("hello") == b"hello"
        assert client.execute_command("SELECT", 0) in (True, b"OK", "OK")
        assert client.time()[0] > 1_600_000_000

    def test_select_by_url(self, server, protocol):
        with redis.Redis.from_url(f"redis://127.0.0.1:{server.port}/5?protocol={protocol}") as client:
            client.set("there", 1)
            assert client.client_info()["db"] in (5, "5")
            client.delete("there")

    def test_unix_socket(self, server, protocol):
        with redis.Redis(unix_socket_path=server.socket_path, protocol=protocol) as client:
            assert client.ping()
            assert "U" in client.client_info()["flags"]

    def test_hello(self, client, protocol):
        hello = client.execute_command("HELLO", protocol)
        if isinstance(hello, list):
            hello = dict(zip(hello[::2], hello[1::2]))
        hello = {(key.decode() if isinstance(key, bytes) else key): value for key, value in hello.items()}
        assert hello["server"] in (b"redis", "redis") and hello["proto"] == protocol

    def test_identity(self, make_client):
        client = make_client(client_name="tester", single_connection_client=True, decode_responses=True)
        assert client.client_getname() == "tester"
        assert client.client_setname("other") is True
        info = client.client_info()
        assert info["name"] == "other" and info["lib-name"].startswith("redis-py") and info["lib-ver"]
        assert int(info["id"]) == client.client_id()
        assert client.client_setinfo("LIB-NAME", "mine") and client.client_info()["lib-name"] == "mine"
        assert client.client_no_evict("ON") and client.client_no_touch("ON")
        assert {"e", "T"} <= set(client.client_info()["flags"])

    def test_list_and_kill(self, make_client):
        client = make_client(single_connection_client=True, decode_responses=True)
        victims = [make_client(client_name=f"victim-{number}", single_connection_client=True) for number in range(4)]
        by_name = {entry["name"]: entry for victim in victims if victim.ping() for entry in client.client_list()}
        entries = [by_name[f"victim-{number}"] for number in range(4)]
        ids = [int(entry["id"]) for entry in entries]
        assert ids == [victim.client_id() for victim in victims]
        assert [int(entry["id"]) for entry in client.client_list(client_id=ids[:2])] == ids[:2]
        assert len(client.client_list(_type="normal")) >= 5
        assert client.client_kill(entries[0]["addr"]) is True
        assert client.client_kill_filter(_id=ids[1]) == 1
        assert client.client_kill_filter(addr=entries[2]["addr"], skipme=True) == 1
        with pytest.raises(redis.ResponseError, match="No such client"):
            client.client_kill("127.0.0.1:1")
        for victim in victims[:3]:
            with pytest.raises(redis.ConnectionError):
                victim.connection.send_command("PING")
                victim.connection.read_response()
        assert victims[3].ping()

    def test_pause_holds_writes_back_and_lets_reads_through(self, make_client):
        client, writer = make_client(), make_client()
        client.set("k", "before")
        assert client.client_pause(20_000, all=False) is True
        done = threading.Event()
        thread = threading.Thread(target=lambda: (writer.set("k", "after"), done.set()))
        thread.start()
        # The writer has arrived, and waits.
        wait_until(lambda: any("b" in entry["flags"] for entry in client.client_list()), what="a blocked client")
        assert client.get("k") == b"before" and not done.is_set()
        assert client.client_unpause() in (True, b"OK", "OK")
        thread.join(10)
        assert done.is_set() and client.get("k") == b"after"

    def test_authentication(self, start_server, protocol):
        server = start_server("--requirepass", "secret")
        with redis.Redis(port=server.port, protocol=protocol) as nobody, pytest.raises(redis.AuthenticationError):
            nobody.get("k")
        with redis.Redis(port=server.port, protocol=protocol, password="wrong") as wrong:
            with pytest.raises(redis.AuthenticationError):
                wrong.ping()
        for options in ({"password": "secret"}, {"username": "default", "password": "secret"}):
            with redis.Redis(port=server.port, protocol=protocol, **options) as client:
                assert client.ping()

    def test_quit_and_reconnect(self, client):
        client.set("k", "v")
        assert client.quit() in (True, b"OK", "OK")
        assert client.get("k") == b"v"

    def test_a_connection_that_the_server_closed_is_made_anew(self, make_client):
        client, killer = make_client(), make_client()
        client.ping()
        killer.client_kill_filter(_type="normal", skipme=True)
        assert client.ping()


class TestPipelines:
    def test_without_transaction(self, client):
        with client.pipeline(transaction=False) as pipeline:
            for number in range(3000):
                pipeline.set(f"k{number}", number)
            for number in range(3000):
                pipeline.get(f"k{number}")
            replies = pipeline.execute()
        assert replies[:3000] == [True] * 3000
        assert replies[3000:] == [str(number).encode() for number in range(3000)]

    def test_an_error_is_one_reply_among_others(self, client):
        with client.pipeline(transaction=False) as pipeline:
            pipeline.set("k", "text").incr("k").get("k")
            replies = pipeline.execute(raise_on_error=False)
        assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == b"text"


class TestServer:
    def test_databases(self, make_client):
        one, two = make_client(db=0), make_client(db=1)
        one.set("k", "one")
        two.set("k", "two")
        assert one.dbsize() == 1
        assert one.swapdb(0, 1) in (True, b"OK", "OK")
        assert one.get("k") == b"two" and two.get("k") == b"one"
        assert two.flushdb() is True and two.dbsize() == 0 and one.dbsize() == 1
        assert one.flushall(asynchronous=True) is True and one.dbsize() == 0

    def test_configuration(self, text_client):
        before = text_client.config_get("maxmemory*")
        assert before["maxmemory"] == "0" and "maxmemory-policy" in before
        assert text_client.config_get("timeout", "tcp-keepalive").keys() == {"timeout", "tcp-keepalive"}
        assert text_client.config_set("maxmemory", "100mb") is True
        assert text_client.config_get("maxmemory")["maxmemory"] == str(100 << 20)
        assert text_client.config_set("maxmemory", 0, "timeout", 0)
        with pytest.raises(redis.ResponseError):
            text_client.config_set("no-such-directive", 1)
        assert text_client.config_resetstat() is True

    def test_info(self, client):
        info = client.info()
        assert info["redis_version"].startswith("8.") and info["process_id"] > 0
        assert info["connected_clients"] >= 1 and info["used_memory"] > 0
        client.set("k", 1, ex=100)
        keyspace = client.info("keyspace")
        assert keyspace["db0"]["keys"] == 1 and keyspace["db0"]["expires"] == 1
        assert client.info("server", "clients").keys() >= {"uptime_in_seconds", "connected_clients"}

    def test_commands(self, text_client):
        commands = text_client.command()
        assert commands["get"]["arity"] == 2 and "readonly" in commands["get"]["flags"]
        assert text_client.command_count() == len(commands)
        assert text_client.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
        assert "get" in text_client.command_list(category="string")
        documentation = text_client.execute_command("COMMAND DOCS", "GET")
        assert documentation

    def test_memory(self, client):
        client.set("k", "x" * 1000)
        assert client.memory_usage("k") > 1000
        assert client.memory_usage("missing") is None

    def test_lolwut(self, client):
        assert client.lolwut()

    def test_debug_needs_leave(self, client):
        with pytest.raises(redis.ResponseError, match="not allowed"):
            client.execute_command("DEBUG", "SLEEP", 0)

    def test_shutdown(self, start_server, protocol):
        server = start_server()
        with redis.Redis(port=server.port, protocol=protocol) as client:
            client.shutdown(nosave=True)
        assert server.process.wait(20) == 0


class TestPool:
    def test_many_threads_share_a_pool(self, server, client, protocol):
        pool = redis.BlockingConnectionPool(host="127.0.0.1", port=server.port, protocol=protocol, max_connections=8)
        shared = redis.Redis(connection_pool=pool)

        def work():
            for _ in range(200):
                shared.incr("n")

        threads = [threading.Thread(target=work) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert client.get("n") == b"3200"
        pool.disconnect()

    def test_limits(self, start_server, protocol):
        server = start_server("--maxclients", "5")

        def connect():
            try:
                return redis.Redis(port=server.port, protocol=protocol, single_connection_client=True)
            except redis.ConnectionError:
                return None

        # The connection that asked whether the server is up counts until the server has noticed that it is closed.
        clients = [wait_until(connect, what="a place") for _ in range(5)]
        with socket.create_connection(("127.0.0.1", server.port), 20) as one_too_many:
            assert one_too_many.makefile().readline() == "-ERR max number of clients reached\n"
        # With which words it fails depends on whether it was still writing.
        with pytest.raises(redis.ConnectionError):
            redis.Redis(port=server.port, protocol=protocol).ping()
        clients.pop().close()
        last = redis.Redis(port=server.port, protocol=protocol)

        def admitted():
            try:
                return last.ping()
            except redis.ConnectionError:
                return False

        wait_until(admitted, what="a free place")
        for client in (*clients, last):
            client.close()


class TestPublishSubscribe:
    @staticmethod
    def next_message(subscription, seconds=10):
        """The next that is no confirmation."""
        return wait_until(lambda: subscription.get_message(ignore_subscribe_messages=True, timeout=0.1), seconds, "a message")

    def test_channels_and_patterns(self, text_client):
        subscription = text_client.pubsub()
        subscription.subscribe("news")
        subscription.psubscribe("n*")
        wait_until(lambda: text_client.pubsub_numpat() == 1, 10, "the subscription by pattern")
        assert text_client.publish("news", "hello") == 2
        first, second = self.next_message(subscription), self.next_message(subscription)
        assert (first["type"], first["channel"], first["data"]) == ("message", "news", "hello")
        assert (second["type"], second["pattern"], second["data"]) == ("pmessage", "n*", "hello")
        assert text_client.pubsub_channels("n*") == ["news"]
        assert dict(text_client.pubsub_numsub("news", "none")) == {"news": 1, "none": 0}
        assert subscription.ping() is None and subscription.ping("x") is None
        subscription.unsubscribe()
        subscription.punsubscribe()
        wait_until(lambda: text_client.publish("news", "nobody") == 0, 10, "the end of the subscriptions")
        subscription.close()

    def test_shard_channels(self, text_client):
        subscription = text_client.pubsub()
        subscription.execute_command("SSUBSCRIBE", "shard")
        wait_until(lambda: text_client.pubsub_shardchannels() == ["shard"], 10, "the subscription")
        assert text_client.spublish("shard", "hello") == 1
        assert dict(text_client.pubsub_shardnumsub("shard")) == {"shard": 1}
        subscription.close()

    def test_a_transaction_publishes(self, text_client):
        subscription = text_client.pubsub()
        subscription.subscribe("done")
        wait_until(lambda: text_client.pubsub_numsub("done")[0][1] == 1, 10, "the subscription")
        with text_client.pipeline() as pipeline:
            assert pipeline.set("k", "v").publish("done", "k").execute() == [True, 1]
        assert self.next_message(subscription)["data"] == "k"
        subscription.close()

    def test_a_handler_on_a_thread(self, text_client):
        got = []
        subscription = text_client.pubsub(ignore_subscribe_messages=True)
        subscription.subscribe(events=lambda message: got.append(message["data"]))
        thread = subscription.run_in_thread(sleep_time=0.01)
        try:
            wait_until(lambda: text_client.pubsub_numsub("events")[0][1] == 1, 10, "the subscription")
            for number in range(100):
                text_client.publish("events", number)
            wait_until(lambda: len(got) == 100, 10, "all messages")
            assert got == [str(number) for number in range(100)]
        finally:
            thread.stop()
            thread.join(10)

    def test_keyspace_notifications(self, text_client):
        text_client.config_set("notify-keyspace-events", "Kg$x")
        try:
            subscription = text_client.pubsub()
            subscription.psubscribe("__keyspace@0__:k")
            wait_until(lambda: text_client.pubsub_numpat() == 1, 10, "the subscription")
            text_client.set("k", "v", px=20)
            assert [self.next_message(subscription)["data"] for _ in range(3)] == ["set", "expire", "expired"]
            subscription.close()
        finally:
            text_client.config_set("notify-keyspace-events", "")

    def test_both_channels_tell_what_happens_to_each_key(self, text_client):
        text_client.config_set("notify-keyspace-events", "KEA")
        try:
            subscription = text_client.pubsub()
            subscription.psubscribe("__key*@0__:*")
            wait_until(lambda: text_client.pubsub_numpat() == 1, 10, "the subscription")
            text_client.zadd("z", {"m": 1})
            text_client.hset("h", "f", 1)
            text_client.hpexpire("h", 20, "f")
            text_client.set("s", 1, px=20)
            # What expires is told without anybody asking for it. Each key has its own order; between keys there is none.
            events = {"z": ["zadd"], "h": ["hset", "hexpire", "hexpired", "del"], "s": ["set", "expire", "expired"]}
            by_key, by_event = {}, {}
            for _ in range(sum(map(len, events.values()))):
                message = self.next_message(subscription)
                by_key.setdefault(message["channel"].removeprefix("__keyspace@0__:"), []).append(message["data"])
                message = self.next_message(subscription)
                by_event.setdefault(message["data"], []).append(message["channel"].removeprefix("__keyevent@0__:"))
            assert by_key == events and by_event == events
            subscription.close()
        finally:
            text_client.config_set("notify-keyspace-events", "")
